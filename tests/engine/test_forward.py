"""Outputs and losses of the engine against the oracle, and equalities between batches."""

from itertools import cycle, product

import numpy as np
import pytest
from nets import Case, cast, engine_gradient, make_case, network
from tolerances import TOLERANCES, gradient_error, largest_error

from fastbp import _engine, _reference

BATCHES = (1, 2, 5, 16, 33, 200, 1500)
WIDTHS = ([1, 1], [7, 3], [67, 64, 10], [16, 17, 1, 31], [5, 130, 9, 2, 4])


def outputs(case, dtype, link):
    p, x, _, _ = cast(case, dtype)
    out = np.full((len(x), case.net.layers[-1].n_out), np.nan, dtype)
    network(case.net, dtype).predict(p, x, out, link)
    return out


def losses(case, dtype):
    p, x, y, weight = cast(case, dtype)
    out = np.full(len(x), np.nan)
    network(case.net, dtype).losses(p, x, y, weight, out)
    return out


@pytest.fixture(scope="module", params=product(BATCHES, WIDTHS), ids=str)
def cases(request):
    """Every loss with one of three activations, and the oracle's outputs and losses."""
    batch, widths = request.param
    activations = cycle(("relu", "tanh", "gelu"))
    found = []
    for seed, (activation, loss) in enumerate(zip(activations, _engine.LOSSES, strict=False)):
        case = make_case(widths, activation, loss, batch=batch, seed=seed, labels=seed % 2)
        net, p, *samples = case
        a = _reference.forward(net.layers, p, case.x)[-1][-1]
        found.append((case, a, _reference.losses(net, p, *samples)))
    return found


def test_outputs_and_losses(cases, isa, dtype, threads):
    tolerance = TOLERANCES[dtype].value
    for case, a, loss in cases:
        assert largest_error(outputs(case, dtype, False), a) <= tolerance
        expected = _reference.LOSSES[case.net.loss].link(a)
        assert largest_error(outputs(case, dtype, True), expected) <= tolerance
        assert np.max(np.abs(losses(case, dtype) - loss)) <= tolerance * np.max(1 + loss)


def rows(case, index):
    """Case with some of the samples, in that order."""
    net, p, *samples = case
    return Case(net, p, *(values[index] for values in samples))


@pytest.mark.parametrize("loss", _engine.LOSSES)
def test_weights_are_repetitions(loss, isa, dtype, threads):
    case = make_case([9, 33, 6], "silu", loss, batch=20, seed=4, weighted=False)
    times = np.random.default_rng(0).integers(0, 4, 20)
    repeated = rows(case, np.repeat(np.arange(20), times))
    weighted = case._replace(weight=times.astype(np.float64))
    loss_repeated, repeated = engine_gradient(repeated, dtype)
    loss_weighted, weighted = engine_gradient(weighted, dtype)
    assert loss_weighted == pytest.approx(loss_repeated, rel=1e-12)
    assert gradient_error(weighted, repeated) <= TOLERANCES[dtype].gradient


def test_a_weight_of_one_gives_the_bits_of_no_weight(isa, dtype, threads):
    case = make_case([9, 33, 6], "silu", "huber", batch=20, seed=4, weighted=False)
    weighted = engine_gradient(case, dtype)
    plain = engine_gradient(case._replace(weight=None), dtype)
    assert weighted[0] == plain[0]
    assert weighted[1].tobytes() == plain[1].tobytes()


@pytest.mark.parametrize("loss", _engine.LOSSES)
def test_a_batch_is_the_sum_of_its_parts(loss, isa, dtype, threads):
    case = make_case([9, 33, 6], "mish", loss, batch=100, seed=5)
    whole = engine_gradient(case, dtype)
    cuts = (slice(0, 1), slice(1, 30), slice(30, 67), slice(67, 100))
    parts = [engine_gradient(rows(case, cut), dtype) for cut in cuts]
    assert whole[0] == pytest.approx(sum(loss for loss, _ in parts), rel=1e-12)
    total = sum(g.astype(np.longdouble) for _, g in parts)
    assert gradient_error(whole[1], total) <= TOLERANCES[dtype].gradient


def test_outputs_do_not_depend_on_the_company(isa, dtype, threads):
    """A sample's output and loss have the same bits alone and in any batch."""
    case = make_case([19, 67, 5], "gelu", "softmax_cross_entropy", batch=70, seed=6)
    together, together_losses = outputs(case, dtype, True), losses(case, dtype)
    for begin, end in ((0, 1), (3, 8), (69, 70), (1, 70)):
        part = rows(case, slice(begin, end))
        assert outputs(part, dtype, True).tobytes() == together[begin:end].tobytes()
        assert losses(part, dtype).tobytes() == together_losses[begin:end].tobytes()
