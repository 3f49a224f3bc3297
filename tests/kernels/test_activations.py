"""Activations and their slopes on every kernel table: accuracy, limits, tails, equal bits."""

import numpy as np
import pytest
from exact import by_longdouble, by_mpmath, negative, ulps
from nets import ALPHA
from tolerances import TOLERANCES

from fastbp import _kernels, _reference
from fastbp._engine import ACTIVATIONS, isas

SLOPE_EPS = 4
"""Slopes are within so many machine epsilons; they are about one at most."""

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def activate(isa, name, z):
    """Return sigma(z) and sigma'(z) by a kernel."""
    a, slope = np.empty_like(z), np.empty_like(z)
    _kernels.activate(isa, ACTIVATIONS.index(name), ALPHA.get(name, 1.0), z, a, slope)
    return a, slope


def special_values(dtype):
    """Signed zeros and subnormals, powers of two and their neighbours, the largest."""
    info = np.finfo(dtype)
    powers = np.ldexp(dtype.type(1), np.arange(info.minexp - info.nmant, info.maxexp))
    values = np.concatenate([[0, info.max], powers, np.nextafter(powers, dtype.type(0))])
    return np.concatenate([values, -values]).astype(dtype)


def float32_sweep(stride):
    """Every stride-th bit pattern that is finite, and where the functions bend."""
    patterns = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.linspace(-110, 110, 100_001, dtype=np.float32)
    sweep = np.concatenate([patterns, near, special_values(np.dtype(np.float32))])
    return sweep[np.isfinite(sweep)]


def float64_sweep():
    """Log-uniform and uniform values, and special ones."""
    rng = np.random.default_rng(0)
    log_uniform = np.exp2(rng.uniform(-60, 12, 1500)) * rng.choice((-1, 1), 1500)
    near = np.concatenate([rng.uniform(-760, 760, 600), rng.uniform(-40, 40, 1500)])
    return np.concatenate([log_uniform, near, special_values(np.dtype(np.float64))])


@pytest.fixture(scope="module", params=ACTIVATIONS)
def float32_exact(request):
    """Name of an activation, values of z, and what it makes of them."""
    z = float32_sweep(4093)
    return request.param, z, by_longdouble(request.param, ALPHA.get(request.param, 1.0), z)


@pytest.fixture(scope="module", params=ACTIVATIONS)
def float64_exact(request):
    """Likewise."""
    z = float64_sweep()
    return request.param, z, by_mpmath(request.param, ALPHA.get(request.param, 1.0), z)


def check_accuracy(isa, name, z, exact):
    a, _ = activate(isa, name, z)
    errors = ulps(a, exact)
    worst = np.argmax(errors)  # the first NaN, if there is one
    assert errors[worst] <= TOLERANCES[z.dtype].ulp, f"{name}({z[worst]!r}) = {a[worst]!r}"
    check_signs(name, z, a)


def check_signs(name, z, a):
    """Of every value, also of zeros and of what underflows."""
    wrong = np.flatnonzero(np.signbit(a) != negative(name, z))
    assert wrong.size == 0, f"{name}({z[wrong[0]]!r}) = {a[wrong[0]]!r}"


def test_float32_accuracy(float32_exact, isa):
    check_accuracy(isa, *float32_exact)


def test_float64_accuracy(float64_exact, isa):
    check_accuracy(isa, *float64_exact)


@pytest.mark.long
@every_activation
def test_float32_accuracy_on_every_32nd_number(name, isa):
    for part in range(64):
        z = np.arange(part << 26, (part + 1) << 26, 32, dtype=np.uint64)
        z = z.astype(np.uint32).view(np.float32)
        z = z[np.isfinite(z)]
        if z.size:
            check_accuracy(isa, name, z, by_longdouble(name, ALPHA.get(name, 1.0), z))


@every_activation
def test_slope_accuracy(name, isa, dtype):
    z = float64_sweep() if dtype == np.float64 else float32_sweep(65537)
    _, slope = activate(isa, name, z)
    exact = _reference.ACTIVATIONS[name].slope(z.astype(np.longdouble), ALPHA.get(name, 1.0))
    error = np.abs(slope - exact)
    worst = np.argmax(error)
    assert error[worst] <= SLOPE_EPS * np.finfo(dtype).eps, f"{name}'({z[worst]!r})"


LIMITS = {  # sigma and sigma' at -infinity and at infinity
    "identity": ((-np.inf, 1), (np.inf, 1)),
    "relu": ((0, 0), (np.inf, 1)),
    "leaky_relu": ((-np.inf, ALPHA["leaky_relu"]), (np.inf, 1)),
    "elu": ((-ALPHA["elu"], 0), (np.inf, 1)),
    "selu": ((-1.7580993408473769, 0), (np.inf, 1.0507009873554805)),
    "sigmoid": ((0, 0), (1, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "softsign": ((-1, 0), (1, 0)),
    "softplus": ((0, 0), (np.inf, 1)),
    "gelu": ((0, 0), (np.inf, 1)),
    "silu": ((0, 0), (np.inf, 1)),
    "mish": ((0, 0), (np.inf, 1)),
}


@every_activation
def test_infinities_give_the_limits(name, isa, dtype):
    z = np.array([-np.inf, np.inf], dtype)
    a, slope = activate(isa, name, z)
    check_signs(name, z, a)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(np.array([a, slope]).T, LIMITS[name], rtol=2 * eps, atol=2 * eps)


SLOPES_OF_NAN = {"identity": 1, "relu": 0, "leaky_relu": ALPHA["leaky_relu"]}
"""The constants for z that is not positive; the slopes that depend on z are NaN."""


@every_activation
def test_nan_gives_nan(name, isa, dtype):
    z = np.full(37, np.nan, dtype)
    z[::2] = 0.5
    a, slope = activate(isa, name, z)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(z))
    assert np.isfinite(slope[::2]).all()
    expected = np.full(18, SLOPES_OF_NAN.get(name, np.nan), dtype)
    np.testing.assert_array_equal(slope[1::2], expected)


@every_activation
def test_kinks_follow_pytorch(name, isa, dtype, pytorch):
    z, a, slope = pytorch[f"activation/{name}"]
    code, alpha = ACTIVATIONS.index(name), {"leaky_relu": 0.01}.get(name, 1.0)
    found, found_slope = np.empty(z.size, dtype), np.empty(z.size, dtype)
    _kernels.activate(isa, code, alpha, z.astype(dtype), found, found_slope)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, a, rtol=4 * eps, atol=4 * eps)
    np.testing.assert_allclose(found_slope, slope, rtol=4 * eps, atol=4 * eps)


@every_activation
def test_every_length_and_alignment_gives_the_same_bits(name, isa, dtype):
    z = np.random.default_rng(1).normal(scale=3, size=80).astype(dtype)
    whole = activate(isa, name, z)
    for n in range(1, 68):
        for begin in (0, 3):
            part = activate(isa, name, z[begin : begin + n])
            for values, expected in zip(part, whole, strict=True):
                assert np.array_equal(values, expected[begin : begin + n])


@every_activation
def test_in_place_and_without_slope(name, isa, dtype):
    z = np.random.default_rng(2).normal(scale=3, size=71).astype(dtype)
    expected, _ = activate(isa, name, z)
    _kernels.activate(isa, ACTIVATIONS.index(name), ALPHA.get(name, 1.0), z, z, None)
    np.testing.assert_array_equal(z, expected)


@every_activation
def test_times_slope_multiplies_by_the_slope(name, isa, dtype):
    rng = np.random.default_rng(3)
    for n in range(1, 68):
        z, dz = rng.normal(scale=3, size=(2, n)).astype(dtype)
        a, slope = activate(isa, name, z)
        expected = dz * slope
        code = ACTIVATIONS.index(name)
        _kernels.times_slope(isa, code, ALPHA.get(name, 1.0), a, slope, dz)
        np.testing.assert_array_equal(dz, expected)


@every_activation
def test_vector_tables_give_the_same_bits(name, dtype):
    tables = [isa for isa in isas() if isa != "generic"]
    if len(tables) < 2:
        pytest.skip("needs two kernel tables with FMA")
    z = float64_sweep() if dtype == np.float64 else float32_sweep(40961)
    first, *others = (activate(isa, name, z) for isa in tables)
    for other in others:
        for values, expected in zip(other, first, strict=True):
            assert values.tobytes() == expected.tobytes()
