"""The square root of second moments against that of IEEE 754, which NumPy's is."""

import numpy as np
import pytest

from fastbp import _kernels

CHUNK = 1 << 24


def square_root(isa, x):
    out = np.empty_like(x)
    _kernels.square_root(isa, x, out)
    return out


def check(isa, x):
    np.testing.assert_array_equal(square_root(isa, x).view(np.uint32), np.sqrt(x).view(np.uint32))


@pytest.mark.long
def test_every_float32(isa):
    for first in range(0, 0x7F800000, CHUNK):
        last = min(first + CHUNK, 0x7F800000)
        check(isa, np.arange(first, last, dtype=np.uint32).view(np.float32))


def test_every_mantissa_and_every_exponent(isa):
    # subnormal, on both sides of 2^-96, even and odd
    for exponent in (0, 1, 30, 31, 126, 127, 128, 254):
        first = np.uint32(exponent << 23)
        check(isa, (first + np.arange(1 << 23, dtype=np.uint32)).view(np.float32))
    check(isa, np.arange(0, 0x7F800000, 4093, dtype=np.uint32).view(np.float32))


def test_float64(isa):
    rng = np.random.default_rng(0)
    x = np.concatenate([[0, 5e-324, 1e-308, 1.7e308], np.exp2(rng.uniform(-1074, 1023, 100_000))])
    np.testing.assert_array_equal(square_root(isa, x), np.sqrt(x))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_has_no_finite_root(isa, dtype):
    x = np.array([np.inf, np.nan, -1, -np.inf, -np.finfo(dtype).tiny], dtype)
    assert not np.isfinite(square_root(isa, x)).any()
