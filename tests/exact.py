"""Activations to far more digits than a kernel has: mpmath for float64, longdouble for float32."""

import mpmath
import numpy as np
from scipy import special

from fastbp._reference import SELU_ALPHA, SELU_SCALE

PRECISION = 160  # bits; the smallest values are subnormal but keep all of them

# Past this e^-|z| is below every float64 and longdouble can do without it
SATURATED = 12000


NEVER_NEGATIVE = ("relu", "sigmoid", "softplus")


def _selu_constants(number):
    return number(SELU_SCALE), number(SELU_SCALE) * number(SELU_ALPHA)


def _mp_sigmoid(z):
    e = mpmath.exp(-abs(z)) if abs(z) < SATURATED else mpmath.mpf(0)
    return (1 if z > 0 else e) / (1 + e)


def _mp_softplus(z):
    e = mpmath.exp(-abs(z)) if abs(z) < SATURATED else mpmath.mpf(0)
    return max(z, mpmath.mpf(0)) + mpmath.log1p(e)


def _mp_selu(z, _):
    scale, limit = _selu_constants(mpmath.mpf)
    return scale * z if z > 0 else limit * mpmath.expm1(z)


def _mp_gelu(z, _):
    return z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2 if abs(z) < SATURATED else max(z, mpmath.mpf(0))


MPMATH = {
    "identity": lambda z, _: z,
    "relu": lambda z, _: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z, alpha: z if z > 0 else alpha * z,
    "elu": lambda z, alpha: z if z > 0 else alpha * mpmath.expm1(z),
    "selu": _mp_selu,
    "sigmoid": lambda z, _: _mp_sigmoid(z),
    "tanh": lambda z, _: mpmath.tanh(z) if abs(z) < SATURATED else mpmath.sign(z),
    "softsign": lambda z, _: z / (1 + abs(z)),
    "softplus": lambda z, _: _mp_softplus(z),
    "gelu": _mp_gelu,
    "silu": lambda z, _: z * _mp_sigmoid(z),
    "mish": lambda z, _: z * mpmath.tanh(_mp_softplus(z)) if z < SATURATED else z,
}


def _ld_selu(z, _):
    scale, limit = _selu_constants(np.longdouble)
    return np.where(z > 0, scale * z, limit * np.expm1(np.minimum(z, 0)))


def _ld_softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _ld_gelu(z, _):
    near = np.clip(z, -40, 40).astype(np.float64)  # within float32's 2 ULP, float64 is exact
    return np.where(z > 40, z, near.astype(np.longdouble) * special.ndtr(near))


LONGDOUBLE = {
    "identity": lambda z, _: z,
    "relu": lambda z, _: np.maximum(z, 0),
    "leaky_relu": lambda z, alpha: np.where(z > 0, z, alpha * z),
    "elu": lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
    "selu": _ld_selu,
    "sigmoid": lambda z, _: special.expit(z),
    "tanh": lambda z, _: np.tanh(z),
    "softsign": lambda z, _: z / (1 + np.abs(z)),
    "softplus": lambda z, _: _ld_softplus(z),
    "gelu": _ld_gelu,
    "silu": lambda z, _: z * special.expit(z),
    "mish": lambda z, _: z * np.tanh(_ld_softplus(z)),
}


def by_mpmath(name, alpha, z):
    """Return sigma of each finite z (float64) as a list of mpf."""
    with mpmath.workprec(PRECISION):
        return [MPMATH[name](mpmath.mpf(x), mpmath.mpf(alpha)) for x in z.tolist()]


def by_longdouble(name, alpha, z):
    """Return sigma of each finite z (float32) as longdouble."""
    return LONGDOUBLE[name](z.astype(np.longdouble), np.longdouble(alpha))


def negative(name, z):
    """Where sigma(z) has a minus sign: as z, zeros too, in functions that pass through zero.

    relu is the exception: it gives +0 for all z <= 0.
    """
    return np.signbit(z) & (name not in NEVER_NEGATIVE)


def _spacing(values):
    """Units of the last place; NumPy's is infinite for the largest number."""
    top_binade = np.ldexp(values.dtype.type(1), np.finfo(values.dtype).maxexp - 1)
    return np.spacing(np.minimum(np.abs(values), top_binade))


def nearest(exact, dtype):
    """Round exact values (mpf or longdouble) correctly; past the largest number is infinity."""
    with np.errstate(over="ignore"):
        return np.array([float(x) for x in exact] if isinstance(exact, list) else exact).astype(
            dtype
        )


def ulps(found, exact):
    """Distances of values from the correctly rounded ones, in units of the last place."""
    rounded = nearest(exact, found.dtype)
    with np.errstate(invalid="ignore"):
        distance = np.abs(found.astype(np.longdouble) - rounded)
    return np.where(found == rounded, 0, distance / _spacing(rounded))
