"""The products and updates alone, on shapes that meet every tail of a tile, a panel and a block."""

import math

import numpy as np
import pytest

from fastbp import _kernels, _reference
from fastbp._engine import ACTIVATIONS, OPTIMIZERS, isas
from fastbp._reference import Update

GUARD = 64  # elements before and after every array
SENTINEL = 77
VECTOR_BYTES = {"generic": 16, "avx2": 32, "avx512": 64}
NOISE = np.random.default_rng(0).normal(size=150_000)

# (m, k, n): c (m x n) is a sum over k
EDGES = (3, 7, 9, 14, 16, 24, 31, 40, 49, 64)  # 1 to 4 vectors of 4, 8 and 16, whole and partial
TILES = [(m, 3, n) for m in range(1, 21) for n in EDGES]
WIDTHS = [(1 + n % 13, (1, 2, 17, 40)[n % 4], n) for n in (*range(1, 71), *range(126, 132))]
# more than 256 or 512 rows of b are a second block; more than 96 samples are summed in pieces
BLOCKS = [
    (m, k, n)
    for m in (1, 5, 25)
    for k in (96, 97, 256, 257, 512, 513, 1030)
    for n in (1, 17, 64, 70)
]
PANELS = [(m, k, n) for m in (23, 24, 33) for k in (2, 192, 200) for n in (128, 131, 256, 263)]
SHAPES = TILES + WIDTHS + BLOCKS + PANELS


class Guarded:
    """An array between guards; all of it is SENTINEL until the array is written."""

    def __init__(self, shape, dtype):
        self.memory = np.full(math.prod(np.atleast_1d(shape)) + 2 * GUARD, SENTINEL, dtype)
        self.array = self.memory[GUARD:-GUARD].reshape(shape)

    def checked(self):
        """Return the array, whose guards must be as they were."""
        assert np.all(self.memory[:GUARD] == SENTINEL), "written before the array"
        assert np.all(self.memory[-GUARD:] == SENTINEL), "written beyond the array"
        return self.array


def numbers(shape, dtype, seed):
    """Return random numbers between NaNs, which may not get into any sum."""
    guarded = Guarded(shape, dtype)
    guarded.memory[:] = np.nan
    guarded.array[:] = NOISE[seed * 1000 :][: guarded.array.size].reshape(shape)
    return guarded.array


def result(kernel, shape, dtype, *, start=None):
    """Return what the kernel writes into a guarded array, which holds `start` if it is given."""
    out = Guarded(shape, dtype)
    if start is not None:
        out.array[:] = start
    kernel(out.array)
    return out.checked()


def check_sum(found, a, b, start=0.0):
    """Compare with start + a b in float64.

    An element is a sum of k products in order: its error is at most k + 1 roundings of the sum of
    magnitudes, and NumPy's the same.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    eps = np.finfo(found.dtype).eps
    bound = 2 * (len(b) + 1) * eps * (np.abs(a) @ np.abs(b) + np.abs(start))
    assert np.all(np.abs(found - (a @ b + start)) <= bound), (*a.shape, b.shape[1])


def panel_slices(isa, dtype, n):
    """Return for each panel of a matrix of n columns: its columns, and its leading dimension."""
    columns = _kernels.panel_columns(isa, dtype.name)
    vector = VECTOR_BYTES[isa] // dtype.itemsize
    return [
        (slice(j, min(j + columns, n)), min(columns, -(-(n - j) // vector) * vector))
        for j in range(0, n, columns)
    ]


def in_panels(kernel, isa, shape, dtype):
    """Return what the kernel writes of a matrix into its panels, called for two ranges of rows."""
    depth, n = shape
    size = depth * sum(ld for _, ld in panel_slices(isa, dtype, n))
    return result(kernel, size, dtype, start=np.nan)


def packed(isa, matrix):
    def kernel(panels):
        cut = len(matrix) // 3
        for begin, end in ((0, cut), (cut, len(matrix))):
            if begin < end:
                _kernels.pack(isa, matrix, begin, end, panels)

    return in_panels(kernel, isa, matrix.shape, matrix.dtype)


def transposed(isa, w):
    """Return the panels of w^T."""

    def kernel(panels):
        cut = len(w) * 2 // 3
        for begin, end in ((0, cut), (cut, len(w))):
            if begin < end:
                _kernels.transpose(isa, w, begin, end, panels)

    return in_panels(kernel, isa, w.T.shape, w.dtype)


def unpacked(isa, panels, shape):
    """Return the matrix that is in the panels."""
    matrix = np.empty(shape, panels.dtype)
    at = 0
    for columns, ld in panel_slices(isa, panels.dtype, shape[1]):
        panel = panels[at : at + shape[0] * ld].reshape(shape[0], ld)
        matrix[:, columns] = panel[:, : columns.stop - columns.start]
        at += panel.size
    assert at == panels.size
    return matrix


def forward(isa, x, w, b, activation="identity", w_panels=None):
    """Return a, and the slope where the activation keeps it."""
    shape, slope = (len(x), w.shape[1]), Guarded((len(x), w.shape[1]), x.dtype)
    code = ACTIVATIONS.index(activation)
    a = result(
        lambda a: _kernels.dense_forward(isa, x, w, b, code, 1.0, a, slope.array, w_panels),
        shape,
        x.dtype,
    )
    return a, slope.checked()


def backward_dz(isa, dz, wt, activation, a, slope, wt_panels=None):
    code = ACTIVATIONS.index(activation)
    return result(
        lambda out: _kernels.dense_backward_dz(isa, dz, wt, code, 1.0, a, slope, out, wt_panels),
        a.shape,
        dz.dtype,
    )


def backward_dw(isa, x, dz, start=None, dz_panels=None):
    return result(
        lambda dw: _kernels.dense_backward_dw(isa, x, dz, dw, start is not None, dz_panels),
        (x.shape[1], dz.shape[1]),
        x.dtype,
        start=start,
    )


def backward_db(isa, dz, start=None):
    return result(
        lambda db: _kernels.dense_backward_db(isa, dz, db, start is not None),
        dz.shape[1],
        dz.dtype,
        start=start,
    )


def test_forward(isa, dtype):
    for m, k, n in SHAPES:
        x, w, b = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), n]))
        z, slope = forward(isa, x, w, b)
        check_sum(z, x, w, b.astype(np.float64))
        assert np.all(slope == SENTINEL), "identity keeps no slope"


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_activation_and_derivative_of_a_product(activation, isa, dtype):
    code = ACTIVATIONS.index(activation)
    for m, k, n in WIDTHS + PANELS:
        x, w, b = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), n]))
        z, _ = forward(isa, x, w, b)
        a, slope = forward(isa, x, w, b, activation)
        expected, expected_slope = np.empty(m * n, dtype), np.empty(m * n, dtype)
        _kernels.activate(isa, code, 1.0, z.ravel(), expected, expected_slope)
        np.testing.assert_array_equal(a.ravel(), expected)
        if activation == "gelu":  # the one of them that keeps its slope
            np.testing.assert_array_equal(slope.ravel(), expected_slope)
        product = backward_dz(isa, x, w, "identity", a, slope)
        found = backward_dz(isa, x, w, activation, a, slope)
        np.testing.assert_array_equal(found, product * expected_slope.reshape(m, n))


def test_backward_dz(isa, dtype):
    for m, k, n in SHAPES:
        dz, wt, unused = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), (m, n)]))
        check_sum(backward_dz(isa, dz, wt, "identity", unused, unused), dz, wt)


def test_backward_dw_and_db(isa, dtype):
    for m, k, n in SHAPES:
        x, dz, start = (numbers(s, dtype, i) for i, s in enumerate([(k, m), (k, n), (m, n)]))
        check_sum(backward_dw(isa, x, dz), x.T, dz)
        check_sum(backward_dw(isa, x, dz, start), x.T, dz, start.astype(np.float64))
        ones = np.ones((1, k))
        check_sum(backward_db(isa, dz)[None], ones, dz)
        check_sum(backward_db(isa, dz, start[0])[None], ones, dz, start[:1].astype(np.float64))


def test_samples_are_summed_in_pieces(isa, dtype):
    """dw = start + piece + piece ...: equal pieces of at most SUM_ROWS samples, each from zero."""
    for m, k, n in SHAPES:
        x, dz, start = (numbers(s, dtype, i) for i, s in enumerate([(k, m), (k, n), (m, n)]))
        size = -(-k // -(-k // _kernels.SUM_ROWS))
        pieces = [slice(r, r + size) for r in range(0, k, size)]
        assert len(pieces) == 1 or size > _kernels.SUM_ROWS // 2
        expected = start
        for piece in pieces:
            expected = expected + backward_dw(isa, x[piece], dz[piece])
        assert backward_dw(isa, x, dz, start).tobytes() == expected.tobytes(), (m, k, n)
        found = backward_db(isa, dz, start[0])
        assert found.tobytes() == (start[0] + backward_db(isa, dz)).tobytes()


def test_panels(isa, dtype):
    for m, _, n in SHAPES:
        w = numbers((m, n), dtype, 0)
        np.testing.assert_array_equal(unpacked(isa, packed(isa, w), (m, n)), w)
        np.testing.assert_array_equal(unpacked(isa, transposed(isa, w), (n, m)), w.T)


def test_few_samples_give_the_same_bits(isa, dtype):
    """sigma'(z) * (dz w^T) from w and dz^T is that from w^T and dz."""
    code = ACTIVATIONS.index("gelu")
    several = [shape for shape in SHAPES if shape[0] > 1]
    for m, k, n in [*several, *((m, 5, 100) for m in range(40, 140, 3))]:
        dz, w, a, slope = (
            numbers(s, dtype, i) for i, s in enumerate([(m, k), (n, k), (m, n), (m, n)])
        )
        expected = backward_dz(isa, dz, np.ascontiguousarray(w.T), "gelu", a, slope)
        dzt = np.ascontiguousarray(dz.T)
        for panels in (None, packed(isa, dzt)):
            found = result(
                lambda out, panels=panels, args=(w, dzt, code, 1.0, a, slope): (
                    _kernels.dense_backward_dz_few(isa, *args, out, panels)
                ),
                (m, n),
                dtype,
            )
            assert found.tobytes() == expected.tobytes(), (m, k, n)


@pytest.mark.parametrize("n_out", [1, 7, 15, 16, 17, 33, 64, 100, 1000])
@pytest.mark.parametrize("n_in", [1, 3, 4, 9, 100])
def test_one_sample(isa, dtype, n_in, n_out):
    """w dz by dots: as close as sums of lanes are, and the same bits with every table with FMA."""
    w, dz, below = (numbers(s, dtype, i) for i, s in enumerate([(n_in, n_out), n_out, (1, n_in)]))

    def found(table):
        out = np.full((1, n_in), np.nan, dtype)
        args = (w, dz.reshape(-1, 1), ACTIVATIONS.index("tanh"), 1.0, below, below)
        _kernels.dense_backward_dz_few(table, *args, out)
        return out

    w64, dz64, slope = w.astype("f8"), dz.astype("f8"), 1 - below[0].astype("f8") ** 2
    size = np.abs(w64) @ np.abs(dz64) * np.abs(slope) + np.abs(w64 @ dz64)
    bound = np.finfo(dtype).eps * (n_out // 16 + 8) * size
    assert np.all(np.abs(found(isa)[0] - slope * (w64 @ dz64)) <= bound)
    if isa != "generic":
        assert found(isa).tobytes() == found(isas()[0]).tobytes()


def test_slabs_are_added_in_order(isa, dtype):
    for n in (1, 7, 16, 33, 64, 100):
        for count in (1, 2, 3, 16):
            slabs = numbers((count, 101), dtype, count)
            found = result(
                lambda out, slabs=slabs, n=n: _kernels.add_slabs(isa, slabs, n, out), n, dtype
            )
            expected = slabs[0, :n].copy()
            for slab in slabs[1:]:
                expected += slab[:n]
            np.testing.assert_array_equal(found, expected)


def test_panels_give_the_same_bits(isa, dtype):
    for m, k, n in SHAPES:
        x, w, b, dz = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), n, (m, n)]))
        wt = np.ascontiguousarray(w.T)
        pairs = [
            (forward(isa, x, w, b)[0], forward(isa, x, w, b, w_panels=packed(isa, w))[0]),
            (
                backward_dz(isa, dz, wt, "identity", x, x),
                backward_dz(isa, dz, wt, "identity", x, x, transposed(isa, w)),
            ),
            (backward_dw(isa, x, dz), backward_dw(isa, x, dz, dz_panels=packed(isa, dz))),
        ]
        for row_major, panels in pairs[n == 1 :]:  # one output of a w as a vector goes by dots
            assert panels.tobytes() == row_major.tobytes(), (m, k, n)


UPDATES = {
    "sgd": Update("sgd", weight_decay=0.03),
    "momentum": Update("sgd", beta1=0.9, weight_decay=0.03),
    "nesterov": Update("sgd", beta1=0.9, nesterov=True),
    "adam": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3, weight_decay=0.03),
    "adamw": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3, decoupled_decay=0.1),
    "rmsprop": Update("rmsprop", beta2=0.9, eps=1e-3),
    "rmsprop, momentum": Update("rmsprop", beta1=0.5, beta2=0.9, eps=1e-3, weight_decay=0.03),
    "adagrad": Update("adagrad", eps=1e-3, weight_decay=0.03),
}
LENGTHS = (*range(1, 71), 127, 128, 129)
RATE, SCALE, STEP = 0.05, 0.25, 3
every_update = pytest.mark.parametrize("u", UPDATES.values(), ids=UPDATES)


def state_and_gradient(n, dtype):
    """Return guarded p, m, v, and g."""
    state = [Guarded(n, dtype) for _ in range(3)]
    for seed, guarded in enumerate(state):
        guarded.array[:] = numbers(n, dtype, seed)
    state[2].array[:] = np.abs(state[2].array) + dtype.type(0.1)
    return state, numbers(n, dtype, 3)


def update(isa, u, state, g, x=None):
    """Update the state by g, or by the gradient x g^T; return what the kernel says."""
    settings = {
        name: getattr(u, name)
        for name in ("nesterov", "weight_decay", "decoupled_decay", "beta1", "beta2", "eps")
    }
    if u.optimizer == "adam":
        settings["correction1"] = 1 - u.beta1**STEP
        settings["correction2"] = np.sqrt(1 - u.beta2**STEP)
    kind = OPTIMIZERS.index(u.optimizer)
    arrays = (guarded.array for guarded in state)
    p, m, v = arrays
    return _kernels.update(isa, p, g, m, v, x=x, kind=kind, rate=RATE, scale=SCALE, **settings)


@every_update
def test_update_by_the_gradient_of_one_sample(u, isa, dtype):
    for n_in, n_out in ((1, 1), (3, 7), (5, 16), (7, 33), (2, 64), (4, 70)):
        x, dz = numbers(n_in, dtype, 5), numbers(n_out, dtype, 6)
        state, _ = state_and_gradient(n_in * n_out, dtype)
        twin, _ = state_and_gradient(n_in * n_out, dtype)
        assert update(isa, u, twin, np.outer(x, dz).ravel())
        assert update(isa, u, state, dz, x)
        for guarded, other in zip(state, twin, strict=True):
            assert guarded.checked().tobytes() == other.array.tobytes()
        dz[n_out // 2] = np.nan
        assert not update(isa, u, state, dz, x)


@every_update
def test_update(u, isa, dtype):
    bound = 8 * np.finfo(dtype).eps  # a few roundings of numbers of about one
    for n in LENGTHS:
        state, g = state_and_gradient(n, dtype)
        before = [guarded.array.astype(np.float64) for guarded in state]
        expected = _reference.step(u, before, SCALE * g.astype(np.float64), RATE, STEP)
        # SGD and RMSprop without momentum have no m: it is left alone
        has_m = u.optimizer == "adam" or u.beta1
        wanted = (expected[0], expected[1] if has_m else before[1], expected[2])
        assert update(isa, u, state, g)
        for guarded, values in zip(state, wanted, strict=True):
            np.testing.assert_allclose(guarded.checked(), values, rtol=bound, atol=bound)


@every_update
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, "overflow"])
def test_an_update_that_is_not_finite_leaves_its_parameter_and_moments(u, bad, isa, dtype):
    if bad == "overflow":
        bad = np.finfo(dtype).max if u.optimizer != "sgd" else np.inf  # its square is infinite
    for n in LENGTHS:
        state, g = state_and_gradient(n, dtype)
        twin, _ = state_and_gradient(n, dtype)
        before = [guarded.array.copy() for guarded in state]
        update(isa, u, twin, g)
        at = n * 2 // 3
        g[at] = bad
        assert not update(isa, u, state, g)
        for guarded, other, old in zip(state, twin, before, strict=True):
            expected = other.array.copy()
            expected[at] = old[at]
            assert guarded.checked().tobytes() == expected.tobytes()


def results(isa, dtype):
    """Bits of every kernel on every shape."""
    bits = []
    for m, k, n in SHAPES:
        x, w, b = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), n]))
        a, slope = forward(isa, x, w, b, "gelu")
        dz = backward_dz(isa, x, w, "gelu", a, slope)
        bits += [a, slope, dz, backward_dw(isa, x, a), backward_db(isa, dz)]
    for u in UPDATES.values():
        state, g = state_and_gradient(LENGTHS[-1], dtype)
        update(isa, u, state, g)
        bits += [guarded.array for guarded in state]
    return [values.tobytes() for values in bits]


def test_vector_tables_give_the_same_bits(dtype):
    tables = [isa for isa in isas() if isa != "generic"]
    if len(tables) < 2:
        pytest.skip("needs two kernel tables with FMA")
    first, *others = (results(isa, dtype) for isa in tables)
    for other in others:
        assert other == first
