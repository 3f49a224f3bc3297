"""Optimizers: how parameters follow the gradient.

Formulas and defaults are PyTorch's, with two exceptions: `SGD` has a default learning rate, 0.01,
and clipping shrinks to exactly ``clip_norm``, without the 1e-6 that PyTorch adds to the norm.

``weight_decay`` adds ``weight_decay * p`` to the gradient of every parameter (in `AdamW` it shrinks
the parameters themselves instead); ``clip_norm`` shrinks a minibatch's mean gradient to this
Euclidean norm where it is longer.
"""

from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Annotated, Any, ClassVar

import numpy as np

from fastbp import _engine
from fastbp._specs import Fraction, NonNegative, Positive, Spec
from fastbp._validation import Float64, as_bool, explain, positive, share
from fastbp.schedules import Constant, Schedule


def _as_learning_rate(value: object, name: str) -> float | Schedule:
    return value if isinstance(value, Schedule) else positive(value, name)


def _as_clip_norm(value: object, name: str) -> float | None:
    return None if value is None else positive(value, name)


LearningRate = Annotated[float | Schedule, _as_learning_rate]
ClipNorm = Annotated[float | None, _as_clip_norm]
Bool = Annotated[bool, as_bool]
Share = Annotated[float, share]


@dataclass(frozen=True)
class Optimizer(Spec):
    """What all optimizers have in common. Equal optimizers continue each other's state.

    Parameters
    ----------
    learning_rate : float or Schedule
    weight_decay : float
    clip_norm : float or None
    """

    kernel: ClassVar[str]
    decoupled: ClassVar[bool] = False

    learning_rate: LearningRate
    weight_decay: NonNegative = field(default=0.0, kw_only=True)
    clip_norm: ClipNorm = field(default=None, kw_only=True)

    @property
    def needs_m(self) -> bool:
        """Whether the state has a first moment (or momentum)."""
        return self.kernel == "adam" or self.engine_settings().get("beta1", 0.0) > 0

    @property
    def needs_v(self) -> bool:
        """Whether the state has a second moment."""
        return self.kernel != "sgd"

    def engine_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `_engine.Epoch` that belong to the optimizer."""
        return {
            "optimizer": _engine.OPTIMIZERS.index(self.kernel),
            "decoupled_decay" if self.decoupled else "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm or 0.0,
        }

    def rates(self, step: Float64, epoch: Float64) -> Float64:
        """Return the learning rate of each update; refuse what no schedule may give."""
        rate = self.learning_rate
        schedule = rate if isinstance(rate, Schedule) else Constant(rate)
        rates = np.asarray(schedule(step, epoch), np.float64)
        if rates.shape != step.shape or not (np.isfinite(rates) & (rates >= 0)).all():
            expected = f"finite rates >= 0 of shape {step.shape} from {schedule!r}"
            raise ValueError(explain("learning_rate", expected, short(rates)))
        return np.ascontiguousarray(rates)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (and Nesterov's way of it) if asked for."""

    kernel = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: Share = 0.0
    nesterov: Bool = False

    def __post_init__(self) -> None:
        """Check the fields, and that Nesterov's way has a momentum to look ahead with."""
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError(explain("momentum", "a number > 0 with nesterov=True", "0.0"))

    def engine_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `_engine.Epoch`."""
        own = {"beta1": self.momentum, "nesterov": self.nesterov}
        return super().engine_settings() | own


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: momentum, divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2, eps : float
    eps_hat : bool
        Whether ``eps`` is added to that root before its bias is corrected, not after: the
        epsilon-hat of Kingma and Ba (arXiv:1412.6980), as in Keras and scikit-learn.
    """

    kernel = "adam"
    learning_rate: LearningRate = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    eps_hat: Bool = field(default=False, kw_only=True)

    def engine_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `_engine.Epoch`."""
        own = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps, "eps_hat": self.eps_hat}
        return super().engine_settings() | own


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters and stays out of the moments."""

    decoupled = True
    weight_decay: NonNegative = field(default=0.01, kw_only=True)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradients divided by the root of a running mean of their squares."""

    kernel = "rmsprop"
    learning_rate: LearningRate = 0.01
    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: Fraction = 0.0

    def engine_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `_engine.Epoch`."""
        own = {"beta1": self.momentum, "beta2": self.alpha, "eps": self.eps}
        return super().engine_settings() | own


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far."""

    kernel = "adagrad"
    learning_rate: LearningRate = 0.01
    eps: Positive = 1e-10

    def engine_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `_engine.Epoch`."""
        return super().engine_settings() | {"eps": self.eps}
