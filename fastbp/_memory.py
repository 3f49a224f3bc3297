"""Memory for parameters, gradients and moments."""

from typing import Any

import numpy as np

from fastbp._validation import Array

_PAGE = 4096  # bytes; a multiple of a cache line and of the widest vector


def aligned_zeros(size: int, dtype: np.dtype[Any], quarter: int = 0) -> Array:
    """Return a vector of zeros that starts at a quarter of a page.

    Vectors that are read and written side by side want quarters of their own: many CPUs take a load
    for one of what was just stored when the two addresses differ by whole pages only, and wait.
    """
    buffer = np.zeros(size + _PAGE // dtype.itemsize, dtype)
    start = (quarter * _PAGE // 4 - buffer.ctypes.data) % _PAGE // dtype.itemsize
    return buffer[start : start + size]
