"""The core gets views where it can read the caller's array, else conversions."""

import numpy as np
import pytest

from fastbp import _engine
from fastbp._validation import as_numeric, as_targets, as_weights

BASE = np.arange(24).reshape(4, 6)
VIEWS = {
    "C": lambda x: x,
    "transposed": lambda x: x.T,
    "reversed": lambda x: x[::-1, ::-1],
    "strided": lambda x: x[::2, ::3],
    "broadcast": lambda x: np.broadcast_to(x[0], (5, 6)),
}


@pytest.mark.parametrize("dtype", [*_engine.X_DTYPES, "bool"])
@pytest.mark.parametrize("view", VIEWS)
def test_what_the_core_reads_is_not_copied(view, dtype):
    x = VIEWS[view](BASE.astype(dtype))
    array = as_numeric(x, "X")
    assert array.ctypes.data == x.ctypes.data
    assert (array.shape, array.strides) == (x.shape, x.strides)
    assert array.dtype == ("uint8" if dtype == "bool" else dtype)


def misaligned(dtype):
    raw = np.zeros(BASE.size * np.dtype(dtype).itemsize + 1, np.uint8)
    return raw[1:].view(dtype).reshape(BASE.shape)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (misaligned("f4"), "float32"),
        (misaligned("i8"), "int64"),
        (BASE.astype(">f4"), "float32"),
        (BASE.astype(">u2"), "uint16"),
        (BASE.astype("f2"), "float32"),
        (BASE.astype("g"), "float64"),
        (BASE.astype(object), "float64"),
        (BASE.tolist(), "int64"),
    ],
    ids=["misaligned f4", "misaligned i8", ">f4", ">u2", "f2", "g", "object", "list"],
)
def test_what_it_cannot_read_is_converted(x, dtype):
    array = as_numeric(x, "X")
    assert array.dtype == dtype
    assert array.dtype.isnative
    assert array.flags.aligned
    np.testing.assert_array_equal(array, np.asarray(x).astype(dtype))


def test_targets_and_weights_are_contiguous_and_not_copied_if_they_were():
    y = np.ones((4, 2), np.float32)
    assert as_targets(y, "y", (4, 2), y.dtype, 0, 1) is y
    turned = as_targets(np.asfortranarray(y), "y", (4, 2), y.dtype, 0, 1)
    assert turned.flags.c_contiguous
    weight = np.ones(4)
    assert as_weights(weight, "w", 4, np.dtype("f8")) is weight
    assert as_weights(np.ones(8)[::2], "w", 4, np.dtype("f4")).flags.c_contiguous
