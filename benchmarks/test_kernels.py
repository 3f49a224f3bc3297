"""The three products of a dense layer, single calls on one thread, for every kernel table."""

import numpy as np
import pytest

from fastbp import _engine, _kernels

SHAPES = ((1, 64, 64), (32, 64, 64), (128, 784, 128), (128, 512, 512), (256, 1024, 1024))
IDENTITY = _engine.ACTIVATIONS.index("identity")

pytestmark = [
    pytest.mark.parametrize("isa", _engine.isas()),
    pytest.mark.parametrize("dtype", ["float32", "float64"]),
    pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape))),
]


def arrays(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def test_forward(measure, shape, dtype, isa):
    batch, n_in, n_out = shape
    x, w, b, a = arrays(dtype, (batch, n_in), (n_in, n_out), n_out, (batch, n_out))

    def call():
        _kernels.dense_forward(isa, x, w, b, IDENTITY, 0.0, a)

    measure(call, flop=2 * batch * n_in * n_out, dtype=dtype)


def test_backward_dz(measure, shape, dtype, isa):
    batch, n_in, n_out = shape
    dz, wt, below = arrays(dtype, (batch, n_out), (n_out, n_in), (batch, n_in))

    def call():
        _kernels.dense_backward_dz(isa, dz, wt, IDENTITY, 0.0, below, below, below)

    measure(call, flop=2 * batch * n_in * n_out, dtype=dtype)


def test_backward_dw(measure, shape, dtype, isa):
    batch, n_in, n_out = shape
    x, dz, dw = arrays(dtype, (batch, n_in), (batch, n_out), (n_in, n_out))

    def call():
        _kernels.dense_backward_dw(isa, x, dz, dw)

    measure(call, flop=2 * batch * n_in * n_out, dtype=dtype)
