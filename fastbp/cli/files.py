"""Output files: checked before the work, written in one piece after it."""

import io
import os
import tempfile
from pathlib import Path

import typer
from matplotlib.figure import Figure

from fastbp import History
from fastbp._files import replace_file
from fastbp._tables import printable


def require_writable(path: Path, inputs: tuple[str, ...], option: str = "--out") -> None:
    """Refuse, as bad input, a path that cannot be written or that is one of the inputs."""
    name = printable(str(path))
    target = Path(os.path.realpath(path))
    if target in {Path(os.path.realpath(source)) for source in inputs}:
        raise typer.BadParameter(f"{option}: {name} is an input; choose another name")
    if not path.name or (target.exists() and not target.is_file()):
        raise typer.BadParameter(f"{option}: {name} is not a file")
    if not target.parent.is_dir():
        folder = printable(str(target.parent))
        raise typer.BadParameter(f"{option}: there is no folder {folder}; make it first")
    try:
        # Permissions alone do not tell: the file system may be read-only.
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise typer.BadParameter(f"{option}: {name} cannot be written: {error.strerror}") from error


def write_learning_curve(history: History, path: Path) -> None:
    """Draw losses and metrics over the epochs into a PNG file."""
    # A bare Figure draws with Agg, whatever windows the machine could open.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    history.plot(figure.add_subplot())
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    replace_file(path, picture.getvalue())


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8."""
    replace_file(path, text.encode())
