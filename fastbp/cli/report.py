"""What the command prints: progress, tables, and a last line about what went wrong."""

import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fastbp import History, Model
from fastbp._tables import printable
from fastbp.callbacks import Callback


def say(text: str) -> None:
    """Print a line on standard output, as it is."""
    _console().print(Text(printable(text)), soft_wrap=True)


def complain(problem: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(f"fastbp: {printable(' '.join(problem.split()))}\n")


def show_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    show_table((), ((name, _text(value)) for name, value in facts.items()))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table whose first column holds names and whose others are values."""
    table = Table(*header, title=title or None, title_justify="left", show_header=bool(header))
    for row in rows:
        # Text, because strings would be searched for markup
        table.add_row(*(Text(printable(cell)) for cell in row))
    _console().print(table)


def _console() -> Console:
    return Console(highlight=False)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class TrainingProgress(Callback):
    """A bar on standard error with epochs, loss, time elapsed and time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
        )

    def on_fit_begin(self, model: Model, history: History, epochs: int) -> None:
        """Open the bar."""
        self._task = self._progress.add_task("", total=epochs, epoch=0, figures="")
        self._progress.start()

    def on_progress(self, model: Model, history: History, epoch: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=epoch)

    def on_epoch_end(self, model: Model, history: History) -> None:
        """Move the bar and show the figures."""
        figures = f"loss {history.loss[-1]:.4f}"
        if history.val_loss:
            figures += f", held-out {history.val_loss[-1]:.4f}"
        done = len(history)
        self._progress.update(self._task, completed=done, epoch=done, figures=figures)

    def on_fit_end(self, model: Model, history: History) -> None:
        """Close the bar."""
        self._progress.stop()
