"""The figures of a run as text, with what follows from them: ratios, rates and verdicts."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .variants import FASTBP

# Losses after the same steps from the same start may differ by rounding, by this part of what the
# reference has learned. A single skipped step is beyond it.
TOLERANCE = 1e-3
NEVER_SLOWER = 0.97  # all threads against one


@dataclass(frozen=True)
class CellReport:
    """What follows from the figures of one cell."""

    cell: dict[str, Any]
    goal: float | None

    def disagrees(self, variant: dict[str, Any]) -> bool:
        """Whether a variant's loss is not the one of the reference, so that it computes less."""
        reference = self.cell["reference_loss"]
        learned = abs(self.cell["first_loss"] - reference)
        return not abs(variant["loss"] - reference) <= TOLERANCE * learned  # NaN disagrees

    @cached_property
    def fastbp(self) -> dict[str, Any]:
        """The figures with all threads, fastbp's default."""
        own = [v for v in self.cell["variants"] if v["rival"] == FASTBP]
        return max(own, key=lambda v: v["threads"])

    @cached_property
    def one_thread(self) -> dict[str, Any]:
        own = [v for v in self.cell["variants"] if v["rival"] == FASTBP]
        return min(own, key=lambda v: v["threads"])

    @cached_property
    def fastest_rival(self) -> dict[str, Any] | None:
        """The fastest of those that compute the same."""
        others = [
            v for v in self.cell["variants"] if v["rival"] != FASTBP and not self.disagrees(v)
        ]
        return min(others, key=median, default=None)

    @property
    def ratio(self) -> float | None:
        """Time of the fastest rival over time of fastbp."""
        rival = self.fastest_rival
        return None if rival is None else median(rival) / median(self.fastbp)

    @property
    def gflops(self) -> float:
        return self.cell["flop"] / median(self.fastbp) / 1e3

    @property
    def share(self) -> float:
        """Part of the FMA ceiling of all cores right before and after: the median of the rounds."""
        rates = [self.cell["flop"] / time / 1e3 for time in self.fastbp["rounds"]]
        shares = zip(rates, self.cell["ceilings"], strict=True)
        return statistics.median(rate / ceiling for rate, ceiling in shares)

    @property
    def threads_gain(self) -> float:
        return median(self.one_thread) / median(self.fastbp)

    @property
    def faults(self) -> list[str]:
        """Losses that are not the reference's."""
        where = f"{self.cell['net']}, batch {self.cell['batch']}"
        right = f"reference {self.cell['reference_loss']:.6f}"
        return [
            f"{where}: {v['name']}: loss {v['loss']:.6f}, {right}"
            for v in self.cell["variants"]
            if self.disagrees(v)
        ]


def median(variant: dict[str, Any]) -> float:
    return variant["us_per_step"]["median"]


def cell_lines(report: CellReport) -> Iterator[str]:
    cell = report.cell
    yield (
        f"{cell['net']}, batch {cell['batch']}: {cell['steps']} steps an epoch, "
        f"{cell['flop'] / 1e6:.3g} MFLOP a step"
    )
    width = max(len(v["name"]) for v in cell["variants"])
    yield (
        f"  {'us/step':{width}} {'median':>9} {'min':>9} {'q1':>9} {'q3':>9}  "
        f"loss after {cell['checked_steps']} steps"
    )
    for v in cell["variants"]:
        numbers = " ".join(f"{v['us_per_step'][key]:9.2f}" for key in ("median", "min", "q1", "q3"))
        verdict = " DIFFERS" if report.disagrees(v) else ""
        yield f"  {v['name']:{width}} {numbers}  {v['loss']:.6f}{verdict}  ({v['mode']})"
    yield (
        f"  {'NumPy in float64':{width}} {'':39}  {cell['reference_loss']:.6f}  "
        f"(before: {cell['first_loss']:.6f})"
    )
    yield ""


def summary_lines(reports: list[CellReport], cpus: int) -> Iterator[str]:
    net = max(len("net"), *(len(r.cell["net"]) for r in reports))
    rivals = [r.fastest_rival["name"] if r.fastest_rival else "none" for r in reports]
    rival = max(map(len, ["fastest rival", *rivals]))
    yield (
        f"{'net':{net}} {'batch':>5} {'fastbp':>9} {'rival':>9}  {'fastest rival':{rival}} "
        f"{'ratio':>6} {'goal':>6} {'met':3} {'GFLOP/s':>8} {'share':>5} {'1T/all':>6}"
    )
    for r, name in zip(reports, rivals, strict=True):
        rival_time = f"{median(r.fastest_rival):9.1f}" if r.fastest_rival else f"{'-':>9}"
        ratio = f"{r.ratio:6.2f}" if r.ratio else f"{'-':>6}"
        goal = f"{r.goal:6.2f}" if r.goal else f"{'-':>6}"
        met = "" if not (r.ratio and r.goal) else "yes" if r.ratio >= r.goal else "no"
        slow = " fewer threads are faster" if r.threads_gain < NEVER_SLOWER else ""
        yield (
            f"{r.cell['net']:{net}} {r.cell['batch']:5} {median(r.fastbp):9.1f} {rival_time}  "
            f"{name:{rival}} {ratio} {goal} {met:3} {r.gflops:8.1f} "
            f"{r.share:5.0%} {r.threads_gain:6.2f}{slow}"
        )
    best = [max(r.cell["ceiling"][key]["max"] for r in reports) for key in ("one", "all")]
    yield ""
    yield (
        "us/step: medians over rounds. ratio: time of the fastest rival over that of fastbp with "
        "all threads.\n"
        f"share: of the FMA ceiling of {cpus} cores right before and after, medians over rounds "
        f"(best of the run: one {best[0]:.0f}, all {best[1]:.0f} GFLOP/s).\n"
        "1T/all: time on one thread over time on all."
    )


def text(run: dict[str, Any], reports: list[CellReport]) -> str:
    """Return everything that a run found."""
    about = run["about"]
    used = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"{about['date']}, commit {about['commit']}, {about['cpu']}, {about['cpus']} cores",
        f"fastbp {about['fastbp']['fastbp']} ({about['fastbp']['isa']}), {used}",
        "",
    ]
    for report in reports:
        lines += cell_lines(report)
    lines += summary_lines(reports, about["cpus"])
    lines += [f"does not compute the same: {fault}" for r in reports for fault in r.faults]
    return "\n".join(lines) + "\n"
