"""Losses: what a network is asked to make small. All act on the last layer's output.

The loss of a sample is a sum over its outputs, where other libraries often take the mean: with many
outputs its gradient is that much longer, so learning rates found with a mean do not carry over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any

import numpy as np

from fastbp import _engine, metrics
from fastbp._specs import NamedSpec, Positive, one_of
from fastbp._validation import (
    Array,
    Float64,
    as_labels,
    as_numeric,
    as_probabilities,
    as_targets,
    choose,
    explain,
    open_fraction,
)

_PLAIN = tuple(name for name in _engine.LOSSES if name not in ("huber", "pinball"))
_RANGES = {"binary_cross_entropy": (0.0, 1.0), "poisson": (0.0, inf)}


@dataclass(frozen=True)
class Loss(NamedSpec):
    """A loss without parameters, by its name.

    Parameters
    ----------
    name : str
        ``squared_error`` (half the sum of squares over the outputs), ``absolute_error``,
        ``poisson`` (the output z is the logarithm of the rate; the loss is infinite where exp(z)
        exceeds float64, from z = 710 on), ``binary_cross_entropy`` and ``softmax_cross_entropy``
        (the output is logits).
    """

    name: Annotated[str, one_of(_PLAIN)]

    @property
    def metric(self) -> str:
        """Name of what `score` returns: ``accuracy`` or ``r2``."""
        classifies = self.name in ("binary_cross_entropy", "softmax_cross_entropy")
        return "accuracy" if classifies else "r2"

    def score(self, y: Array, predicted: Array) -> float:
        """Return how good predictions are, given targets that `as_targets` returned."""
        if self.metric == "r2":
            return metrics.r2(y, predicted)
        if self.name == "softmax_cross_entropy" and y.dtype.kind == "f":
            y = y.argmax(axis=1)
        return metrics.accuracy(y, predicted)

    def engine_parameters(self, n_out: int) -> Float64:
        """Return one parameter for each output, as the compiled core wants it."""
        return np.zeros(n_out)

    def as_targets(self, y: Any, name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return ``y`` as labels ``(n,)`` or targets ``(n, n_out)``.

        Only ``softmax_cross_entropy`` takes labels: from 0 to n_out - 1, or one distribution a row.
        """
        if self.name == "softmax_cross_entropy":
            y = as_numeric(y, name)
            if y.ndim == 1:
                return as_labels(y, name, *shape)
            return as_probabilities(y, name, shape, dtype)
        return as_targets(y, name, shape, dtype, *_RANGES.get(self.name, (-inf, inf)))


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error up to ``delta`` from the target, absolute error (times ``delta``) beyond."""

    name: str = field(default="huber", init=False, repr=False)
    delta: Positive = 1.0

    def engine_parameters(self, n_out: int) -> Float64:
        """Return ``delta`` for each output."""
        return np.full(n_out, self.delta)


def _as_quantiles(value: object, name: str) -> float | tuple[float, ...]:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and len(value):
        return tuple(open_fraction(item, name) for item in value)
    return open_fraction(value, name)


@dataclass(frozen=True)
class Pinball(Loss):
    """Absolute error tilted so that each output learns a quantile.

    Parameters
    ----------
    quantiles : float or sequence of float
        In (0, 1): one for all outputs, or one for each.
    """

    name: str = field(default="pinball", init=False, repr=False)
    quantiles: Annotated[float | tuple[float, ...], _as_quantiles] = 0.5

    def engine_parameters(self, n_out: int) -> Float64:
        """Return the quantile of each output."""
        if isinstance(self.quantiles, tuple) and len(self.quantiles) != n_out:
            given = f"{len(self.quantiles)}"
            raise ValueError(explain("quantiles", f"one for each of {n_out} outputs", given))
        return np.full(n_out, self.quantiles)


LOSSES: dict[str, Loss] = {name: Loss(name) for name in _PLAIN} | {
    "huber": Huber(),
    "pinball": Pinball(),
}


def as_loss(value: object, name: str) -> Loss:
    """Return the loss of that name."""
    return choose(value, name, Loss, LOSSES)
