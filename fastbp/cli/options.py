"""Arguments and options of the command: their types, help and checks."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from fastbp import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastbp.layers import ACTIVATIONS

_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
}


def parse_widths(text: str) -> tuple[int, ...]:
    """Return the widths in a text such as ``128,64``; none in an empty one."""
    if text and not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        raise typer.BadParameter("--hidden: widths are whole numbers with commas between them")
    return tuple(map(int, text.split(","))) if text else ()


def make_optimizer(name: str, learning_rate: float | None) -> Optimizer:
    """Return the optimizer of that name; without a learning rate, with its own."""
    options = {} if learning_rate is None else {"learning_rate": learning_rate}
    try:
        return _OPTIMIZERS[name](**options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _one_of(choices: Iterable[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return check


def _share(value: float) -> float:
    if not 0 <= value < 1:  # option types let nan pass
        raise typer.BadParameter(f"{value} is not a share from 0 to less than 1")
    return value


_DATA_HELP = "A .csv, .csv.gz, .parquet or .npz (X, y) file, or the bundled digits."
_MODEL_HELP = "A model file, as fastbp train writes it."
_ACTIVATION_HELP = f"Of the hidden layers: {', '.join(ACTIVATIONS)}."
_OPTIMIZER_HELP = f"One of {', '.join(_OPTIMIZERS)}."
_SEED_HELP = "Of the split, the first weights and the order of the rows."
_TASK_HELP = "What the target asks for; auto: texts and few whole numbers are classes."
_CATEGORICAL_HELP = "A column whose numbers are names; may be repeated."

Data = Annotated[str, typer.Argument(metavar="DATA", help=_DATA_HELP)]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP)]
Target = Annotated[str | None, typer.Option(help="Column to predict (default: the last one).")]
Hidden = Annotated[str, typer.Option(help="Widths of the hidden layers; '' for none.")]
Activation = Annotated[str, typer.Option(help=_ACTIVATION_HELP, callback=_one_of(ACTIVATIONS))]
Epochs = Annotated[int, typer.Option(min=1, help="Times through the training rows.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows for each update.")]
OptimizerName = Annotated[str, typer.Option(help=_OPTIMIZER_HELP, callback=_one_of(_OPTIMIZERS))]
LearningRate = Annotated[
    float | None, typer.Option(help="Size of the steps (default: the optimizer's own).")
]
Validation = Annotated[float, typer.Option(help="Share of the rows to hold out.", callback=_share)]
Seed = Annotated[int, typer.Option(min=0, help=_SEED_HELP)]
TaskChoice = Annotated[
    Literal["auto", "classification", "regression"], typer.Option(help=_TASK_HELP)
]
Categorical = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help=_CATEGORICAL_HELP)]
Ignore = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="A column to leave out; may be repeated.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads to use (default: all cores).")
]
ModelOut = Annotated[
    Path | None, typer.Option(help="Model file to write (default: DATA's name.safetensors).")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="File to save the training in, every ten seconds and when it is interrupted."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from --checkpoint, if there is that file.")
]
_EXCEL_HELP = "Put ' before labels that a spreadsheet would take for a formula."
ExcelSafe = Annotated[bool, typer.Option("--excel-safe", help=_EXCEL_HELP)]
PredictionsOut = Annotated[
    Path | None, typer.Option(help="CSV file to write (default: standard output).")
]
