"""Fails when training or prediction has become slower: a gate that load cannot fool.

``python benchmarks/gate.py`` times short epochs of `Model.fit` and one `predict`, on one thread, in
turn with a reference loop that suffers from a slower clock or a busy neighbour alike: fused
multiply-adds on registers. A round is a few dozen short alternations, of which the best time of
each side counts; a case's figure is the median over rounds of their ratio. So bursts of other load
do not count, and neither does the machine's speed of the day.

The figures are held against those kept in gate.json for the same instruction set and CPU, times
the tolerance kept there. What is over its limit is measured again before it counts. Exit status 1:
a case is slower. On a CPU without a record nothing is compared, and a notice says so; --record
keeps the figures of this one.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rivals.machine import cpu_model

import fastbp
from fastbp import _kernels

RECORDS = Path(__file__).with_name("gate.json")
TOLERANCE = 1.3
ROUNDS = 7
ALTERNATIONS = 25  # in a round
REFERENCE_SECONDS = 0.0005
REPEATS = 2  # of a case that seems slower
RECORDED_RUNS = 3


@dataclass(frozen=True)
class Case:
    """What is timed."""

    net: tuple[int, ...]
    batch: int
    steps: int  # of an epoch; 0: a prediction of the batch

    @property
    def name(self) -> str:
        what = "fit, batch" if self.steps else "predict, rows"
        return f"{'-'.join(map(str, self.net))} {what} {self.batch}"


# an epoch takes 1 or 2 ms: short enough to be undisturbed now and then on a busy core
CASES = (
    Case((4, 32, 32, 3), 32, 200),
    Case((32, 64, 64, 10), 1, 200),
    Case((32, 64, 64, 10), 32, 60),
    Case((32, 64, 64, 10), 1024, 3),
    Case((784, 128, 10), 128, 4),
    Case((784, 512, 512, 10), 1, 4),
    Case((784, 512, 512, 10), 32, 2),
    Case((64, 64, 64, 10), 10_000, 0),
)


def workload(case: Case) -> Callable[[], Any]:
    """Return the call to time: an epoch, or a prediction."""
    rng = np.random.default_rng(0)
    rows = case.batch * max(1, case.steps)
    X = rng.standard_normal((rows, case.net[0]), dtype=np.float32)
    model = fastbp.Model(list(case.net), loss="softmax_cross_entropy", seed=0)
    if not case.steps:
        return lambda: model.predict(X)
    y = rng.integers(case.net[-1], size=rows)
    adam = fastbp.Adam()
    return lambda: model.fit(X, y, epochs=1, batch_size=case.batch, optimizer=adam)


def seconds_of(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def reference() -> float:
    """Return the seconds of a milliard operations of the reference loop."""
    isa = fastbp.get_config()["isa"]
    return 1e9 / _kernels.fma_ceiling(isa, "float32", REFERENCE_SECONDS)


class Measurement:
    """A case, ready to be timed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.work = workload(case)
        self.work()  # caches, arenas, moments

    def round(self) -> float:
        """Return the best time of the work over the best time of the reference."""
        times = [(reference(), seconds_of(self.work)) for _ in range(ALTERNATIONS)]
        best_reference, best_work = map(min, zip(*times, strict=True))
        return best_work / max(1, self.case.steps) / best_reference


def measured(cases: tuple[Case, ...] = CASES) -> dict[str, float]:
    """Return the figure of each case, on one thread; rounds of all cases take turns."""
    threads = fastbp.get_num_threads()
    fastbp.set_num_threads(1)
    try:
        ready = [Measurement(case) for case in cases]
        rounds = [[m.round() for m in ready] for _ in range(ROUNDS)]
    finally:
        fastbp.set_num_threads(threads)
    return {c.name: median(r) for c, r in zip(cases, zip(*rounds, strict=True), strict=True)}


def slower(figures: dict[str, float], record: dict[str, Any]) -> list[str]:
    """Return the cases over their limits. One that is in no record is not compared."""
    limits = {name: kept * record["tolerance"] for name, kept in record["figures"].items()}
    return [name for name, figure in figures.items() if not figure <= limits.get(name, np.inf)]


def compared(record: dict[str, Any]) -> dict[str, float]:
    """Measure; what is over its limit again, and its least figure counts."""
    figures = measured()
    for _ in range(REPEATS):
        suspects = slower(figures, record)
        if not suspects:
            break
        again = measured(tuple(case for case in CASES if case.name in suspects))
        figures |= {name: min(figures[name], figure) for name, figure in again.items()}
    return figures


def find(records: list[dict[str, Any]], machine: dict[str, str]) -> dict[str, Any] | None:
    """Return the record of the same instruction set and CPU."""
    return next((r for r in records if all(r[key] == machine[key] for key in machine)), None)


def recorded(machine: dict[str, str]) -> dict[str, Any]:
    """Return a new record: medians of several runs."""
    runs = [measured() for _ in range(RECORDED_RUNS)]
    figures = {name: float(f"{median(run[name] for run in runs):.4g}") for name in runs[0]}
    return {**machine, "tolerance": TOLERANCE, "figures": figures}


def table(figures: dict[str, float], record: dict[str, Any]) -> Iterator[str]:
    """Lines that say of each case how it stands against its record."""
    late = slower(figures, record)
    width = max(map(len, figures))
    yield f"{'time over that of the reference loop':{width}} {'now':>9} {'record':>9} {'ratio':>6}"
    for name, figure in figures.items():
        if (kept := record["figures"].get(name)) is None:
            yield f"{name:{width}} {figure:9.4g} {'none':>9}"
            continue
        verdict = f"  SLOWER than {record['tolerance']:g}x" if name in late else ""
        yield f"{name:{width}} {figure:9.4g} {kept:9.4g} {figure / kept:6.2f}{verdict}"


def run(machine: dict[str, str], file: Path, record: bool) -> tuple[int, list[str]]:
    """Compare or record. Return the exit status and the lines to print."""
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    known = find(records, machine)
    if record:
        records = [r for r in records if r is not known] + [recorded(machine)]
        file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
        return 0, [f"recorded {machine['isa']} on {machine['cpu']}"]
    if known is None:
        return 0, [
            f"notice: nothing compared, {file.name} has no record of {machine['isa']} on "
            f"{machine['cpu']} (--record keeps one)"
        ]
    figures = compared(known)
    return int(bool(slower(figures, known))), list(table(figures, known))


def main() -> int:
    """Return the exit status."""
    about, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="keep the figures of this machine")
    parser.add_argument("--file", type=Path, default=RECORDS, help="records (default: gate.json)")
    options = parser.parse_args()
    machine = {"isa": fastbp.get_config()["isa"], "cpu": cpu_model()}
    status, lines = run(machine, options.file, options.record)
    sys.stdout.write("\n".join(lines) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
