"""Commands and exit statuses."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

import fastbp
from fastbp import _engine
from fastbp._tables import DataError
from fastbp.cli import inspect as inspection
from fastbp.cli import options
from fastbp.cli import predict as prediction
from fastbp.cli import train as training
from fastbp.cli.report import complain

_FAILURE, _BAD_INPUT, _INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Train fully connected neural networks on tables, and use them.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def train(
    data: options.Data = "digits",
    target: options.Target = None,
    hidden: options.Hidden = "256,128",
    activation: options.Activation = "relu",
    epochs: options.Epochs = 60,
    batch_size: options.BatchSize = 32,
    optimizer: options.OptimizerName = "adam",
    learning_rate: options.LearningRate = None,
    validation: options.Validation = 0.2,
    seed: options.Seed = 0,
    task: options.TaskChoice = "auto",
    categorical: options.Categorical = None,
    ignore: options.Ignore = None,
    threads: options.Threads = None,
    out: options.ModelOut = None,
    checkpoint: options.Checkpoint = None,
    resume: options.Resume = False,
) -> training.Interrupted | None:
    """Train on a table; write the model and a picture of its learning curve."""
    if threads is not None:
        fastbp.set_num_threads(threads)
    request = training.TrainingRequest(
        data=data,
        out=out or Path(Path(data.removesuffix(".gz")).stem + ".safetensors"),
        target=target,
        task=None if task == "auto" else task,
        categorical=categorical or (),
        ignored=ignore or (),
        hidden=options.parse_widths(hidden),
        activation=activation,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=options.make_optimizer(optimizer, learning_rate),
        validation=validation,
        seed=seed,
        checkpoint=checkpoint,
        resumes=resume,
    )
    return training.train(request)


@app.command()
def predict(
    model: options.ModelFile,
    data: options.Data,
    out: options.PredictionsOut = None,
    excel_safe: options.ExcelSafe = False,
) -> None:
    """Write a label with its probabilities, or a value, for every row of a table."""
    prediction.predict(model, data, out, excel_safe)


@app.command()
def inspect(model: options.ModelFile) -> None:
    """Show a model's layers, its columns and how it was trained."""
    inspection.inspect(model)


@app.command()
def info() -> None:
    """Show version, instruction set, threads, OpenMP and compiler."""
    fastbp.show_config()


def run(arguments: Sequence[str]) -> int:
    """Run a command; return 0, 2 for bad input, 1 for failures, 130 (143) after SIGINT (TERM)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names from files may have characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    try:
        _require_kernels()
        result = command(list(arguments), prog_name="fastbp", standalone_mode=False)
    except typer.TyperException as error:
        complain(error.format_message())
        return error.exit_code
    except (DataError, fastbp.ModelFormatError) as error:
        complain(str(error))
        return _BAD_INPUT
    except (fastbp.DivergenceError, OSError, MemoryError) as error:
        complain(_failure(error))
        return _FAILURE
    # a training that was interrupted returns where it is saved, any other command a status
    if isinstance(result, training.Interrupted):
        complain(str(result))
        return 128 + result.signal
    if result == _INTERRUPTED:
        complain("interrupted")
    return result or 0


def _require_kernels() -> None:
    """Refuse, as bad input, a FASTBP_ISA that this machine cannot run."""
    try:
        _engine.get_isa()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _failure(error: Exception) -> str:
    """Say what failed; what is read was refused before, so other files are outputs."""
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if isinstance(error, OSError):
        name = error.filename or "standard output"
        return f"{name}: cannot be written: {error.strerror or error}"
    return str(error)
