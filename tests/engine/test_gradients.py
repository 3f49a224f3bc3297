"""The engine's gradient: every activation x loss x dtype, on shapes that meet every SIMD tail."""

from functools import cache, lru_cache
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
WELL_CONDITIONED = 4e-7  # see drawn()
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


def draws(index):
    """Draw cases: half have the activation on the last layer, too, and half have labels."""
    activation, loss = PAIRS[index // SHAPES_PER_PAIR]
    batch, widths = SHAPES[index]
    output = activation if index % 2 or len(widths) == 2 else "identity"
    labels = index % 4 < 2
    for seed in range(index, index + 100):
        yield make_case(
            widths, activation, loss, batch=batch, seed=seed, output=output, labels=labels
        )


@lru_cache(maxsize=2)
def drawn(index, dtype):
    """Case and expected gradient.

    In float32 a case that amplifies the rounding of its data (through a layer of one unit, say)
    would show that and not the engine's errors: another is drawn. float64 takes the first.
    """
    least = WELL_CONDITIONED if dtype == np.float32 else np.inf
    case = next(case for case in draws(index) if sensitivity(case) < least)
    return case, expect(case)


def _name(index):
    batch, widths = SHAPES[index]
    return "-".join([*PAIRS[index // SHAPES_PER_PAIR], str(batch), "x".join(map(str, widths))])


@pytest.fixture(scope="module", params=range(len(SHAPES)), ids=_name)
def index(request):
    """Number of a case; module scope keeps the tests of one case together, which share it."""
    return request.param


def test_shapes_meet_every_tail():
    assert len(SHAPES) * len(TOLERANCES) >= 2000
    batches = {batch for batch, _ in SHAPES}
    n_ins = {n_in for _, widths in SHAPES for n_in in widths[:-1]}
    n_outs = {n_out for _, widths in SHAPES for n_out in widths[1:]}
    assert batches == set(range(1, LARGEST_BATCH + 1))
    assert n_ins == n_outs == set(range(1, WIDEST + 1))
    assert {len(widths) - 1 for _, widths in SHAPES} == set(range(1, DEEPEST + 1))


def test_gradient(index, isa, dtype, engine):
    case, expected = drawn(index, dtype)
    engine.set_num_threads(TEAMS[index % len(TEAMS)])
    engine.set_thread_grain(0)
    loss, gradient = engine_gradient(case, dtype)
    check_gradient(gradient, expected)
    net, p, *samples = case
    assert loss == pytest.approx(
        _reference.losses(net, p, *samples).sum(), rel=TOLERANCES[dtype].value * 10, abs=1e-300
    )


@cache
def larger(more):
    """Cases with so many samples more, and their expected gradients, for all tables and teams."""
    cases = []
    for index in range(0, len(SHAPES), 5):
        activation, loss = PAIRS[index // SHAPES_PER_PAIR]
        batch, widths = SHAPES[index]
        case = make_case(widths, activation, loss, batch=batch + more, seed=index)
        cases.append((case, expect(case)))
    return cases


@pytest.mark.parametrize("more", [64, 128], ids=["by rows", "by slabs"])
def test_gradient_of_larger_batches(more, isa, threads):
    """The other ways to share a batch. In float32 such sums amplify the rounding of the data."""
    for case, expected in larger(more):
        check_gradient(engine_gradient(case, np.dtype(np.float64))[1], expected)


@pytest.mark.long
@pytest.mark.parametrize("loss", _engine.LOSSES)
@pytest.mark.parametrize("activation", _engine.ACTIVATIONS)
def test_gradient_of_wide_networks(activation, loss, isa, dtype, threads):
    for batch, widths in ((1, [300, 257, 130]), (67, [97, 520, 31, 10]), (300, [40, 33, 65, 7])):
        case = make_case(widths, activation, loss, batch=batch, seed=batch)
        check_gradient(engine_gradient(case, dtype)[1], expect(case))
