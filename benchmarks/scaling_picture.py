"""The series of scaling.py as small multiples: time of a step beside its least."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from scaling_report import limit

COLUMNS = 2
WAYS = {  # settings by rates; colours that the colour-blind can tell apart (Okabe and Ito)
    "one": ("one", "#0072b2", "1 thread"),
    "default": ("all", "#d55e00", "all {cpus}"),
}


def draw_series(panel: Axes, run: dict[str, Any], series: dict[str, Any]) -> None:
    """Draw a series: solid what was measured, dashed the least that the hardware allows."""
    places, cells = series["places"], [run["cells"][name] for name in series["cells"]]
    for way, (rate, colour, name) in WAYS.items():
        text = name.format(cpus=run["about"]["cpus"])
        times = [cell["us_per_step"][way] for cell in cells]
        least = [limit(cell, rate) for cell in cells]
        panel.plot(places, times, color=colour, marker="o", markersize=3, linewidth=1.8, label=text)
        panel.plot(
            places, least, color=colour, linestyle=(0, (4, 2)), linewidth=1, label=f"least, {text}"
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.xaxis.set_major_locator(FixedLocator(places[:: 2 if len(places) > 8 else 1]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(color="#e6e6e6", linewidth=0.6)
    panel.tick_params(labelsize=8)
    panel.set_title(series["title"], loc="left", fontsize=10, fontweight="bold")
    panel.set_xlabel(series["axis"], fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)


def draw(run: dict[str, Any], path: Path) -> None:
    """Write a picture of all series."""
    rows = -(-len(run["plotted"]) // COLUMNS)
    figure = Figure(figsize=(11, 3.1 * rows + 0.6), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.08)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for panel, series in zip(panels, run["plotted"], strict=True):
        draw_series(panel, run, series)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=4,
                  frameon=False, fontsize=9)  # fmt: skip
    figure.supylabel("microseconds per training step", fontsize=10)
    about = run["about"]
    figure.supxlabel(
        "dashed: the least that the hardware allows, by FMA rate or by bytes of p, m and v\n"
        f"{about['cpu']}, {about['cpus']} cores, {about['date'][:10]}",
        fontsize=8,
        color="#555555",
    )
    figure.savefig(path, dpi=150)
