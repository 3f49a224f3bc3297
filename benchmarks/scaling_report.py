"""The figures of scaling.py as text: times beside limits, and where one thread wins."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from rivals.report import NEVER_SLOWER

LEVEL = 0.03  # ratios within this are called equal


def limit(cell: dict[str, Any], way: str) -> float:
    """Least microseconds of a step, by operations or by bytes."""
    return max(cell["limits"][way].values())


def gain(cell: dict[str, Any]) -> float:
    """Time on one thread over time with fastbp's choice of threads: the median of the rounds."""
    rounds = zip(cell["rounds"]["one"], cell["rounds"]["default"], strict=True)
    return median(one / default for one, default in rounds)


def slower(run: dict[str, Any]) -> list[str]:
    """Return the cells where fastbp's choice is slower than one thread."""
    return [name for name, cell in run["cells"].items() if gain(cell) < NEVER_SLOWER]


def winner(cell: dict[str, Any]) -> str:
    """Who wins when one thread competes with all of them."""
    ratio = cell["us_per_step"]["one"] / cell["us_per_step"]["forced"]
    if abs(ratio - 1) <= LEVEL:
        return "equal"
    return "all" if ratio > 1 else "one"


def series_lines(run: dict[str, Any], series: dict[str, Any]) -> Iterator[str]:
    """Times of a series beside the limits."""
    yield series["title"]
    yield (
        f"  {series['axis']:>13} {'one thread':>11} {'limit':>9} {'share':>6} "
        f"{'all threads':>12} {'limit':>9} {'share':>6}  limited by"
    )
    for place, name in zip(series["places"], series["cells"], strict=True):
        cell = run["cells"][name]
        one, every = cell["us_per_step"]["one"], cell["us_per_step"]["default"]
        bounds = cell["limits"]["one"]
        yield (
            f"  {place:13} {one:11.2f} {limit(cell, 'one'):9.2f} {limit(cell, 'one') / one:6.0%} "
            f"{every:12.2f} {limit(cell, 'all'):9.2f} {limit(cell, 'all') / every:6.0%}  "
            f"{max(bounds, key=bounds.__getitem__)}"
        )
    yield ""


def table_lines(run: dict[str, Any], series: dict[str, Any]) -> Iterator[str]:
    """Where one thread wins, where all."""
    yield f"{series['title']}: where one thread wins, where all"
    yield (
        f"  {series['axis']:>13} {'one':>9} {'default':>9} {'forced':>9} {'one/default':>12} "
        f"{'one/forced':>11}  winner"
    )
    for place, name in zip(series["places"], series["cells"], strict=True):
        cell = run["cells"][name]
        one, default, forced = (cell["us_per_step"][way] for way in ("one", "default", "forced"))
        verdict = f"  SLOWER: below {NEVER_SLOWER:g}" if gain(cell) < NEVER_SLOWER else ""
        yield (
            f"  {place:13} {one:9.2f} {default:9.2f} {forced:9.2f} {gain(cell):12.2f} "
            f"{one / forced:11.2f}  {winner(cell)}{verdict}"
        )
    yield ""


def text(run: dict[str, Any]) -> str:
    """Return everything that a run found."""
    about, rates, late = run["about"], run["rates"], slower(run)
    lines = [
        f"{about['date']}, commit {about['commit']}, {about['cpu']}, {about['cpus']} cores",
        f"FMA ceiling: one core {rates['one']:.0f}, all {rates['all']:.0f} GFLOP/s",
        "microseconds per step, medians; all threads: as fastbp chooses; share: limit over time",
        "",
    ]
    for series in run["plotted"]:
        lines += series_lines(run, series)
    for series in run["tables"]:
        lines += table_lines(run, series)
    count = f"{len(late)} of {len(run['cells'])}"
    lines.append(f"cells where fastbp's choice is below {NEVER_SLOWER:g} of one thread: {count}")
    lines += [f"  {name}: {gain(run['cells'][name]):.3f}" for name in late]
    return "\n".join(lines) + "\n"
