"""Memory for parameters, gradients and moments."""

from typing import Any

import numpy as np

from fastbp._validation import Array

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Return a vector of zeros that starts at a cache line."""
    spare = _ALIGNMENT // dtype.itemsize
    buffer = np.zeros(size + spare, dtype)
    start = -buffer.ctypes.data % _ALIGNMENT // dtype.itemsize
    return buffer[start : start + size]
