"""X in every layout and dtype gives the bits of its contiguous copy, and is never written to."""

import numpy as np
import pytest
from layouts import memory_map, misaligned, readonly

import fastbp

N, D = 37, 6
BASE = np.random.default_rng(0).integers(-100, 100, (N, D)).astype(np.float32)


class Subclass(np.ndarray):
    """An ndarray of another class."""


LAYOUTS = {
    "C": lambda _: BASE.copy(),
    "Fortran": lambda _: np.asfortranarray(BASE),
    "read-only": lambda _: readonly(BASE.copy()),
    "Fortran read-only": lambda _: readonly(np.asfortranarray(BASE)),
    "memory map": lambda folder: memory_map(BASE, folder, "r"),
    "memory map, copy on write": lambda folder: memory_map(BASE, folder, "c"),
    "reversed rows": lambda _: BASE[::-1].copy()[::-1],
    "reversed columns": lambda _: BASE[:, ::-1].copy()[:, ::-1],
    "every second row": lambda _: np.repeat(BASE, 2, axis=0)[::2],
    "every third column": lambda _: np.repeat(BASE, 3, axis=1)[:, ::3],
    "transposed": lambda _: BASE.T.copy().T,
    "byte-swapped": lambda _: BASE.astype(">f4"),
    "misaligned": lambda _: misaligned(BASE),
    "misaligned float64": lambda _: misaligned(BASE.astype(np.float64)),
    "subclass": lambda _: BASE.copy().view(Subclass),
    "masked array without a mask set": lambda _: np.ma.array(BASE, mask=False),
    "object": lambda _: BASE.astype(object),
    "nested list": lambda _: BASE.tolist(),
    "tuple of rows": lambda _: tuple(BASE),
} | {
    name: lambda _, name=name: BASE.astype(name)
    for name in ("f2", "f8", "g", "i1", "i2", "i4", "i8")
}


@pytest.fixture(scope="module")
def expected():
    return outcome(BASE.copy())


def outcome(X):
    """What training and all passes give from X."""
    y = np.arange(N) % 3
    model = fastbp.Model([D, 8, 3], loss="softmax_cross_entropy", seed=0)
    model.fit(X, y, epochs=2, batch_size=5)
    return (
        model.parameters,
        model.gradient(X, y),
        model.predict(X),
        model.loss(X, y, reduction="none"),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_bits_from_any_layout(layout, tmp_path, expected):
    X = LAYOUTS[layout](tmp_path)
    before = np.array(X, copy=True)
    for actual, wanted in zip(outcome(X), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "?"])
def test_unsigned_and_bool(dtype):
    X = (abs(BASE) % 2 if dtype == "?" else abs(BASE)).astype(dtype)
    for actual, wanted in zip(outcome(X), outcome(X.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_rows_of_stride_zero():
    X = np.broadcast_to(BASE[0], BASE.shape)
    for actual, wanted in zip(outcome(X), outcome(X.copy()), strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_in_the_model_s_own_memory(dtype):
    def fitted(own):
        model = fastbp.Model([4, 6, 2], loss="squared_error", dtype=dtype, seed=0)
        X, y = model.weights[0].T, model.weights[1]
        weight = abs(model.parameters[:6])
        if dtype == "float64":
            model.parameters[:6] = weight
            weight = model.parameters[:6]
        data = (X, y, weight) if own else (X.copy(), y.copy(), weight.copy())
        model.fit(data[0], data[1], epochs=3, batch_size=2, sample_weight=data[2])
        return model.parameters

    np.testing.assert_array_equal(fitted(own=True), fitted(own=False))
