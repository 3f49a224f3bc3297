"""How close is close enough: one table for all numeric tests."""

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """Bounds for one dtype of the parameters."""

    gradient: float
    """float64: largest error over largest |g|; float32: norm of the error over norm of g."""
    ulp: int
    """Of activations and their slopes, from the correctly rounded value."""
    value: float
    """Of losses and outputs, over the largest magnitude."""
    trajectory: float
    """Of ten training steps against PyTorch, over the largest magnitude."""


TOLERANCES = {
    np.dtype(np.float32): Tolerance(gradient=1e-6, ulp=2, value=2e-6, trajectory=1e-4),
    np.dtype(np.float64): Tolerance(gradient=1e-12, ulp=4, value=1e-13, trajectory=1e-10),
}

COMPLEX_STEP = 1e-12
"""Between a derivative by complex step and the oracle's own, over the largest |g|."""


def largest_error(found, expected):
    """Largest absolute error over the largest magnitude expected; 0/0 is 0."""
    error = np.max(np.abs(found - expected))
    return error / np.max(np.abs(expected)) if error else 0.0


def norm_error(found, expected):
    """Norm of the error over the norm of what was expected; 0/0 is 0."""
    error = np.sqrt(np.sum((found - expected) ** 2))
    return error / np.sqrt(np.sum(expected**2)) if error else 0.0


def gradient_error(found, expected):
    """Error of a gradient by the rule for its dtype."""
    measure = norm_error if found.dtype == np.float32 else largest_error
    return float(measure(found.astype(np.longdouble), expected))
