"""Products of bf16: rounding as IEEE 754 has it, sums as exact as float32 sums are."""

import numpy as np
import pytest

from fastbp import _kernels
from fastbp._engine import bf16_isas

pytestmark = pytest.mark.skipif(not bf16_isas(), reason="this machine has no bf16")
every_kind = pytest.mark.parametrize("kind", bf16_isas())

SHAPES = [(1, 1, 1), (5, 3, 7), (16, 32, 16), (31, 33, 32), (32, 32, 32), (33, 64, 31)]
SHAPES += [(64, 512, 96), (65, 513, 97), (40, 1100, 70)]


def rounded(x):
    """Return x as the nearest bf16, ties to the even one, by distances in float64."""
    x = np.asarray(x, np.float32)
    below = (x.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)
    step = np.ldexp(1.0, np.frexp(below)[1] - 8)  # of its binade: 8 bits of precision
    above = below + np.copysign(step, x)
    odd = (x.view(np.uint32) >> 16 & 1).astype(bool)
    from_below, to_above = np.abs(x - below), np.abs(above - x)
    return np.where((to_above < from_below) | ((to_above == from_below) & odd), above, below)


def operand(matrix, transposed):
    """Return what is given to the kernel for it."""
    return np.ascontiguousarray(matrix.T if transposed else matrix, np.float32)


@every_kind
def test_rounding(kind):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 32 * 4096, dtype=np.uint32)
    bits[::3] = bits[::3] & 0xFFFF0000 | 0x8000  # ties
    x = bits.view(np.float32)
    # others are checked by name below; sums of products flush denormals
    x = np.where((np.abs(x) < 1e-30) | ~(np.abs(x) < 1e30), np.float32(1), x).reshape(-1, 32)
    out = np.empty_like(x)
    _kernels.bf16_product(kind, x, np.eye(32, dtype=np.float32), out)
    np.testing.assert_array_equal(out, rounded(x))


@every_kind
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1.0 + 2**-8, 1.0),
        (1.0 + 3 * 2**-8, 1.0 + 2**-6),
        (1.0 + 2**-8 + 2**-23, 1.0 + 2**-7),
        (np.finfo(np.float32).max, np.inf),
        (-np.inf, -np.inf),
        (1e-40, 0.0),
        (-0.0, 0.0),
        (np.nan, np.nan),
    ],
)
def test_rounding_by_name(kind, given, expected):
    out = np.empty((1, 1), np.float32)
    x = np.full((1, 1), given, np.float32)
    _kernels.bf16_product(kind, x, np.ones((1, 1), np.float32), out)
    np.testing.assert_array_equal(out, np.float32(expected))


@every_kind
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("start", ["zero", "init", "accumulate"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(kind, shape, start, transposed):
    m, depth, n = shape
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, depth)), rng.standard_normal((depth, n))
    init = rng.standard_normal(n).astype(np.float32)
    c = rng.standard_normal((m, n)).astype(np.float32)
    a_given, b_given = operand(a, transposed[0]), operand(b, transposed[1])
    first = {"zero": 0.0, "init": init.astype(np.float64), "accumulate": c.astype(np.float64)}
    a, b = rounded(a.astype(np.float32)), rounded(b.astype(np.float32))
    expected, size = first[start] + a @ b, np.abs(first[start]) + np.abs(a) @ np.abs(b)
    _kernels.bf16_product(
        kind,
        a_given,
        b_given,
        c,
        init if start == "init" else None,
        a_transposed=transposed[0],
        b_transposed=transposed[1],
        accumulate=start == "accumulate",
    )
    # a sum of float32 in any order; the instructions may truncate its last bit
    assert np.all(np.abs(c - expected) <= 2.0**-23 * (depth + 2) * size)


@every_kind
@pytest.mark.parametrize("transposed", [0, 1])
def test_packed_in_parts(kind, transposed):
    """Threads pack rows of their own: the same operand."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 100, 100)).astype(np.float32)
    results = []
    for cut in (0, 32, 96):
        c = np.empty((100, 100), np.float32)
        _kernels.bf16_product(
            kind, a, b, c, a_transposed=transposed, b_transposed=transposed, cut=cut
        )
        results.append(c)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
