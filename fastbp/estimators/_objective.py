"""What scikit-learn reports as the loss, from what fastbp computes."""

from dataclasses import dataclass, field

import numpy as np

from fastbp import _engine
from fastbp._training import Batches, Samples
from fastbp._validation import Float64
from fastbp.losses import Loss


@dataclass(frozen=True)
class PenalizedLoss:
    """Mean over minibatches, weighted by their rows, of loss and penalty over the total weight.

    scikit-learn takes the mean over the outputs of squared errors (but the gradient of their sum),
    and half the deviance of Poisson, which is zero where prediction and target are equal.
    """

    loss: Loss
    samples: Samples
    alpha: float
    constants: Float64 | None = field(init=False)
    """What is to be added to the weighted loss of each sample."""

    def __post_init__(self) -> None:
        """Find the constants once."""
        object.__setattr__(self, "constants", self._constants())

    @property
    def factor(self) -> float:
        """What the loss is multiplied by."""
        return 1.0 / self.samples.y.shape[1] if self.loss.name == "squared_error" else 1.0

    def _constants(self) -> Float64 | None:
        if self.loss.name != "poisson":
            return None
        y = self.samples.y.astype(np.float64)
        constant: Float64 = (y * np.log(np.where(y > 0, y, 1.0)) - y).sum(axis=1)
        return constant if self.samples.weight is None else constant * self.samples.weight

    def of_all(self, loss: float, squares: float) -> float:
        """Return it for all samples at once, given the summed loss."""
        if self.constants is not None:
            loss += _engine.sum_float64(self.constants)
        return (self.factor * loss + 0.5 * self.alpha * squares) / self.samples.total_weight()

    def __call__(self, losses: Float64, squares: Float64, batches: Batches) -> float:
        """Return it for an epoch."""
        if self.constants is not None:
            constants = self.constants
            if batches.order is not None:
                constants = constants[batches.order]
            losses = losses + np.add.reduceat(constants, batches.starts)
        with np.errstate(invalid="ignore", over="ignore"):  # the caller judges the sum
            each = (self.factor * losses + 0.5 * self.alpha * squares) * batches.scales
        return _engine.sum_float64(batches.rows * each) / len(self.samples)
