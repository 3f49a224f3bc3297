"""``fastbp train``: a table in, a model and its learning curve out."""

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer

import fastbp
from fastbp import Model, ModelCheckpoint
from fastbp._preprocessing import Classes, Preprocessing, Target, Task, decide_task, fit_target
from fastbp._tables import DataError, Table, printable, quoted, read_table
from fastbp.callbacks import Callback
from fastbp.cli.files import require_writable, write_learning_curve
from fastbp.cli.report import TrainingProgress, say, show_table
from fastbp.metrics import accuracy, r2
from fastbp.optimizers import Optimizer

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Figures = dict[str, float]

_SECONDS = 10.0  # between checkpoints

_SPELLED = {
    "loss": ("loss", "{:.4f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "rmse": ("RMSE", "{:.6g}"),
    "r2": ("R2", "{:.4f}"),
    "seconds": ("seconds", "{:.2f}"),
    "samples_per_second": ("samples/s", "{:,.0f}"),
}


@dataclass(frozen=True)
class TrainingRequest:
    """What the command line asked for; None leaves the choice of `target` or `task` to the data."""

    data: str
    out: Path
    target: str | None
    task: Task | None
    categorical: Collection[str]
    ignored: Collection[str]
    hidden: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    optimizer: Optimizer
    validation: float
    seed: int
    checkpoint: Path | None
    resumes: bool


class Interrupted(NamedTuple):
    """Which signal ended a training, and what was trained until then."""

    signal: int
    model: Path
    checkpoint: Path | None

    def __str__(self) -> str:
        """Return what to tell the user."""
        text = f"interrupted; what was trained so far is in {self.model}"
        return text if self.checkpoint is None else f"{text}; --resume goes on with it"


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does."""


@dataclass(frozen=True)
class Samples:
    """Inputs (n, n_inputs) and encoded targets (n,) of some rows."""

    x: Array
    y: Array


def train(request: TrainingRequest) -> Interrupted | None:
    """Train a model, save it with its learning curve, and report; say if it was interrupted."""
    picture = _require_outputs(request)
    table = read_table(request.data)
    training_rows, held_out_rows = _split(table, request)
    preprocessing = _fit_preprocessing(table, training_rows, request)
    target = preprocessing.target
    x, y = preprocessing.inputs(table), target.encode(table.column(target.name))
    training = Samples(x[training_rows], y[training_rows])
    held_out = Samples(x[held_out_rows], y[held_out_rows]) if held_out_rows.size else None
    model = _build(preprocessing, request)
    say(f"Network: {model!r}")

    ended_by = _fit(model, training, held_out, request)
    figures = {"train": _figures(model, target, training) | _speed(model, training)}
    if held_out:
        figures["held-out"] = _figures(model, target, held_out)
    facts = _facts(request, table, model) | {
        f"{part} {name}": value for part, some in figures.items() for name, value in some.items()
    }
    model.metadata = {"preprocessing": preprocessing.to_dict(), "training": facts}
    model.save(request.out)
    _report(figures)
    say(f"Model: {request.out}")
    if model.history:
        write_learning_curve(model.history, picture)
        say(f"Learning curve: {picture}")
    return None if ended_by is None else Interrupted(ended_by, request.out, request.checkpoint)


def _require_outputs(request: TrainingRequest) -> Path:
    """Refuse outputs that cannot be written; return where the picture goes."""
    require_writable(request.out, inputs=(request.data,))
    picture = request.out.with_suffix(".png")
    if picture == request.out:
        raise typer.BadParameter("--out: .png is for the picture; use .safetensors for the model")
    require_writable(picture, inputs=(request.data,))
    if request.checkpoint is not None:
        others = (request.data, str(request.out), str(picture))
        require_writable(request.checkpoint, inputs=others, option="--checkpoint")
    elif request.resumes:
        raise typer.BadParameter("--resume needs --checkpoint, the file to go on from")
    return picture


def _split(table: Table, request: TrainingRequest) -> tuple[Int64, Int64]:
    """Return the rows to train on, and those held out: a random share of `request.validation`."""
    n_held_out = round(request.validation * table.n_rows)
    if request.validation and not 0 < n_held_out < table.n_rows:
        raise DataError(
            f"{table.name}: --validation {request.validation} of {table.n_rows} rows leaves "
            "nothing to train on or nothing to validate with; give more rows or --validation 0"
        )
    order = np.random.default_rng(request.seed).permutation(table.n_rows)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def _fit_preprocessing(table: Table, rows: Int64, request: TrainingRequest) -> Preprocessing:
    say(f"Data: {table.name}, {table.n_rows:,} rows, {len(table.columns):,} columns")
    name, why = request.target, ""
    if name is None:
        name, why = next(reversed(table.columns)), ", the last column (--target names another)"
    say(f"Target: {quoted(name)}{why}")
    if name in {*request.categorical, *request.ignored}:
        raise typer.BadParameter(
            f"{quoted(name)} is the target; neither --ignore nor --categorical"
        )
    column = table.column(name)
    task = request.task or decide_task(column)
    target = fit_target(column, task, rows)
    kinds = f" into {target.n_outputs} classes" if isinstance(target, Classes) else ""
    say(f"Task: {task}{kinds}" + ("" if request.task else " (--task decides otherwise)"))
    preprocessing = Preprocessing.fit(
        table, target, rows, categorical=request.categorical, ignored=request.ignored
    )
    constant = [feature.name for feature in preprocessing.features if not feature.n_inputs]
    if constant:
        few = ", ".join(map(quoted, constant[:5])) + (", ..." if constant[5:] else "")
        say(f"Left out, because constant: {len(constant)} columns: {few}")
    return preprocessing


def _build(preprocessing: Preprocessing, request: TrainingRequest) -> Model:
    classifies = isinstance(preprocessing.target, Classes)
    widths = [preprocessing.n_inputs, *request.hidden, preprocessing.target.n_outputs]
    try:
        return Model(
            widths,
            activation=request.activation,
            loss="softmax_cross_entropy" if classifies else "squared_error",
            seed=request.seed,
        )
    except (ValueError, MemoryError) as error:
        raise typer.BadParameter(f"--hidden: {error}") from error


def _fit(
    model: Model, training: Samples, held_out: Samples | None, request: TrainingRequest
) -> int | None:
    """Train with a progress bar; return the signal that ended it, after a whole minibatch."""
    callbacks: list[Callback] = [TrainingProgress()]
    resume = _to_resume(request)
    if request.checkpoint is not None:
        callbacks.append(ModelCheckpoint(request.checkpoint, every_seconds=_SECONDS))
    try:
        with _sigterm_as_ctrl_c():
            model.fit(
                training.x,
                training.y,
                epochs=request.epochs,
                batch_size=request.batch_size,
                optimizer=request.optimizer,
                validation_data=(held_out.x, held_out.y) if held_out else None,
                callbacks=callbacks,
                resume=resume,
            )
    except _Terminated:
        return signal.SIGTERM
    except KeyboardInterrupt:
        return signal.SIGINT
    return None


def _to_resume(request: TrainingRequest) -> Path | None:
    """Return the checkpoint to go on from, which can be read; None: there is none, or not yet."""
    if request.checkpoint is None or not request.resumes:
        return None
    try:
        with request.checkpoint.open("rb"):
            say(f"Resumed from: {request.checkpoint}")
            return request.checkpoint
    except FileNotFoundError:
        say(f"Nothing to resume yet in: {request.checkpoint}")
        return None
    except OSError as error:
        name = printable(str(request.checkpoint))
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _figures(model: Model, target: Target, samples: Samples) -> Figures:
    """Return the mean loss, and accuracy or else RMSE (in the target's own unit) and R2."""
    predicted = model.predict(samples.x)
    loss = float(model.loss(samples.x, samples.y, reduction="mean"))
    if isinstance(target, Classes):
        return {"loss": loss, "accuracy": accuracy(samples.y, predicted)}
    y = samples.y[:, np.newaxis]
    rmse = target.scale * float(np.sqrt(np.mean((predicted - y) ** 2)))
    return {"loss": loss, "rmse": rmse, "r2": r2(y, predicted)}


def _speed(model: Model, training: Samples) -> Figures:
    """Return seconds and samples per second of the finished epochs, validation included."""
    if not model.history:
        return {}
    seconds = sum(model.history.seconds)
    return {
        "seconds": seconds,
        "samples_per_second": len(training.x) * len(model.history) / seconds,
    }


def _facts(request: TrainingRequest, table: Table, model: Model) -> dict[str, str | int | float]:
    return {
        "fastbp": fastbp.__version__,
        "data": printable(table.name),
        "rows": table.n_rows,
        "validation": request.validation,
        "epochs": len(model.history or ()),
        "batch_size": request.batch_size,
        "optimizer": repr(request.optimizer),
        "seed": request.seed,
    }


def _report(figures: dict[str, Figures]) -> None:
    names = list(dict.fromkeys(name for some in figures.values() for name in some))
    rows = []
    for name in names:
        label, spelling = _SPELLED[name]
        cells = (spelling.format(some[name]) if name in some else "-" for some in figures.values())
        rows.append((label, *cells))
    show_table(("", *figures), rows)
