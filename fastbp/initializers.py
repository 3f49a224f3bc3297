"""How weights start: drawn so that the variance of activations (or gradients) keeps its size."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastbp._specs import Spec
from fastbp._validation import choose


@dataclass(frozen=True)
class Initializer(Spec):
    """Weights of mean 0 and variance ``gain / fan``; draws are float64, whatever the model's dtype.

    Users' own initializers derive from this class and override `draw`.
    """

    gain: ClassVar[float] = 1.0
    normal: ClassVar[bool] = False

    def fan(self, n_in: int, n_out: int) -> float:
        """Return what divides the gain: the inputs of a neuron."""
        return n_in

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> npt.NDArray[Any]:
        """Return float64 weights of shape ``(n_in, n_out)``."""
        fan = self.fan(n_in, n_out)
        if self.normal:
            return rng.normal(0.0, sqrt(self.gain / fan), (n_in, n_out))
        limit = sqrt(3.0 * self.gain / fan)
        return rng.uniform(-limit, limit, (n_in, n_out))


@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """Uniform, variance 1 / n_in."""


@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """Normal, variance 1 / n_in: the default for selu."""

    normal = True


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform, variance 2 / n_in: the default for the relu-like activations."""

    gain = 2.0


@dataclass(frozen=True)
class HeNormal(HeUniform):
    """Normal, variance 2 / n_in."""

    normal = True


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform, variance 2 / (n_in + n_out): the default for the other activations."""

    gain = 2.0

    def fan(self, n_in: int, n_out: int) -> float:
        """Return the inputs and outputs of a neuron."""
        return n_in + n_out


@dataclass(frozen=True)
class GlorotNormal(GlorotUniform):
    """Normal, variance 2 / (n_in + n_out)."""

    normal = True


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": GlorotUniform(),
    "glorot_normal": GlorotNormal(),
    "he_uniform": HeUniform(),
    "he_normal": HeNormal(),
    "lecun_uniform": LeCunUniform(),
    "lecun_normal": LeCunNormal(),
}


def as_initializer(value: object, name: str) -> Initializer | None:
    """Return the initializer of that name; None (the activation's default) stays None."""
    return None if value is None else choose(value, name, Initializer, INITIALIZERS)
