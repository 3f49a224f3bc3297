"""The ratios of a run as bars, one panel for each net."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .report import CellReport, median

LIBRARIES = {  # colours that the colour-blind can tell apart (Okabe and Ito)
    "torch": ("PyTorch eager, fused Adam", "#d55e00"),
    "torch.compile": ("torch.compile", "#e69f00"),
    "jax": ("JAX, epoch in one scan", "#0072b2"),
    "sklearn": ("scikit-learn", "#999999"),
}


def fastest(report: CellReport, rival: str) -> float | None:
    """Time of a library's best variant over fastbp's."""
    times = [
        median(v)
        for v in report.cell["variants"]
        if v["rival"] == rival and not report.disagrees(v)
    ]
    return min(times) / median(report.fastbp) if times else None


def draw(reports: list[CellReport], caption: str, path: Path) -> None:
    """Write a picture: how many times as long as fastbp each library takes for a step."""
    nets = list(dict.fromkeys(r.cell["net"] for r in reports))
    rivals = [r for r in LIBRARIES if any(fastest(report, r) for report in reports)]
    figure = Figure(figsize=(11, 0.9 + 1.7 * len(nets)), facecolor="white", layout="constrained")
    panels = figure.subplots(len(nets), squeeze=False, sharey=True)[:, 0]
    for panel, net in zip(panels, nets, strict=True):
        cells = [r for r in reports if r.cell["net"] == net]
        width = 0.8 / max(1, len(rivals))
        for i, rival in enumerate(rivals):
            label, colour = LIBRARIES[rival]
            places = [c + (i - (len(rivals) - 1) / 2) * width for c in range(len(cells))]
            bars = [(p, f) for p, c in zip(places, cells, strict=True) if (f := fastest(c, rival))]
            heights = [height for _, height in bars]
            drawn = panel.bar(
                [p for p, _ in bars], heights, 0.92 * width, color=colour, label=label
            )
            panel.bar_label(drawn, [f"{h:.3g}" for h in heights], fontsize=8, padding=1)
        panel.axhline(1, color="black", linewidth=1)
        panel.set_yscale("log")
        panel.margins(x=0.01, y=0.2)
        panel.set_xticks(range(len(cells)), [f"batch {c.cell['batch']}" for c in cells])
        panel.tick_params(axis="x", length=0)
        panel.set_title(net, loc="left", fontsize=10, fontweight="bold")
        panel.spines[["top", "right"]].set_visible(False)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(rivals), frameon=False)
    figure.supxlabel(caption, fontsize=8, color="#555555")
    figure.supylabel("time per step over fastbp's", fontsize=10)
    figure.savefig(path, dpi=150)
