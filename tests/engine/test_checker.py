"""The gradient checker passes the oracle's gradient, and catches faults planted in it."""

from itertools import pairwise

import numpy as np
import pytest
from gradient_checker import check_gradient, complex_step, expect
from nets import KINK_MARGIN, make_case
from tolerances import COMPLEX_STEP, largest_error

from fastbp import _reference
from fastbp._reference import ACTIVATIONS, LOSSES

ONE = np.longdouble(1)


def gradient(case):
    """Return the oracle's own gradient, in float64."""
    return _reference.gradient(*case)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_oracle_agrees_with_complex_step_in_every_parameter(activation, loss, dtype):
    for labels, widths in ((True, [5, 4]), (False, [3, 7, 4]), (True, [4, 3, 5, 2])):
        case = make_case(
            widths, activation, loss, batch=6, seed=len(widths), output=activation, labels=labels
        )
        found = _reference.gradient(case.net, case.parameters.astype(dtype), *case[2:])
        derivatives = complex_step(case, np.eye(len(case.parameters)))
        assert largest_error(found, derivatives) <= COMPLEX_STEP


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_complex_step_agrees_with_differences(activation):
    """The complex step is itself judged by what needs no complex functions."""
    case = make_case([3, 5, 2], activation, "squared_error", batch=4, seed=1, output=activation)
    net, p, *samples = case
    directions = np.eye(len(p))
    h = ONE / 10**6
    up, down = (
        _reference.losses(net, p.astype(np.longdouble) + sign * h * directions, *samples)
        for sign in (1, -1)
    )
    differences = (up - down).sum(axis=-1) / (2 * h)
    assert largest_error(complex_step(case, directions), differences) < 1e-10


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "selu"])
def test_cases_keep_off_kinks(activation):
    case = make_case([9, 67, 33, 5], activation, "pinball", batch=33, seed=3, output=activation)
    states = _reference.forward(case.net.layers, case.parameters, case.x)
    assert all(np.abs(z).min() >= KINK_MARGIN for _, z, _ in states)
    assert np.abs(states[-1][-1] - case.y).min() >= KINK_MARGIN


def planted_slope(monkeypatch, activation, slope):
    value = ACTIVATIONS[activation].value
    monkeypatch.setitem(ACTIVATIONS, activation, _reference.Activation(value, slope))


def missing_activation_derivative(monkeypatch):
    planted_slope(monkeypatch, "tanh", lambda z, _: np.ones_like(z))


def derivative_off_by_one_part_in_1e11(monkeypatch):
    slope = ACTIVATIONS["tanh"].slope
    planted_slope(monkeypatch, "tanh", lambda z, alpha: slope(z, alpha) * (1 + 1e-11))


def sign_of_loss(monkeypatch):
    loss = LOSSES["squared_error"]
    flipped = loss._replace(slope=lambda a, y, c: -loss.slope(a, y, c))
    monkeypatch.setitem(LOSSES, "squared_error", flipped)


def delta_of_a_layer(change):
    """Change dz of the first layer."""

    def plant(monkeypatch):
        trace = _reference.trace

        def changed(*args):
            first, *others = trace(*args)
            return [first._replace(dz=change(first.dz)), *others]

        monkeypatch.setattr(_reference, "trace", changed)

    return plant


def one_sample_missing(dz):
    return dz * (np.arange(len(dz)) > 0)[:, None]


def last_column_missing(dz):
    return dz * (np.arange(dz.shape[1]) < dz.shape[1] - 1)


FAULTS = {
    "missing_activation_derivative": missing_activation_derivative,
    "derivative_off": derivative_off_by_one_part_in_1e11,
    "sign_of_loss": sign_of_loss,
    "sign_of_delta": delta_of_a_layer(lambda dz: -dz),
    "sample_missing": delta_of_a_layer(one_sample_missing),
    "tail_column_missing": delta_of_a_layer(last_column_missing),
    "samples_shuffled": delta_of_a_layer(lambda dz: dz[::-1]),
}


@pytest.fixture(params=[[6, 5, 3], [30, 20, 3]], ids=["every parameter", "directions"])
def case(request):
    return make_case(request.param, "tanh", "squared_error", batch=7, seed=2)


def test_right_gradient_passes(case):
    check_gradient(gradient(case), expect(case))
    check_gradient(gradient(case).astype(np.float32), expect(case))


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_fault_is_caught(case, plant, monkeypatch):
    expected = expect(case)
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="off the oracle"):
        check_gradient(gradient(case), expected)


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_fault_in_the_oracle_is_caught_by_complex_step(case, plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="off the complex step"):
        check_gradient(gradient(case), expect(case))


def wrong_biases(case, change):
    """Change the gradient of each layer's biases."""
    found, end = gradient(case), 0
    for n_in, n_out in pairwise([case.x.shape[1], *(k.n_out for k in case.net.layers)]):
        begin, end = end + n_in * n_out, end + (n_in + 1) * n_out
        found[begin:end] = change(found[begin:end])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wrong_bias_sum_is_caught(case, dtype):
    mean = wrong_biases(case, lambda db: db / len(case.x)).astype(dtype)
    with pytest.raises(AssertionError, match="off the oracle"):
        check_gradient(mean, expect(case))


@pytest.mark.parametrize(("dtype", "part"), [(np.float32, 4e-6), (np.float64, 1e-11)])
def test_one_parameter_off_is_caught(case, dtype, part):
    found = gradient(case).astype(dtype)
    expected = expect(case)
    found[np.argmax(np.abs(found))] *= 1 + 10 * part
    with pytest.raises(AssertionError, match="off the oracle"):
        check_gradient(found, expected)
