"""How the time of a training step grows with batch, width, depth and threads.

``python benchmarks/scaling.py`` times `Model.fit`: float32, ReLU, softmax cross-entropy, Adam, rows
in a new random order each epoch. Each net and batch is measured on one thread, on as many as
fastbp takes by itself of all, and with all forced upon it; in turn, round after round, medians.

Beside each time stands the least that the hardware allows: the operations of the products at the
rate of a register-only FMA loop, or the bytes of p, m and v, read and written once, at the rate of
a NumPy pass in place over an array of that size, whichever takes longer; both measured in the same
run. At the end a table tells where one thread wins and where more, and whether fastbp's choice is
anywhere slower than one thread; if so, the exit status is 1.
"""

import argparse
import logging
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Any

import numpy as np
from command import measured_or_read, parser, save
from rivals.fastbp_runner import Ceiling, Fit
from rivals.machine import description
from rivals.problem import Cell, Problem
from rivals.variants import CPUS
from scaling_report import slower, text

from fastbp import _engine

logger = logging.getLogger(__name__)
BATCHES = tuple(2**k for k in range(13))
WIDTHS = tuple(2**k for k in range(3, 11))
SMALL_WIDTHS = tuple(range(8, 257, 8))
DEPTHS = tuple(range(1, 9))
BYTES_PER_PARAMETER = 24  # p, m and v in float32, read and written
PAUSE = 0.01  # seconds in which the last call's threads come to rest
RATE_SECONDS = 0.01


@dataclass(frozen=True)
class Series:
    """Cells along one axis."""

    title: str
    axis: str
    places: tuple[int, ...]
    cells: tuple[Cell, ...]


def by_batch(*net: int) -> Series:
    title = "-".join(map(str, net))
    return Series(title, "batch", BATCHES, tuple(Cell(net, batch) for batch in BATCHES))


def by_width(widths: tuple[int, ...], batch: int) -> Series:
    title = f"w-w-w-10, batch {batch}"
    return Series(title, "width", widths, tuple(Cell((w, w, w, 10), batch) for w in widths))


def by_depth(width: int) -> Series:
    title = f"width {width}, batch 128"
    cells = tuple(Cell((*[width] * (depth + 1), 10), 128) for depth in DEPTHS)
    return Series(title, "hidden layers", DEPTHS, cells)


PLOTTED = (
    by_batch(32, 64, 64, 10),
    by_batch(784, 128, 10),
    by_width(WIDTHS, 32),
    by_width(WIDTHS, 128),
    by_depth(64),
    by_depth(256),
)
SMALL = by_width(SMALL_WIDTHS, 32)
TABLES = (SMALL, *PLOTTED[:2])


def settings() -> dict[str, tuple[int, float]]:
    """Threads and grain of each way to run: one thread, fastbp's choice, all threads."""
    grain = _engine.get_thread_grain()
    return {"one": (1, grain), "default": (CPUS, grain), "forced": (CPUS, 0.0)}


def pass_rate(n_bytes: int) -> float:
    """Bytes per second, read and written, of a pass in place over an array of that size."""
    array, single = np.ones(max(1, n_bytes // 4), np.float32), np.ones(1, np.float32)
    factor = np.float32(1)
    calls = max(20, min(500, 2**25 // n_bytes))

    def best(values: np.ndarray) -> float:
        times = [time.perf_counter()]
        for _ in range(calls):
            np.multiply(values, factor, out=values)
            times.append(time.perf_counter())
        return min(after - before for before, after in pairwise(times))

    # without what the call itself costs
    return 2 * array.nbytes / max(1e-9, best(array) - best(single))


def limits(cell: Cell, rates: dict[str, float]) -> dict[str, dict[str, float]]:
    """Least microseconds of a step on one thread and on all, by operations and by bytes.

    On all threads each has its share of the memory, at the rate of one that is alone.
    """
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(cell.net))
    traffic = BYTES_PER_PARAMETER * n_parameters
    found = {}
    for way, threads in (("one", 1), ("all", CPUS)):
        share = traffic / threads
        found[way] = {
            "flop": cell.flop / rates[way] / 1e3,
            "bytes": 1e6 * share / pass_rate(int(share) // 2),
        }
    return found


def measured_cell(cell: Cell, ceiling: Ceiling, options: argparse.Namespace) -> dict[str, Any]:
    """Return the microseconds per step of each way, medians over rounds, and the FMA rates."""
    fit = Fit(Problem(cell), 1)
    fit.start("fit")
    times: dict[str, list[float]] = {way: [] for way in settings()}
    epochs, rates = 1, []

    def seconds(way: str) -> float:
        threads, grain = ways[way]
        _engine.set_num_threads(threads)
        _engine.set_thread_grain(grain)
        time.sleep(PAUSE)
        begin = time.perf_counter()
        fit.train(cell.rows, epochs)
        return (time.perf_counter() - begin) / epochs / cell.steps

    ways = settings()
    try:
        first = [seconds(way) for _ in range(2) for way in ways]
        epochs = ceil(options.seconds / cell.steps / min(first))
        for number in range(options.rounds):
            rates.append(ceiling.rates(RATE_SECONDS))
            turn = list(ways)
            for way in turn[number % 3 :] + turn[: number % 3]:
                times[way].append(1e6 * seconds(way))
    finally:
        _engine.set_thread_grain(ways["one"][1])
    best = {way: max(rate[way] for rate in rates) for way in ("one", "all")}
    return {
        "us_per_step": {way: median(values) for way, values in times.items()},
        "rounds": times,
        "rates": best,
    }


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all cells, by net and batch."""
    cells = dict.fromkeys(cell for series in (*PLOTTED, SMALL) for cell in series.cells)
    ceiling = Ceiling(Problem(PLOTTED[0].cells[0]), CPUS)
    figures = {}
    for number, cell in enumerate(cells, 1):
        logger.info("%d of %d: %s, batch %d", number, len(cells), cell.name, cell.batch)
        figures[key(cell)] = measured_cell(cell, ceiling, options)
    rates = {way: max(f["rates"][way] for f in figures.values()) for way in ("one", "all")}
    for cell in cells:
        figures[key(cell)]["limits"] = limits(cell, rates)
    return {
        "about": description(),
        "rates": rates,
        "cells": figures,
        "plotted": list(map(described, PLOTTED)),
        "tables": list(map(described, TABLES)),
    }


def described(series: Series) -> dict[str, Any]:
    """Return a series by the keys of its cells."""
    return {
        "title": series.title,
        "axis": series.axis,
        "places": series.places,
        "cells": list(map(key, series.cells)),
    }


def key(cell: Cell) -> str:
    return f"{cell.name}, batch {cell.batch}"


def main() -> int:
    """Measure or read, print, draw. Return the exit status."""
    options = parser(__doc__ or "", seconds=0.03).parse_args()
    run = measured_or_read(options, measured)
    save(run, options)
    sys.stdout.write(text(run))
    if options.plot:
        from scaling_picture import draw  # noqa: PLC0415 -- matplotlib is in another extra

        draw(run, options.plot)
    return int(bool(slower(run)))


if __name__ == "__main__":
    sys.exit(main())
