"""Layers and activations: what a network consists of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from reprlib import repr as short
from typing import Annotated, Any

import numpy as np

from fastbp import _engine
from fastbp._specs import Fraction, NamedSpec, NonNegative, Positive, PositiveInteger, Spec, one_of
from fastbp._validation import choose, explain, positive_integer
from fastbp.initializers import (
    GlorotUniform,
    HeUniform,
    Initializer,
    LeCunNormal,
    as_initializer,
)

_PLAIN = tuple(name for name in _engine.ACTIVATIONS if name not in ("leaky_relu", "elu"))
_RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")


@dataclass(frozen=True)
class Activation(NamedSpec):
    """An activation without parameters, by its name.

    Parameters
    ----------
    name : str
        ``identity``, ``relu``, ``selu``, ``sigmoid``, ``tanh``, ``softsign``, ``softplus``,
        ``gelu`` (by erf), ``silu`` or ``mish``. At 0 the derivative of ``relu`` is 0.
    """

    name: Annotated[str, one_of(_PLAIN)]
    alpha: float = field(default=0.0, init=False, repr=False)

    @property
    def default_initializer(self) -> Initializer:
        """He uniform for the relu-like, LeCun normal for selu, Glorot uniform for the others."""
        if self.name == "selu":
            return LeCunNormal()
        return HeUniform() if self.name in _RELU_LIKE else GlorotUniform()


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``z`` where z > 0, else ``alpha * z``."""

    name: str = field(default="leaky_relu", init=False, repr=False)
    alpha: NonNegative = 0.01


@dataclass(frozen=True)
class ELU(Activation):
    """``z`` where z > 0, else ``alpha * (exp(z) - 1)``."""

    name: str = field(default="elu", init=False, repr=False)
    alpha: Positive = 1.0


ACTIVATIONS: dict[str, Activation] = {name: Activation(name) for name in _PLAIN} | {
    "leaky_relu": LeakyReLU(),
    "elu": ELU(),
}


def as_activation(value: object, name: str) -> Activation:
    """Return the activation of that name."""
    return choose(value, name, Activation, ACTIVATIONS)


@dataclass(frozen=True, init=False, repr=False)
class Dense(Spec):
    """A fully connected layer, a = sigma(x w + b).

    Parameters
    ----------
    n_in, n_out : int
        Inputs and neurons.
    activation : str or Activation
        Its name, or a spec with its parameter such as ``LeakyReLU(0.1)``.
    initializer : str, Initializer or None
        How weights start (biases start at zero); None: as suits the activation.
    dropout : float
        Share of the layer's outputs that `Model.fit` sets to zero, chosen anew for every sample of
        a minibatch; the rest is divided by ``1 - dropout``. Nothing is dropped elsewhere.
    """

    n_in: PositiveInteger
    n_out: PositiveInteger
    activation: Annotated[Activation, as_activation]
    initializer: Annotated[Initializer | None, as_initializer]
    dropout: Fraction

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation = "identity",
        initializer: str | Initializer | None = None,
        dropout: float = 0.0,
    ) -> None:
        for name, value in zip(
            ("n_in", "n_out", "activation", "initializer", "dropout"),
            (n_in, n_out, activation, initializer, dropout),
            strict=True,
        ):
            object.__setattr__(self, name, value)
        self.__post_init__()

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return (self.n_in + 1) * self.n_out

    def __repr__(self) -> str:
        """Return the call that makes this layer."""
        parts = [str(self.n_in), str(self.n_out), self.activation.brief()]
        parts += [f"initializer={self.initializer!r}"] if self.initializer else []
        parts += [f"dropout={self.dropout!r}"] if self.dropout else []
        return f"Dense({', '.join(parts)})"


def as_layers(
    layers: Any,
    activation: str | Activation,
    initializer: str | Initializer | None,
) -> tuple[Dense, ...]:
    """Return layers whose widths chain, from widths or layers.

    ``activation`` is that of the hidden layers made from widths; ``initializer`` is for all layers
    that have none of their own.
    """
    expected = "a list of at least two widths, or a list of Dense layers"
    if not isinstance(layers, Sequence | np.ndarray):
        raise TypeError(explain("layers", expected, short(layers)))
    hidden = as_activation(activation, "activation")
    start = as_initializer(initializer, "initializer")
    own = [layer for layer in layers if isinstance(layer, Dense)]
    if own and len(own) == len(layers):
        dense = [_started(layer, start) for layer in own]
    elif own or len(layers) < 2:
        raise ValueError(explain("layers", expected, short(layers)))
    else:
        dense = _from_widths([positive_integer(item, "layers") for item in layers], hidden, start)
    for i, (below, above) in enumerate(pairwise(dense)):
        if below.n_out != above.n_in:
            expected = f"layer {i + 1} to have the {below.n_out} inputs that layer {i} gives out"
            raise ValueError(explain("layers", expected, f"{above.n_in}"))
    return tuple(dense)


def _from_widths(
    widths: list[int], hidden: Activation, initializer: Initializer | None
) -> list[Dense]:
    last = len(widths) - 2
    return [
        Dense(n_in, n_out, hidden if i < last else "identity", initializer)
        for i, (n_in, n_out) in enumerate(pairwise(widths))
    ]


def _started(layer: Dense, initializer: Initializer | None) -> Dense:
    own = layer.initializer or initializer
    return Dense(layer.n_in, layer.n_out, layer.activation, own, layer.dropout)
