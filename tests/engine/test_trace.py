"""The two passes laid open: a 2-2-2 sigmoid network worked by hand."""

from fractions import Fraction
from itertools import pairwise
from math import log

import numpy as np
import pytest
from tolerances import TOLERANCES, gradient_error

import fastbp
from fastbp import _engine, _reference

LN3 = log(3)  # sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4
#             sigmoid' = a (1 - a):  1/4               3/16               3/16

X, Y = [[1, 2]], [[1, 0]]
W0, B0 = [[2, LN3], [-1, 0]], [0, 0]
# z = (1 * 2 + 2 * -1, 1 * ln 3 + 2 * 0) = (0, ln 3)
W1, B1 = [[2, -2], [4, 8]], [LN3 - 4, -LN3 - 5]
# z = (1/2 * 2 + 3/4 * 4 + ln 3 - 4, 1/2 * -2 + 3/4 * 8 - ln 3 - 5) = (ln 3, -ln 3)

# l = ((3/4 - 1)^2 + (1/4 - 0)^2) / 2 = 1/16, dl/da = a - y
# first layer: da_0 = -3/64 * 2 + 3/64 * -2 = -12/64, da_1 = -3/64 * 4 + 3/64 * 8 = 12/64
TRACE = (
    {
        "x": (1, 2),
        "z": (0, LN3),
        "a": ("1/2", "3/4"),
        "slope": ("1/4", "3/16"),
        "da": ("-3/16", "3/16"),
        "dz": ("-3/64", "9/256"),
    },
    {
        "x": ("1/2", "3/4"),
        "z": (LN3, -LN3),
        "a": ("3/4", "1/4"),
        "slope": ("3/16", "3/16"),
        "da": ("-1/4", "1/4"),
        "dz": ("-3/64", "3/64"),
    },
)
# dl/dw = x^T dz, dl/db = dz
GRADIENT = (
    *("-3/64", "9/256", "-3/32", "9/128"),
    *("-3/64", "9/256"),
    *("-3/128", "3/128", "-9/256", "9/256"),
    *("-3/64", "3/64"),
)


def numbers(values):
    return np.array([float(Fraction(value)) for value in values])


def model(dtype="float64"):
    layers = [fastbp.Dense(2, 2, "sigmoid"), fastbp.Dense(2, 2, "sigmoid")]
    net = fastbp.Model(layers, loss="squared_error", dtype=dtype)
    net.parameters = np.concatenate([np.ravel(values) for values in (W0, B0, W1, B1)])
    return net


def test_trace_is_the_one_worked_by_hand():
    layers = model().trace(X, Y)
    assert len(layers) == len(TRACE)
    for layer, expected in zip(layers, TRACE, strict=True):
        assert layer._fields == tuple(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(
                getattr(layer, name), [numbers(values)], rtol=1e-14, atol=1e-15, err_msg=name
            )


def test_loss_and_gradient_are_those_worked_by_hand(isa, dtype):
    net = model(dtype)
    loss, gradient = net.loss_and_gradient(X, Y)
    eps = float(np.finfo(dtype).eps)
    assert loss == pytest.approx(1 / 16, rel=8 * eps)
    np.testing.assert_allclose(gradient, numbers(GRADIENT), rtol=16 * eps)


@pytest.mark.parametrize("loss", _engine.LOSSES)
@pytest.mark.parametrize("activation", _engine.ACTIVATIONS)
def test_delta_is_slope_times_what_comes_back_through_the_weights(activation, loss, dtype):
    rng = np.random.default_rng(0)
    net = fastbp.Model([5, 7, 6, 3], activation=activation, loss=loss, dtype=dtype, seed=0)
    x, y = rng.normal(size=(4, 5)).astype(dtype), rng.dirichlet(np.ones(3), 4).astype(dtype)
    layers = net.trace(x, y)
    np.testing.assert_array_equal(layers[0].x, x)
    activations = _reference.ACTIVATIONS[activation], _reference.ACTIVATIONS["identity"]
    alpha = net.layers[0].activation.alpha
    for i, ((below, above), w) in enumerate(
        zip(pairwise(layers), net.weights[1:], strict=True), start=1
    ):
        assert np.array_equal(below.a, above.x)
        np.testing.assert_allclose(above.z, above.x @ w + net.biases[i], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(below.slope, activations[0].slope(below.z, alpha), rtol=1e-14)
        np.testing.assert_allclose(below.da, above.dz @ w.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(below.dz, below.slope * (above.dz @ w.T), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(layers[-1].dz, layers[-1].da)
    parts = [(k.x.T @ k.dz, k.dz.sum(axis=0)) for k in layers]
    gradient = np.concatenate([part.ravel() for pair in parts for part in pair])
    assert gradient_error(net.gradient(x, y), gradient) <= TOLERANCES[dtype].gradient
