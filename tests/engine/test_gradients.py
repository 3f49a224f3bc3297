"""The engine's gradient: every activation x loss x dtype, on shapes that meet every SIMD tail."""

from itertools import product

import numpy as np
import pytest
from gradient_checker import check_gradient, expect
from nets import engine_gradient, make_case, sensitivity
from tolerances import TOLERANCES

from fastbp import _engine, _reference

WIDEST, LARGEST_BATCH, DEEPEST = 67, 33, 4
SHAPES_PER_PAIR = 13
TEAMS = (1, 3, 4)
WELL_CONDITIONED = 4e-7  # see draw()
PAIRS = list(product(_engine.ACTIVATIONS, _engine.LOSSES))


def _shapes():
    """A batch size and widths for each case; each of all values comes equally often."""
    rng = np.random.default_rng(0)
    n = len(PAIRS) * SHAPES_PER_PAIR

    def shuffled(largest, count):
        return rng.permutation(np.arange(count) % largest + 1)

    depths = shuffled(DEEPEST, n)
    widths = iter(shuffled(WIDEST, int((depths + 1).sum())).tolist())
    return [
        (batch, [next(widths) for _ in range(depth + 1)])
        for batch, depth in zip(shuffled(LARGEST_BATCH, n).tolist(), depths, strict=True)
    ]


SHAPES = _shapes()


def draw(index):
    """Draw a case: half have the activation on the last layer, too, and half have labels.

    One that amplifies the rounding of its data in float32 (through a layer of one unit, say) would
    show that and not the engine's errors: it is drawn again.
    """
    activation, loss = PAIRS[index // SHAPES_PER_PAIR]
    batch, widths = SHAPES[index]
    output = activation if index % 2 or len(widths) == 2 else "identity"
    labels = index % 4 < 2
    cases = (
        make_case(widths, activation, loss, batch=batch, seed=seed, output=output, labels=labels)
        for seed in range(index, index + 100)
    )
    return next(case for case in cases if sensitivity(case) < WELL_CONDITIONED)


def _name(index):
    batch, widths = SHAPES[index]
    return "-".join([*PAIRS[index // SHAPES_PER_PAIR], str(batch), "x".join(map(str, widths))])


@pytest.fixture(scope="module", params=range(len(SHAPES)), ids=_name)
def drawn(request):
    """Number, case and expected gradient, shared by the tests of all kernel tables."""
    case = draw(request.param)
    return request.param, case, expect(case)


def test_shapes_meet_every_tail():
    assert len(SHAPES) * len(TOLERANCES) >= 2000
    batches = {batch for batch, _ in SHAPES}
    n_ins = {n_in for _, widths in SHAPES for n_in in widths[:-1]}
    n_outs = {n_out for _, widths in SHAPES for n_out in widths[1:]}
    assert batches == set(range(1, LARGEST_BATCH + 1))
    assert n_ins == n_outs == set(range(1, WIDEST + 1))
    assert {len(widths) - 1 for _, widths in SHAPES} == set(range(1, DEEPEST + 1))


def test_gradient(drawn, isa, dtype, engine):
    index, case, expected = drawn
    engine.set_num_threads(TEAMS[index % len(TEAMS)])
    engine.set_thread_grain(0)
    loss, gradient = engine_gradient(case, dtype)
    check_gradient(gradient, expected)
    net, p, *samples = case
    assert loss == pytest.approx(
        _reference.losses(net, p, *samples).sum(), rel=TOLERANCES[dtype].value * 10, abs=1e-300
    )


@pytest.mark.long
@pytest.mark.parametrize("loss", _engine.LOSSES)
@pytest.mark.parametrize("activation", _engine.ACTIVATIONS)
def test_gradient_of_wide_networks(activation, loss, isa, dtype, threads):
    for batch, widths in ((1, [300, 257, 130]), (67, [97, 520, 31, 10]), (300, [40, 33, 65, 7])):
        case = make_case(widths, activation, loss, batch=batch, seed=batch)
        check_gradient(engine_gradient(case, dtype)[1], expect(case))
