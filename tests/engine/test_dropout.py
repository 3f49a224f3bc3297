"""Dropout: which outputs are dropped, and the gradient of the loss with them dropped."""

import numpy as np
import pytest
from nets import cast, make_case, network
from tolerances import TOLERANCES, gradient_error

import fastbp
from fastbp import _engine, _reference

RATES = (0.3, 0.5, 0.0)
SEED = 1234567890123456789


def squares(number, key):
    """The 32-bit generator of Widynski, arXiv:2004.06278, in Python's integers."""
    mask = (1 << 64) - 1
    x = y = number * key & mask
    z = y + key & mask
    for added in (y, z, y):
        x = x * x + added & mask
        x = x >> 32 | x << 32 & mask
    return (x * x + z & mask) >> 32


def factors(layer, rows, n_out, rate):
    """What each output of a layer is multiplied by."""
    key = (SEED + layer + 1) * 0x9E3779B97F4A7C15 % 2**64 | 1
    drawn = [[squares(r * n_out + j, key) for j in range(n_out)] for r in range(rows)]
    return np.where(np.array(drawn) < int(rate * 2**32), 0.0, 1 / (1 - rate))


def masked_gradient(case, masks):
    """Summed loss and its gradient by the chain rule, with the layers' outputs times the masks."""
    net, p, x, y, weight = case
    states, views = [], _reference.unflatten(net.layers, p)
    for layer, (w, b), mask in zip(net.layers, views, masks, strict=True):
        z = x @ w + b
        states.append((x, z, mask))
        x = _reference.ACTIVATIONS[layer.activation].value(z, layer.alpha) * mask
    loss = _reference.LOSSES[net.loss]
    targets = np.eye(x.shape[1])[y] if y.dtype.kind == "i" else y
    delta = loss.slope(x, targets, net.loss_parameters) * weight[:, None]
    parts = []
    for layer, (w, _), (x_in, z, mask) in reversed(
        list(zip(net.layers, views, states, strict=True))
    ):
        dz = delta * mask * _reference.ACTIVATIONS[layer.activation].slope(z, layer.alpha)
        parts = [(x_in.T @ dz).ravel(), dz.sum(axis=0), *parts]
        delta = dz @ w.T
    total = (loss.value(x, targets, net.loss_parameters).sum(axis=1) * weight).sum()
    return total, np.concatenate(parts)


def engine_gradient(case, dtype, x=None):
    p, dense, y, weight = cast(case, dtype)
    out = np.full_like(p, np.nan)
    run = _engine.Epoch(
        network(case.net, dtype, RATES), p, out, None, None, dense if x is None else x, y, weight,
        None, len(dense), None, None, 1, optimizer=-1, dropout_seed=SEED,
    )  # fmt: skip
    while not run.run(10.0):
        pass
    return run.loss, out


@pytest.mark.parametrize("activation", _engine.ACTIVATIONS)
@pytest.mark.parametrize("batch", [1, 6, 300])  # by rows, and in slabs
def test_loss_and_gradient(activation, batch, isa, dtype, threads):
    widths = [9, 300, 17, 3] if batch < 300 else [9, 33, 17, 3]  # one row of two pieces
    case = make_case(widths, activation, "softmax_cross_entropy", batch=batch, seed=1)
    masks = [factors(l, batch, widths[l + 1], rate) for l, rate in enumerate(RATES)]
    expected = masked_gradient(case, masks)
    loss, gradient = engine_gradient(case, dtype)
    assert loss == pytest.approx(expected[0], rel=10 * TOLERANCES[dtype].value)
    assert gradient_error(gradient, expected[1]) <= TOLERANCES[dtype].gradient


def test_a_sparse_first_layer_drops_the_same(isa, dtype, threads):
    case = make_case([9, 33, 17, 3], "relu", "squared_error", batch=40, seed=1)
    _, dense, *_ = cast(case, dtype)
    indices = np.tile(np.arange(9, dtype=np.int32), 40)
    x = _engine.CSR(np.arange(0, 361, 9), indices, dense.ravel(), dense.shape)
    _, expected = engine_gradient(case, dtype)
    _, gradient = engine_gradient(case, dtype, x)
    assert gradient_error(gradient, expected) <= TOLERANCES[dtype].gradient


def test_the_share_dropped_is_the_rate():
    kept = factors(0, 200, 100, 0.3) > 0
    assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.21 / kept.size)
    assert abs(kept.mean(axis=0) - 0.7).max() < 5 * np.sqrt(0.21 / 200)


def model(**options):
    layers = [fastbp.Dense(64, 40, "relu", **options), fastbp.Dense(40, 10)]
    return fastbp.Model(layers, loss="softmax_cross_entropy", seed=0)


def test_the_same_bits_at_any_number_of_threads_on_any_table(engine):
    X, y = fastbp.datasets.load_digits()
    engine.set_thread_grain(0)
    bits = set()
    for table in (name for name in engine.isas() if name != "generic"):
        engine.use_isa(table)
        for n in (1, 2, 3, 4, 7):
            engine.set_num_threads(n)
            for batch_size in (50, 300):
                net = model(dropout=0.4)
                net.fit(X, y, epochs=2, batch_size=batch_size)
                bits.add((batch_size, net.parameters.tobytes()))
    assert len(bits) == 2


def test_nothing_is_dropped_outside_fit_and_at_rate_zero():
    X, y = fastbp.datasets.load_digits()
    plain, dropping = model(), model(dropout=0.4)
    assert plain.predict(X).tobytes() == dropping.predict(X).tobytes()
    assert plain.gradient(X, y).tobytes() == dropping.gradient(X, y).tobytes()
    plain.fit(X, y, epochs=1)
    zero = model(dropout=0.0)
    zero.fit(X, y, epochs=1)
    dropping.fit(X, y, epochs=1)
    assert plain.parameters.tobytes() == zero.parameters.tobytes()
    assert plain.parameters.tobytes() != dropping.parameters.tobytes()


def test_each_epoch_drops_others():
    X, y = fastbp.datasets.load_digits()
    net = model(dropout=0.4)
    history = net.fit(X, y, epochs=2, shuffle=False, optimizer=fastbp.SGD(1e-30), batch_size=100)
    assert history.loss[0] != history.loss[1]


def test_dropout_is_saved_and_shown(tmp_path):
    net = model(dropout=0.25)
    net.save(tmp_path / "net")
    again = fastbp.Model.load(tmp_path / "net")
    assert [layer.dropout for layer in again.layers] == [0.25, 0.0]
    assert "dropout=0.25" in repr(again)
    assert "relu, dropout 0.25" in again.summary()


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="dropout: expected"):
        fastbp.Dense(3, 4, dropout=rate)


def test_not_with_bf16():
    if not _engine.bf16_isas():
        pytest.skip("needs a CPU with bf16")
    X, y = fastbp.datasets.load_digits()
    with pytest.raises(ValueError, match="precision: expected None where a layer has dropout"):
        model(dropout=0.5).fit(X, y, precision="bf16")
