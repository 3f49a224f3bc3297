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


def hidden_activations(activation: Any, n_hidden: int) -> list[Activation]:
    """Return the activation of each hidden layer, from one for all or a list."""
    if isinstance(activation, Sequence | np.ndarray) and not isinstance(activation, str):
        if len(activation) != n_hidden:
            expected = f"one for each of {n_hidden} hidden layers"
            raise ValueError(explain("activation", expected, f"{len(activation)}"))
        return [_activation(item) for item in activation]
    return [_activation(activation)] * n_hidden


def _activation(value: Any) -> Activation:
    return as_activation(_OURS.get(value, value) if isinstance(value, str) else value, "activation")


def layers_of(widths: Sequence[int], activation: Any, dropout: Any) -> tuple[Dense, ...]:
    """Return the layers from all widths, inputs and outputs included."""
    sigmas = [*hidden_activations(activation, len(widths) - 2), _activation("identity")]
    rates = [*_hidden_dropout(dropout, len(widths) - 2), 0.0]
    return tuple(
        Dense(n_in, n_out, sigma, dropout=rate)
        for (n_in, n_out), sigma, rate in zip(pairwise(widths), sigmas, rates, strict=True)
    )


def _hidden_dropout(dropout: Any, n_hidden: int) -> list[float]:
    if isinstance(dropout, Sequence | np.ndarray):
        if len(dropout) != n_hidden:
            expected = f"one rate for each of {n_hidden} hidden layers"
            raise ValueError(explain("dropout", expected, f"{len(dropout)}"))
        return [fraction(rate, "dropout") for rate in dropout]
    return [fraction(dropout, "dropout")] * n_hidden


def blank_model(layers: tuple[Dense, ...], loss: Loss, dtype: np.dtype[Any]) -> Model:
    """Return a model whose parameters are all zero."""
    return Model._blank(layers, loss, dtype)


def draw_parameters(
    model: Model, activation: Any, rng: np.random.RandomState, dtype: np.dtype[Any]
) -> None:
    """Draw weights and biases as scikit-learn does: uniform, layer by layer, in its order.

    They are rounded to ``dtype``, that of the data.
    """
    activations = hidden_activations(activation, len(model.layers) - 1)
    # the last layer takes the bound of the activation before it
    sigmas = [*activations, activations[-1] if activations else _activation("identity")]
    for layer, sigma, w, b in zip(model.layers, sigmas, model.weights, model.biases, strict=True):
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
    model = blank_model(layers_of(widths, activation, dropout), loss_of(dtype), dtype)
    model.parameters = np.concatenate(
        [view.ravel() for pair in zip(w, b, strict=True) for view in pair]
    )
    return model


def total_squares(arrays: Iterable[Array]) -> float:
    """Return the sum of squares of all elements."""
    return float(sum(np.dot(a.ravel(), a.ravel()) for a in arrays))
