"""Learning-rate schedules: rates as functions of the update's number and the epochs elapsed."""

from dataclasses import dataclass
from reprlib import repr as short
from typing import Annotated

import numpy as np

from fastbp._specs import Fraction, NonNegative, OpenFraction, Positive, Spec
from fastbp._validation import Float64, explain


@dataclass(frozen=True)
class Schedule(Spec):
    """Base of all schedules, and of users' own, which override ``__call__``."""

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return the learning rate of each update.

        Parameters
        ----------
        step : ndarray of float64
            Number of the update, from 0, since the optimizer's state began.
        epoch : ndarray of float64
            Epochs elapsed before it, with their fraction.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same rate."""

    rate: Positive

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return ``rate``."""
        return np.full(step.shape, self.rate)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplied by ``factor`` after every ``every`` epochs."""

    initial: Positive
    factor: Positive
    every: Positive

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return ``initial * factor ** floor(epoch / every)``."""
        return self.initial * self.factor ** np.floor(epoch / self.every)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiplied by ``factor`` in each epoch, bit by bit."""

    initial: Positive
    factor: Positive

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return ``initial * factor ** epoch``."""
        return self.initial * self.factor**epoch


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from ``initial`` down to ``final`` in ``epochs`` epochs, then constant."""

    initial: Positive
    epochs: Positive
    final: NonNegative = 0.0

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return the cosine between the two rates."""
        return _cosine(self.initial, self.final, epoch / self.epochs)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine up to ``peak``, another down to almost nothing, in ``epochs`` epochs in all.

    Parameters
    ----------
    peak : float
        Highest rate.
    epochs : float
        Length of the cycle; the last rate holds afterwards.
    rise : float
        Share of the cycle in which the rate rises.
    div_factor, final_div_factor : float
        The first rate is ``peak / div_factor``, the last the first divided by ``final_div_factor``.
    """

    peak: Positive
    epochs: Positive
    rise: OpenFraction = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return the rate on the way up or down."""
        first = self.peak / self.div_factor
        top = self.rise * self.epochs
        up = _cosine(first, self.peak, epoch / top)
        last = first / self.final_div_factor
        down = _cosine(self.peak, last, (epoch - top) / (self.epochs - top))
        return np.where(epoch < top, up, down)


def _as_schedule(value: object, name: str) -> Schedule:
    if isinstance(value, Schedule):
        return value
    raise TypeError(explain(name, "a schedule", short(value)))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Another schedule, its rates multiplied by what rises linearly from ``start_factor`` to 1."""

    schedule: Annotated[Schedule, _as_schedule]
    epochs: Positive
    start_factor: Fraction = 1 / 3

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return the other schedule's rate times the factor."""
        risen = np.minimum(epoch / self.epochs, 1.0)
        factor = self.start_factor + (1.0 - self.start_factor) * risen
        return self.schedule(step, epoch) * factor


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Falls with a power of the number of updates."""

    initial: Positive
    power: Positive = 0.5

    def __call__(self, step: Float64, epoch: Float64) -> Float64:
        """Return ``initial / (step + 1) ** power``."""
        return self.initial / (step + 1.0) ** self.power


def _cosine(first: float, last: float, share: Float64) -> Float64:
    """Half a cosine from ``first`` at share 0 to ``last`` at share 1, constant outside."""
    return last + (first - last) * 0.5 * (1.0 + np.cos(np.pi * np.clip(share, 0.0, 1.0)))
