"""From an estimator's parameters to a `Model`: layers, loss, first weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log
from reprlib import repr as short
from typing import Any

import numpy as np

from fastbp._validation import Array, Float64, as_integer, explain, fraction
from fastbp.layers import Activation, Dense, as_activation
from fastbp.losses import Loss
from fastbp.model import Model

_OURS = {"logistic": "sigmoid"}  # scikit-learn's names, where they are others


@dataclass(frozen=True)
class CappedCrossEntropy(Loss):
    """A cross-entropy that reports no more than scikit-learn's, which clips probabilities.

    The gradient is that of the loss without the cap, as in scikit-learn.
    """

    largest: float = inf

    @classmethod
    def for_dtype(cls, name: str, dtype: np.dtype[Any]) -> "CappedCrossEntropy":
        """Return the loss whose probabilities are clipped at the dtype's epsilon."""
        return cls(name, -log(np.finfo(dtype).eps))

    def engine_parameters(self, n_out: int) -> Float64:
        """Return the cap for each output."""
        return np.full(n_out, self.largest)

    def _parameters(self) -> dict[str, Any]:
        return {}  # a model file holds the plain loss


def hidden_widths(hidden_layer_sizes: Any) -> list[int]:
    """Return the widths of the hidden layers from scikit-learn's parameter."""
    given = hidden_layer_sizes
    sizes = list(given) if isinstance(given, Iterable) else [given]
    if any(not isinstance(size, str) and size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {short(sizes)}.")
    return [as_integer(size, "hidden_layer_sizes", 1) for size in sizes]


def _for_each_hidden(value: Any, name: str, n_hidden: int) -> list[Any]:
    """Return what each hidden layer gets, from one for all or a list."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return [value] * n_hidden
    if len(value) != n_hidden:
        expected = f"one for each of {n_hidden} hidden layers"
        raise ValueError(explain(name, expected, f"{len(value)}"))
    return list(value)


def _activation(value: Any) -> Activation:
    return as_activation(_OURS.get(value, value) if isinstance(value, str) else value, "activation")


def layers_of(widths: Sequence[int], activation: Any, dropout: Any) -> tuple[Dense, ...]:
    """Return the layers from all widths, inputs and outputs included."""
    n_hidden = len(widths) - 2
    sigmas = [*map(_activation, _for_each_hidden(activation, "activation", n_hidden))]
    rates = [fraction(rate, "dropout") for rate in _for_each_hidden(dropout, "dropout", n_hidden)]
    return tuple(
        Dense(n_in, n_out, sigma, dropout=rate)
        for (n_in, n_out), sigma, rate in zip(
            pairwise(widths), [*sigmas, _activation("identity")], [*rates, 0.0], strict=True
        )
    )


def draw_parameters(model: Model, rng: np.random.RandomState, dtype: np.dtype[Any]) -> None:
    """Draw weights and biases as scikit-learn does: uniform, layer by layer, in its order.

    They are rounded to ``dtype``, that of the data.
    """
    for i, (layer, w, b) in enumerate(zip(model.layers, model.weights, model.biases, strict=True)):
        # the last layer takes the bound of the activation before it
        sigma = model.layers[min(i, max(len(model.layers) - 2, 0))].activation
        bound = np.sqrt((2.0 if sigma.name == "sigmoid" else 6.0) / (layer.n_in + layer.n_out))
        w[:] = rng.uniform(-bound, bound, w.shape).astype(dtype)
        b[:] = rng.uniform(-bound, bound, b.shape).astype(dtype)


def model_of(coefs: Any, intercepts: Any, activation: Any, dropout: Any, loss_of: Any) -> Model:
    """Return a model that holds these parameters; ValueError unless their shapes chain.

    ``loss_of`` gives the loss for a dtype.
    """
    w, b = [np.asarray(c) for c in coefs], [np.asarray(c) for c in intercepts]
    if len(w) != len(b) or not w or any(array.ndim != 2 for array in w):
        raise ValueError("coefs_ must be 2-d arrays, one for each of intercepts_")
    widths = [w[0].shape[0], *(array.shape[1] for array in w)]
    for i, (array, bias) in enumerate(zip(w, b, strict=True)):
        expected = (widths[i], widths[i + 1])
        if array.shape != expected or bias.shape != expected[1:]:
            given = f"{array.shape} and {bias.shape}"
            raise ValueError(explain(f"coefs_[{i}] and intercepts_[{i}]", f"{expected}", given))
    dtype = np.dtype(np.float32 if all(c.dtype == np.float32 for c in [*w, *b]) else np.float64)
    model = Model._blank(layers_of(widths, activation, dropout), loss_of(dtype), dtype)
    model.parameters = np.concatenate(
        [view.ravel() for pair in zip(w, b, strict=True) for view in pair]
    )
    return model


def total_squares(arrays: Iterable[Array]) -> float:
    """Return the sum of squares of all elements, infinity where it is too large."""
    with np.errstate(over="ignore"):
        return float(sum(np.dot(a.ravel(), a.ravel()) for a in arrays))
