"""Gradients of single samples."""

import numpy as np
import pytest
from nets import cast, engine_gradient, make_case, network
from tolerances import TOLERANCES, gradient_error

import fastbp
from fastbp import _engine, _reference

SHAPES = [(1, [3, 2]), (5, [9, 8, 1]), (33, [17, 5, 19, 3]), (257, [4, 31, 2])]


def per_sample(case, dtype):
    p, x, y, weight = cast(case, dtype)
    out = np.full((len(x), p.size), np.nan, dtype)
    network(case.net, dtype).per_sample_gradient(p, x, y, weight, out)
    return out


@pytest.mark.parametrize("loss", _engine.LOSSES)
@pytest.mark.parametrize(("batch", "widths"), SHAPES)
def test_sum_is_the_gradient_and_rows_are_the_oracle_s(loss, batch, widths, isa, dtype, threads):
    for activation in ("tanh", "leaky_relu", "gelu"):
        case = make_case(widths, activation, loss, batch=batch, seed=batch)
        found = per_sample(case, dtype)
        p, *samples = case[1:]
        assert (
            gradient_error(
                found, _reference.per_sample_gradient(case.net, p.astype(np.longdouble), *samples)
            )
            <= TOLERANCES[dtype].gradient
        )
        _, gradient = engine_gradient(case, dtype)
        total = found.astype(np.longdouble).sum(axis=0)
        assert gradient_error(gradient, total) <= TOLERANCES[dtype].gradient


def test_threads_give_the_same_bits(isa, dtype, engine):
    case = make_case([9, 33, 4], "mish", "squared_error", batch=70, seed=0)
    engine.set_thread_grain(0)
    bits = set()
    for n in (1, 2, 3, 7):
        engine.set_num_threads(n)
        bits.add(per_sample(case, dtype).tobytes())
    assert len(bits) == 1


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_model_s_sum_is_its_gradient(activation, dtype):
    x, y = (values[:200] for values in fastbp.datasets.load_digits())
    model = fastbp.Model(
        [64, 30, 10], activation=activation, loss="softmax_cross_entropy", dtype=dtype, seed=0
    )
    found = model.per_sample_gradient(x / 16, y)
    assert found.shape == (200, model.n_parameters)
    total = found.astype(np.longdouble).sum(axis=0)
    assert gradient_error(model.gradient(x / 16, y), total) <= TOLERANCES[dtype].gradient
    alone = model.gradient(x[7:8] / 16, y[7:8])
    assert gradient_error(found[7], alone) <= TOLERANCES[dtype].gradient
