"""``fastbp predict``: a model and a table in, a CSV file of predictions out."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
import typer

from fastbp import Model
from fastbp._preprocessing import Classes, Preprocessing, Target, Value
from fastbp._tables import DataError, Table, printable, read_table
from fastbp._validation import Array
from fastbp.cli.files import require_writable, write_text
from fastbp.cli.report import say
from fastbp.cli.trained import load_trained

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formulas begin with


def predict(model_path: str, data: str, out: Path | None, excel_safe: bool) -> None:
    """Write a prediction for every row of a table; to standard output if `out` is None."""
    if out:
        require_writable(out, inputs=(model_path, data))
    trained = load_trained(model_path)
    if trained.preprocessing is None:
        name = printable(model_path)
        raise typer.BadParameter(f"{name}: not written by fastbp train; use Model.load in Python")
    table = read_table(data)
    outputs = _outputs(trained.model, trained.preprocessing, table)
    text = _as_csv(trained.preprocessing.target, outputs, excel_safe)
    if out:
        write_text(text, out)
        say(f"Predictions: {out}, {table.n_rows:,} rows")
    else:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


def _outputs(model: Model, preprocessing: Preprocessing, table: Table) -> Array:
    outputs = model.predict(preprocessing.inputs(table))
    finite = np.isfinite(outputs).all(axis=1)
    if isinstance(preprocessing.target, Value):
        finite &= np.isfinite(preprocessing.target.decode(outputs))
    if not finite.all():
        where = next(iter(table.columns.values())).place(int(np.argmin(finite)))
        raise DataError(f"{where}: the row is too far from the training rows to predict anything")
    return outputs


def _as_csv(target: Target, outputs: Array, excel_safe: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(target, Classes):
        writer.writerow(["prediction", *(f"probability_{label}" for label in target.classes)])
        classes = [
            f"'{label}" if excel_safe and label.startswith(_FORMULA) else label
            for label in target.classes
        ]
        labels = (classes[i] for i in outputs.argmax(axis=1))
        # str() of a float32 is the shortest text that gives it back; of a float it is longer
        writer.writerows(
            [label, *map(str, row)] for label, row in zip(labels, outputs, strict=True)
        )
    else:
        writer.writerow(["prediction"])
        writer.writerows([f"{value:.9g}"] for value in target.decode(outputs))
    return text.getvalue()
