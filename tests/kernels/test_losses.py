"""Losses, their derivatives and predictions on every kernel table."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import COMPLEX_STEP, largest_error

from fastbp import _kernels, _reference
from fastbp._engine import LOSSES, isas

FLT_MAX = float(np.finfo(np.float32).max)
LARGEST_EXPONENT = 705.0  # the sum of a few e^z of more would be no float64
EXTREMES = (0.0, 1e-45, 1.0, 20.0, 88.0, 89.0, 104.0, 700.0, 1e10, FLT_MAX / 2, FLT_MAX)
LOGITS = np.array([sign * z for z in EXTREMES for sign in (1, -1)])
VALUE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}
"""Relative to the loss, or absolute where that is less than one."""
SHAPES = [(1, 1), (3, 1), (5, 7), (33, 10), (2, 67), (3, 256), (2, 600), (600, 3)]

every_loss = pytest.mark.parametrize("name", LOSSES)


def run(isa, name, a, y, *, parameter=0.5, weight=None):
    """Return the rows' losses, dl/da, and whether the kernel says all is finite."""
    row_loss, dz = np.full(len(a), np.nan), np.full_like(a, np.nan)
    # of a cross-entropy it is the most that the loss may be, 0: no limit
    parameters = np.full(a.shape[1], 0.0 if name.endswith("cross_entropy") else parameter)
    finite = _kernels.loss(isa, LOSSES.index(name), parameters, a, y, weight, row_loss, dz)
    return row_loss, dz, finite


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_the_most_that_a_cross_entropy_may_be(name, labels, shape, isa, dtype):
    rng, most = np.random.default_rng(0), 0.7
    a = rng.normal(size=shape, scale=4).astype(dtype)
    y = targets(name, rng, shape, dtype, labels=labels)
    plain, plain_dz, _ = run(isa, name, a, y)
    found, dz = np.full(len(a), np.nan), np.full_like(a, np.nan)
    limits = np.full(shape[1], most)
    assert _kernels.loss(isa, LOSSES.index(name), limits, a, y, None, found, dz)
    if name == "softmax_cross_entropy":
        expected = np.minimum(plain, most)
    else:  # each output by itself
        each = [
            run(isa, name, a[:, j : j + 1].copy(), y[:, j : j + 1].copy())[0]
            for j in range(shape[1])
        ]
        expected = np.minimum(each, most).sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == np.float32 else 1e-14)
    assert (found < plain).any() or shape[0] < 5
    assert dz.tobytes() == plain_dz.tobytes()


def targets(name, rng, shape, dtype, *, labels=False):
    """Targets of the kind that the loss takes."""
    if name == "softmax_cross_entropy":
        if labels:
            return rng.integers(shape[1], size=shape[0]).astype(np.int32)
        return rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    if name == "binary_cross_entropy":
        return rng.choice([0, 0.25, 1], shape).astype(dtype)
    y = rng.poisson(2, shape) if name == "poisson" else rng.normal(size=shape, scale=3)
    return y.astype(dtype)


# Independent of the oracle, to 60 digits


def mp_softmax_cross_entropy(a, y):
    lse = mpmath.log(sum(mpmath.exp(z - max(a)) for z in a)) + max(a)
    return sum(t * (lse - z) for z, t in zip(a, y, strict=True))


def mp_softplus(z):
    return max(z, 0) + mpmath.log1p(mpmath.exp(-abs(z)))


MP_LOSSES = {
    "squared_error": lambda z, t, _: (z - t) ** 2 / 2,
    "absolute_error": lambda z, t, _: abs(z - t),
    "huber": lambda z, t, c: (
        (z - t) ** 2 / 2 if abs(z - t) <= c else c * abs(z - t) - c**2 / mpmath.mpf(2)
    ),
    "pinball": lambda z, t, c: max(c * (t - z), (c - 1) * (t - z)),
    "poisson": lambda z, t, _: mpmath.exp(z) - t * z,
    "binary_cross_entropy": lambda z, t, _: mp_softplus(z) - t * z,
}


def mp_loss(name, a, y, parameter):
    """Loss of each row, as float64."""
    with mpmath.workdps(60):
        if name == "softmax_cross_entropy":
            y = np.eye(a.shape[1])[y] if y.ndim == 1 else y
            rows = [mp_softmax_cross_entropy(*map(numbers, row)) for row in zip(a, y, strict=True)]
        else:
            c, f = mpmath.mpf(parameter), MP_LOSSES[name]
            rows = [
                sum(f(z, t, c) for z, t in zip(*map(numbers, row), strict=True))
                for row in zip(a, y, strict=True)
            ]
        return np.array([float(row) for row in rows])


def numbers(values):
    return [mpmath.mpf(float(value)) for value in values]


@every_loss
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(name, labels, shape, isa, dtype):
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape, scale=4).astype(dtype)
    y = targets(name, rng, shape, dtype, labels=labels)
    weight = rng.uniform(0.5, 2, len(a))
    expected = mp_loss(name, a[:8], y[:8], 0.3)
    found, _, finite = run(isa, name, a, y, parameter=0.3)
    bound = VALUE[dtype] * np.maximum(1, np.abs(expected))
    assert finite
    assert np.all(np.abs(found[:8] - expected) <= bound)
    weighted, dz, _ = run(isa, name, a, y, parameter=0.3, weight=weight)
    np.testing.assert_allclose(weighted, weight * found, rtol=1e-15)
    _, plain, _ = run(isa, name, a, y, parameter=0.3)
    np.testing.assert_allclose(dz, weight[:, None] * plain, rtol=2 * np.finfo(dtype).eps)


@every_loss
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_derivatives_by_complex_step(name, labels, shape, isa, dtype):
    rng = np.random.default_rng(1)
    a = rng.normal(size=shape, scale=4).astype(dtype)
    y = targets(name, rng, shape, dtype, labels=labels)
    _, dz, _ = run(isa, name, a, y, parameter=0.3)
    one_hot = np.eye(shape[1])[y] if y.ndim == 1 else y.astype(np.float64)
    value, parameter = _reference.LOSSES[name].value, np.array(0.3)
    tolerance = 1e-6 if dtype == np.float32 else COMPLEX_STEP
    for j in range(0, shape[1], 1 + shape[1] // 20):
        step = 1e-30j * (np.arange(shape[1]) == j)
        derivative = value(a + step, one_hot, parameter).sum(axis=-1).imag / 1e-30
        assert largest_error(dz[:, j].astype(np.float64), derivative) <= tolerance


def finite_by_nature(name, a):
    """Where e^z does not overflow float64."""
    return a[a <= LARGEST_EXPONENT] if name == "poisson" else a


@every_loss
@pytest.mark.parametrize("n_out", [1, 2, 3, 8, 17])
def test_finite_logits_give_finite_losses(name, n_out, isa, dtype):
    rng = np.random.default_rng(2)
    logits = finite_by_nature(name, LOGITS)
    a = rng.choice(logits, (4000, n_out)).astype(dtype)
    a[: len(logits)] = logits[:, None]
    for labels in (True, False):
        y = targets(name, rng, a.shape, dtype, labels=labels)
        found, dz, finite = run(isa, name, a, y)
        assert finite
        assert np.all(np.isfinite(found))
        assert np.all(np.isfinite(dz) | (a > 88 if name == "poisson" else False))
        assert np.all(found > (-np.inf if name == "poisson" else -1e-12))


@every_loss
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_finite_logits_give_finite_losses(name, data):
    largest = LARGEST_EXPONENT if name == "poisson" else FLT_MAX
    n_out = data.draw(st.integers(1, 9))
    logit = st.floats(-FLT_MAX, np.float32(largest).item(), width=32)
    a = np.array([data.draw(st.lists(logit, min_size=n_out, max_size=n_out))], np.float32)
    y = targets(
        name, np.random.default_rng(0), a.shape, np.float32, labels=data.draw(st.booleans())
    )
    for isa in isas():
        for dtype in (np.float32, np.float64):
            target = y if y.dtype == np.int32 else y.astype(dtype)
            found, _, finite = run(isa, name, a.astype(dtype), target)
            assert finite
            assert np.isfinite(found).all()


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "poisson"])
def test_extreme_values(name, isa, dtype):
    rng = np.random.default_rng(3)
    a = rng.choice(LOGITS[np.abs(LOGITS) != 1e-45], (300, 2)).astype(dtype)
    y = targets(name, rng, a.shape, dtype, labels=True)
    expected = mp_loss(name, a, y, 0.5)
    found, _, _ = run(isa, name, a, y)
    # a target next to one cancels against a large logit
    scale = np.maximum(1, np.maximum(np.abs(expected), np.abs(a.astype(float)).max(axis=1) * 1e-8))
    assert np.all(np.abs(found - expected) <= VALUE[dtype] * scale)


@every_loss
def test_what_is_not_finite_is_told(name, isa, dtype):
    rng = np.random.default_rng(4)
    for bad in (np.nan, np.inf, -np.inf):
        a = rng.normal(size=(40, 3)).astype(dtype)
        y = targets(name, rng, a.shape, dtype)
        if name == "poisson" and bad == -np.inf:
            y[:] = 1
        a[37, 1] = bad
        found, _, finite = run(isa, name, a, y)
        assert not finite
        np.testing.assert_array_equal(np.isfinite(found), np.arange(40) != 37)


@pytest.mark.parametrize(
    "name",
    [
        "squared_error",
        "absolute_error",
        "huber",
        "poisson",
        "binary_cross_entropy",
        "softmax_cross_entropy",
        "softmax_cross_entropy_labels",
    ],
)
def test_kinks_and_values_follow_pytorch(name, isa, dtype, pytorch):
    a, y, value, gradient = (
        pytorch[f"loss/{name}/{part}"] for part in ("a", "y", "value", "gradient")
    )
    y = y.astype(np.int32 if y.ndim == 1 else dtype)
    found, dz, _ = run(isa, name.removesuffix("_labels"), a.astype(dtype), y, parameter=1.0)
    eps = float(np.finfo(dtype).eps)
    assert found.sum() == pytest.approx(value, rel=4 * eps)
    np.testing.assert_allclose(dz, gradient, rtol=4 * eps, atol=4 * eps)


def test_pinball_has_no_slope_at_its_kink(isa, dtype):
    a = np.array([[1.0, 2.0, 3.0]], dtype)
    found, dz, _ = run(isa, "pinball", a, np.array([[1.0, 1.0, 5.0]], dtype), parameter=0.25)
    np.testing.assert_array_equal(dz, [[0, 0.75, -0.25]])
    assert found == 0.75 + 0.5


@every_loss
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_links(name, shape, isa, dtype):
    a = np.random.default_rng(5).normal(size=shape, scale=4).astype(dtype)
    out = np.empty_like(a)
    _kernels.link(isa, LOSSES.index(name), a, out)
    expected = _reference.LOSSES[name].link(a.astype(np.longdouble))
    # the rounding of a difference of two logits is a relative error of its exponential
    np.testing.assert_allclose(out, expected, rtol=(8 + np.ptp(a)) * np.finfo(dtype).eps)
    in_place = a.copy()
    _kernels.link(isa, LOSSES.index(name), in_place, in_place)
    assert in_place.tobytes() == out.tobytes()


@pytest.mark.parametrize("name", ["binary_cross_entropy", "softmax_cross_entropy"])
def test_probabilities_of_extreme_logits(name, isa, dtype):
    a = np.random.default_rng(6).choice(LOGITS, (500, 5)).astype(dtype)
    out = np.empty_like(a)
    _kernels.link(isa, LOSSES.index(name), a, out)
    assert np.all((out >= 0) & (out <= 1))
    if name == "softmax_cross_entropy":
        np.testing.assert_allclose(out.sum(axis=1), 1, rtol=8 * np.finfo(dtype).eps)


@every_loss
def test_vector_tables_give_the_same_bits(name, dtype):
    tables = [isa for isa in isas() if isa != "generic"]
    if len(tables) < 2:
        pytest.skip("needs two kernel tables with FMA")
    rng = np.random.default_rng(7)
    for shape in SHAPES:
        a = rng.normal(size=shape, scale=9).astype(dtype)
        y, weight = targets(name, rng, shape, dtype), rng.uniform(0.5, 2, shape[0])
        first, *others = (run(isa, name, a, y, weight=weight) for isa in tables)
        for other in others:
            assert [v.tobytes() for v in other[:2]] == [v.tobytes() for v in first[:2]]
