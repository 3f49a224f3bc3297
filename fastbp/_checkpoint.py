"""Checkpoints: what a fit is resumed from, with the same bits as if it had never been cut."""

import hashlib
import os
from dataclasses import asdict, dataclass
from reprlib import repr as short
from typing import Any

import numpy as np

from fastbp import _serialization
from fastbp._fitting import Cut, Fit
from fastbp._serialization import ModelFile, TrainingPart, expect_keys
from fastbp._training import Position, Samples
from fastbp._validation import Array, as_bool, as_integer, as_real, explain, non_negative
from fastbp.errors import CheckpointError, ModelFormatError
from fastbp.history import History

_CHUNK = 1 << 20  # elements of X that are converted at once
_MOST = 1 << 62


@dataclass(frozen=True)
class Settings:
    """What must be the same for the same bits."""

    layers: str
    loss: str
    dtype: str
    batch_size: int
    shuffle: bool
    l2: float
    precision: str
    optimizer: str
    training_data: str
    validation_data: str


_DATA = ("training_data", "validation_data")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every value is in order for one fit."""

    path: str
    parameters: Array
    moments: dict[str, Array]
    cut: Cut
    position: Position
    callbacks: list[dict[str, Array]]
    history: dict[str, Array]

    def recall(self, history: History) -> None:
        """Put the epochs of before into a history that is empty."""
        for i in range(self.cut.epoch - 1):
            history.append({name: float(column[i]) for name, column in self.history.items()})

    def apply(self, fit: Fit) -> None:
        """Bring a fit whose callbacks have begun to where this was saved."""
        for hook, values in zip(fit.stateful, self.callbacks, strict=True):
            try:
                hook.restore(fit.model, values)
            except (ValueError, TypeError, KeyError) as error:
                text = f"{self.path}: state of {type(hook).__name__}: {error}"
                raise CheckpointError(text) from error
        state = fit.trainer.state
        fit.model.parameters[:] = self.parameters
        for name, moment in self.moments.items():
            getattr(state, name)[:] = moment
        state.steps, state.epochs = self.cut.steps, self.cut.epochs
        fit.model._rng.bit_generator.state = self.cut.rng
        fit.stopped = self.cut.stopped
        fit.trainer.start = self.position


class Recorder:
    """What a running fit is saved with, and a fit that begins is resumed by."""

    def __init__(self, fit: Fit, validation: Samples | None) -> None:
        """Take note of the arguments of the fit, and of all its data."""
        self.fit = fit
        self._settings = _settings_of(fit, validation)
        fit.trainer.tracks = True

    def progress(self) -> tuple[int, int] | None:
        """Return the number of the epoch and its finished minibatches; None as below."""
        cut = self.fit.cut
        return None if cut is None else (cut.epoch, self.fit.trainer.position(cut.epoch).batches)

    def training_part(self) -> TrainingPart | None:
        """Return what goes on from the last finished minibatch; None: the fit has diverged."""
        return None if self.fit.cut is None else _part_of(self.fit, self.fit.cut, self._settings)

    def read(self, path: str | os.PathLike[str], allow_other_data: bool) -> Checkpoint:
        """Return what a checkpoint holds; CheckpointError unless the fit can go on from it."""
        name = os.fspath(path)
        try:
            contents = _serialization.load(path)
        except ModelFormatError as error:
            raise CheckpointError(str(error)) from error
        try:
            return _checked(name, contents, self.fit, self._settings, allow_other_data)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{name}: cannot go on from it: {error}") from error


# --------------------------------------------------------------------------------- what is compared


def _settings_of(fit: Fit, validation: Samples | None) -> Settings:
    model, trainer = fit.model, fit.trainer
    return Settings(
        ", ".join(f"{k.n_in}-{k.n_out} {k.activation!r} {k.dropout}" for k in model.layers),
        repr(model.loss_function),
        model.dtype.name,
        trainer.batch_size,
        fit.shuffler is not None,
        trainer.l2,
        "bf16" if trainer.bf16 else "of dtype",
        repr(trainer.state.optimizer),
        _fingerprint(trainer.samples, model.dtype),
        "none" if validation is None else _fingerprint(validation, model.dtype),
    )


def _fingerprint(samples: Samples, dtype: np.dtype[Any]) -> str:
    """Return a SHA-256 of shapes and values, as the engine reads them, in whatever layout."""
    x = samples.x
    digest = hashlib.sha256(f"{x.shape} {samples.y.shape} {samples.y.dtype}".encode())
    rows = max(_CHUNK // x.shape[1], 1)
    for begin in range(0, len(x), rows):
        digest.update(np.ascontiguousarray(x[begin : begin + rows], dtype).data)
    digest.update(np.ascontiguousarray(samples.y).data)
    if samples.weight is not None:
        digest.update(np.ascontiguousarray(samples.weight).data)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------ saving


def _part_of(fit: Fit, cut: Cut, settings: Settings) -> TrainingPart:
    state = fit.trainer.state
    n_epochs = cut.epoch - 1  # an epoch is evaluated again if its callbacks have not answered all
    tensors = {
        f"history.{name}": np.array(fit.history[name][:n_epochs]) for name in fit.history.columns
    }
    tensors |= {name: moment for name in "mv" if (moment := getattr(state, name)) is not None}
    for i, values in enumerate(cut.callbacks):
        tensors |= {f"callbacks.{i}.{name}": np.asarray(value) for name, value in values.items()}
    position = fit.trainer.position(cut.epoch)
    config = {
        "settings": asdict(settings),
        "epoch": cut.epoch,
        "rng": dict(cut.rng),
        "steps": cut.steps,
        "epochs": cut.epochs,
        "stopped": cut.stopped,
        "batches": position.batches,
        "loss": position.loss,
        "callbacks": [type(hook).__name__ for hook in fit.stateful],
    }
    return TrainingPart(config, tensors)


# ---------------------------------------------------------------------------------------- resuming


def _checked(
    name: str, contents: ModelFile, fit: Fit, settings: Settings, allow_other_data: bool
) -> Checkpoint:
    part = contents.training
    if part is None:
        raise ValueError("it is a model without its training, not a file of ModelCheckpoint")
    config, tensors = part.config, dict(part.tensors)
    names = "settings epoch rng steps epochs stopped batches loss callbacks"
    expect_keys(config, set(names.split()), "training")
    _expect_settings(config["settings"], settings, allow_other_data)
    epoch = as_integer(config["epoch"], "epoch", 1, _MOST)
    most = fit.trainer.n_batches()
    cut = Cut(
        epoch,
        _generator(config["rng"]),
        as_integer(config["steps"], "steps", 0, _MOST),
        non_negative(config["epochs"], "epochs"),
        as_bool(config["stopped"], "stopped"),
        [],
    )
    position = Position(
        epoch,
        as_integer(config["batches"], "batches", 0, most),
        as_real(config["loss"], "loss"),
    )
    checkpoint = Checkpoint(
        name,
        np.concatenate([tensor.ravel() for tensor in contents.tensors]),
        _moments(tensors, fit),
        cut,
        position,
        _callback_states(config["callbacks"], tensors, fit),
        _history(tensors, fit, epoch - 1),
    )
    expect_keys(tensors, set(), "tensors of the training")
    return checkpoint


def _expect_settings(saved: object, settings: Settings, allow_other_data: bool) -> None:
    expected = asdict(settings)
    if not isinstance(saved, dict):
        raise TypeError(explain("settings", "a mapping", short(saved)))
    expect_keys(saved, set(expected), "settings")
    for name, value in expected.items():
        if saved[name] == value or (allow_other_data and name in _DATA):
            continue
        if name in _DATA:
            raise ValueError(
                f"{name}: the checkpoint is of other data; allow_other_data=True lets it go on "
                "with these"
            )
        raise ValueError(f"{name}: the checkpoint has {short(saved[name])}, this fit {value!r}")


def _generator(state: Any) -> dict[str, Any]:
    """Return the state of a PCG64 generator."""
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        raise TypeError(explain("rng", "the state of a random generator", short(state)))
    expect_keys(state, {"bit_generator", "state", "has_uint32", "uinteger"}, "rng")
    expect_keys(state["state"], {"state", "inc"}, "state of rng")
    if state["bit_generator"] != "PCG64":
        raise ValueError(explain("rng", "PCG64", short(state["bit_generator"])))
    for name in ("state", "inc"):
        as_integer(state["state"][name], f"{name} of rng", 0, (1 << 128) - 1)
    as_integer(state["has_uint32"], "has_uint32 of rng", 0, 1)
    as_integer(state["uinteger"], "uinteger of rng", 0, (1 << 32) - 1)
    return state


def _taken(tensors: dict[str, Array], name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Take a tensor out, which must be there and so."""
    tensor = tensors.pop(name, None)
    if tensor is None or (tensor.shape, tensor.dtype) != (shape, dtype):
        given = "none" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"
        raise ValueError(explain(name, f"{np.dtype(dtype)} of shape {shape}", given))
    return tensor


def _moments(tensors: dict[str, Array], fit: Fit) -> dict[str, Array]:
    state, model = fit.trainer.state, fit.model
    moments = {
        name: _taken(tensors, name, (model.n_parameters,), model.dtype)
        for name in "mv"
        if getattr(state, name) is not None
    }
    for name, moment in moments.items():
        if not np.isfinite(moment).all():
            raise ValueError(f"moment {name} has values that are not finite")
    return moments


def _history(tensors: dict[str, Array], fit: Fit, n: int) -> dict[str, Array]:
    return {
        name: _taken(tensors, f"history.{name}", (n,), np.float64) for name in fit.history.columns
    }


def _callback_states(kinds: object, tensors: dict[str, Array], fit: Fit) -> list[dict[str, Array]]:
    expected = [type(hook).__name__ for hook in fit.stateful]
    if kinds != expected:
        raise ValueError(f"callbacks: the checkpoint has {short(kinds)}, this fit {expected}")
    states = []
    for i in range(len(expected)):
        prefix = f"callbacks.{i}."
        names = [name for name in tensors if name.startswith(prefix)]
        states.append({name.removeprefix(prefix): tensors.pop(name) for name in names})
    return states
