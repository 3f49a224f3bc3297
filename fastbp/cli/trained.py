"""Models that ``fastbp train`` wrote: the network with its preprocessing and training facts."""

from dataclasses import dataclass

import typer

from fastbp import Model, ModelFormatError
from fastbp._preprocessing import Preprocessing
from fastbp._tables import printable

Facts = dict[str, str | int | float]


@dataclass(frozen=True)
class Trained:
    """A model; `preprocessing` is None and `facts` are empty if the command did not make it."""

    model: Model
    preprocessing: Preprocessing | None
    facts: Facts


def load_trained(path: str) -> Trained:
    """Read a model file.

    Raises
    ------
    typer.BadParameter
        The file cannot be read.
    ModelFormatError
        It is not a model, or what goes with the model is damaged.
    """
    name = printable(path)
    try:
        model = Model.load(path)
    except OSError as error:
        raise typer.BadParameter(f"{name}: cannot be read: {error.strerror}") from error
    if model.metadata.keys() != {"preprocessing", "training"}:
        return Trained(model, None, {})
    try:
        preprocessing = Preprocessing.from_dict(model.metadata["preprocessing"])
        _check_widths(model, preprocessing)
        return Trained(model, preprocessing, _as_facts(model.metadata["training"]))
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}: {error}") from error


def _check_widths(model: Model, preprocessing: Preprocessing) -> None:
    expected = preprocessing.n_inputs, preprocessing.target.n_outputs
    given = model.layers[0].n_in, model.layers[-1].n_out
    if given != expected:
        raise ModelFormatError(
            f"preprocessing: expected a network of {expected[0]} inputs and {expected[1]} outputs, "
            f"got one of {given[0]} and {given[1]}"
        )


def _as_facts(data: object) -> Facts:
    if not isinstance(data, dict) or not all(
        isinstance(value, str | int | float) for value in data.values()
    ):
        raise ModelFormatError("training: expected texts and numbers by name")
    return data
