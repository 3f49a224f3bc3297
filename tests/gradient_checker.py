"""Compare a gradient with two twins in NumPy: the oracle in longdouble, and the complex step.

The first is the same maths with more digits; the second needs no backward pass at all, and so
judges the first, too. Both hold where functions have kinks, as long as no value lies on one.
"""

from typing import NamedTuple

import numpy as np
from tolerances import COMPLEX_STEP, TOLERANCES, gradient_error

from fastbp import _reference

H = 1e-30
FULL = 120
"""Networks with at most that many parameters are checked in every one of them."""
N_DIRECTIONS = 3
"""Larger ones along so many vectors of +-1."""


class Expected(NamedTuple):
    """What a gradient should be, and its products with some directions, one per row."""

    gradient: np.ndarray
    directions: np.ndarray
    derivatives: np.ndarray


def complex_step(case, directions):
    """Return the derivatives of the summed loss along directions."""
    net, p, *samples = case
    return _reference.losses(net, p + 1j * H * directions, *samples).sum(axis=-1).imag / H


def expect(case):
    """Work out both twins for a `nets.Case`."""
    n = len(case.parameters)
    signs = np.random.default_rng(n).choice((-1.0, 1.0), (N_DIRECTIONS, n))
    directions = np.eye(n) if n <= FULL else signs
    gradient = _reference.gradient(case.net, case.parameters.astype(np.longdouble), *case[2:])
    return Expected(gradient, directions, complex_step(case, directions))


def check_gradient(found, expected):
    """Fail unless ``found`` is within its dtype's tolerance (a longdouble: within float64's)."""
    tolerance = TOLERANCES.get(found.dtype, TOLERANCES[np.dtype(np.float64)]).gradient
    error = gradient_error(found, expected.gradient)
    assert error <= tolerance, f"off the oracle by {error:.2e} > {tolerance}"
    if found.dtype != np.float32:
        products = expected.directions @ found.astype(np.longdouble)
        error = np.max(np.abs(products - expected.derivatives))
        bound = COMPLEX_STEP * np.max(np.abs(expected.gradient))
        assert error <= bound, f"off the complex step by {error:.2e} > {bound:.2e}"
