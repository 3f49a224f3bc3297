"""Time of a training step: fastbp against PyTorch, JAX and scikit-learn over a grid of nets.

``python benchmarks/grid.py`` trains every net with every batch size: float32, ReLU, softmax
cross-entropy, Adam, rows in a new random order each epoch, whole epochs. Every library in each of
its settings has a process of its own; all are measured in turn, round after round, and right before
and after fastbp the FMA ceiling of the cores as well. An epoch has about 30 ms of fastbp's steps,
from 4 to 4000 of them; at least four are done in one go, short ones for --seconds. Where a library
has several ways (rows gathered for each batch or once an epoch, what is compiled), the faster in a
trial is measured.

All start from the same parameters and see the same rows in the same order; after some epochs each
one's loss is held against a float64 reference. Whoever disagrees is no rival, and the exit status
is 1. Needs the extra ``bench``; what is not installed is skipped.
"""

import argparse
import sys
from typing import Any

from command import measured_or_read, parser, positive, save
from rivals.problem import Cell
from rivals.report import CellReport, text
from rivals.variants import RIVALS

BATCHES = (1, 32, 128, 1024)

# What we aim at: time of the fastest rival over time of fastbp, for the batches above. Goals, not
# measurements.
GOALS = {
    "4-32-32-3": (2.0, 6.0, 8.0, 10.0),
    "32-64-64-10": (2.0, 5.0, 6.0, 7.0),
    "784-128-10": (4.0, 2.6, 2.4, 2.0),
    "784-512-512-10": (1.6, 1.6, 1.6, 1.5),
    "1024-1024-1024-1024-10": (1.2, 1.35, 1.2, 1.25),
}


def widths(name: str) -> tuple[int, ...]:
    """Return the widths of a net such as 4-32-32-3."""
    net = tuple(map(int, name.split("-")))
    if len(net) < 2 or min(net) < 1 or net[-1] < 3:
        # scikit-learn gives two classes one output, with another loss
        raise ValueError(name)
    return net


def arguments() -> argparse.Namespace:
    options = parser(__doc__ or "", seconds=0.1)
    add = options.add_argument
    nets = list(map(widths, GOALS))
    add("--nets", nargs="+", type=widths, default=nets, metavar="NET", help="as 784-128-10")
    add("--batches", nargs="+", type=positive(int), default=BATCHES, metavar="N")
    add("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS), help="default: all")
    add("--pause", type=positive(float), default=0.1, help="seconds before each measurement")
    add("--slowest-step", type=positive(float), default=0.25, help="seconds; slower rivals skipped")
    return options.parse_args()


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all cells."""
    # imports that the workers, which import this file, have no use for
    from rivals.machine import description  # noqa: PLC0415
    from rivals.rounds import Grid, Settings  # noqa: PLC0415

    settings = Settings(options.rounds, options.seconds, options.pause, options.slowest_step)
    run = {"about": description(), "settings": vars(settings), "cells": []}
    grid = Grid(options.rivals, settings)
    try:
        for net in options.nets:
            for batch in options.batches:
                run["cells"].append(grid.measure(Cell(net, batch)))
                save(run, options)  # after each cell, so that a run cut short is not lost
    finally:
        grid.close()
    return run


def main() -> int:
    """Measure or read, print, draw. Return the exit status."""
    options = arguments()
    run = measured_or_read(options, measured)
    reports = []
    for cell in run["cells"]:
        goals = dict(zip(BATCHES, GOALS.get(cell["net"], ()), strict=False))
        reports.append(CellReport(cell, goals.get(cell["batch"])))
    sys.stdout.write(text(run, reports))
    if options.plot:
        from rivals.picture import draw  # noqa: PLC0415 -- matplotlib is in another extra

        about = run["about"]
        caption = f"{about['cpu']}, {about['cpus']} cores, {about['date'][:10]}"
        draw(reports, caption, options.plot)
    return int(any(report.faults for report in reports))


if __name__ == "__main__":
    sys.exit(main())
