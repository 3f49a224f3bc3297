"""A sparse X against the same X, dense."""

import numpy as np
import pytest
import scipy.sparse
from nets import cast, make_case, network
from tolerances import TOLERANCES, gradient_error

from fastbp import _engine, _reference

WIDTHS = ([40, 3], [300, 67, 10], [5, 130, 9, 2])
BATCHES = (1, 7, 1500)  # the last in two blocks


def make_sparse(case, dtype, density=0.1):
    """The case with most of X zero, and that X for the engine."""
    rng = np.random.default_rng(1)
    x = np.where(rng.uniform(size=case.x.shape) < density, case.x, 0.0)
    x[len(x) // 2] = 0.0  # a row that stores nothing
    case = case._replace(x=x)
    rows = scipy.sparse.csr_array(x.astype(dtype))
    indptr = rows.indptr.astype(np.int64)
    return case, _engine.CSR(indptr, rows.indices.astype(np.int32), rows.data, x.shape)


def epoch(case, x, dtype, order, batch_size, **options):
    """Parameters and losses of the minibatches after an epoch of Adam."""
    p, _, y, weight = cast(case, dtype)
    net, n = network(case.net, dtype), len(x)
    batches = -(-n // batch_size)
    g, m, v = (np.zeros_like(p) for _ in range(3))
    losses, squares = np.zeros(batches), np.zeros(batches)
    run = _engine.Epoch(
        net, p, g, m, v, x, y, weight, order, batch_size,
        np.full(batches, 1e-2), np.full(batches, 1.0 / batch_size), 1,
        optimizer=_engine.OPTIMIZERS.index("adam"), beta1=0.9, beta2=0.999, eps=1e-3,
        batch_losses=losses, squares=squares, **options,
    )  # fmt: skip
    while not run.run(10.0):
        pass
    assert run.status == "ok"
    return p, losses, squares


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("batch", BATCHES)
def test_outputs_have_the_bits_of_dense_ones(widths, batch, isa, dtype, threads):
    case = make_case(widths, "tanh", "softmax_cross_entropy", batch=batch, seed=2)
    case, x = make_sparse(case, dtype)
    net, p = network(case.net, dtype), case.parameters.astype(dtype)
    got, expected = (np.full((batch, widths[-1]), np.nan, dtype) for _ in range(2))
    net.predict(p, x, got, True)
    net.predict(p, case.x.astype(dtype), expected, True)
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients(widths, batch, activation, isa, dtype, threads):
    case = make_case(widths, activation, "squared_error", batch=batch, seed=3)
    case, x = make_sparse(case, dtype)
    p, _, y, weight = cast(case, dtype)
    out = np.full_like(p, np.nan)
    loss = network(case.net, dtype).gradient(p, x, y, weight, out)
    expected = _reference.gradient(case.net, case.parameters, case.x, case.y, case.weight)
    assert gradient_error(out, expected) <= TOLERANCES[dtype].gradient
    losses = _reference.losses(case.net, case.parameters, case.x, case.y, case.weight)
    assert loss == pytest.approx(losses.sum(), rel=10 * TOLERANCES[dtype].value)


@pytest.mark.parametrize("batch_size", [1, 50, 333])
@pytest.mark.parametrize("options", [{}, {"l2": 0.1}, {"clip_norm": 0.1}], ids=str)
def test_epochs(batch_size, options, isa, dtype, threads):
    case = make_case([60, 33, 4], "silu", "softmax_cross_entropy", batch=333, seed=4)
    case, x = make_sparse(case, dtype)
    order = np.random.default_rng(5).permutation(333)
    got = epoch(case, x, dtype, order, batch_size, **options)
    expected = epoch(case, case.x.astype(dtype), dtype, order, batch_size, **options)
    tolerance = 1e-3 if dtype == np.float32 else 1e-10
    for ours, dense in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, dense, rtol=tolerance, atol=tolerance)


def test_the_same_bits_at_any_number_of_threads_on_any_table(engine, dtype):
    case = make_case([60, 33, 4], "silu", "softmax_cross_entropy", batch=333, seed=4)
    case, x = make_sparse(case, dtype)
    engine.set_thread_grain(0)
    bits = set()
    for table in (name for name in engine.isas() if name != "generic"):
        engine.use_isa(table)
        for n in (1, 2, 3, 4, 7):
            engine.set_num_threads(n)
            p, losses, squares = epoch(case, x, dtype, None, 50)
            bits.add(p.tobytes() + losses.tobytes() + squares.tobytes())
    assert len(bits) == 1
