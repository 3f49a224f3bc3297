"""Training with ``precision="bf16"``: whose products are rounded, and nothing else."""

import numpy as np
import pytest

import fastbp
from fastbp import _engine
from fastbp.config import get_num_threads, set_num_threads

KINDS = _engine.bf16_isas()
needs_bf16 = pytest.mark.skipif(not KINDS, reason="this machine has no bf16")
every_kind = pytest.mark.parametrize("kind", KINDS)
NETS = [[3, 5, 4], [40, 33, 10], [130, 300, 65, 7]]
BATCHES = [1, 31, 33, 100, 1500]


def rounded(x):
    """Return x with 8 bits of precision, ties to even."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.rint(mantissa * 256), exponent - 8)


def gradient_of_tanh_net(model, x, y):
    """The two passes in float64, with the factors of each product rounded."""
    inputs = [x.astype(np.float64)]
    for w, b in zip(model.weights, model.biases, strict=True):
        z = rounded(inputs[-1]) @ rounded(w) + b
        inputs.append(np.tanh(z))
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    dz = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[y]
    parts = []
    for layer in range(len(model.weights) - 1, -1, -1):
        x = inputs[layer]
        parts[:0] = [(rounded(x).T @ rounded(dz)).ravel(), dz.sum(axis=0)]
        dz = rounded(dz) @ rounded(model.weights[layer]).T * (1 - x**2)
    return np.concatenate(parts)


def problem(net, n, dtype=np.float32):
    rng = np.random.default_rng(n)
    model = fastbp.Model(net, activation="tanh", loss="softmax_cross_entropy", seed=1)
    model.parameters = model.parameters + rng.standard_normal(model.n_parameters) * 0.1
    return model, rng.standard_normal((n, net[0])).astype(dtype), rng.integers(0, net[-1], n)


def gradient(kind, model, x, y):
    g = np.full(model.n_parameters, np.nan, np.float32)
    epoch = _engine.Epoch(
        model._network,
        model.parameters,
        g,
        None,
        None,
        x,
        y.astype(np.int32),
        None,
        None,
        len(x),
        None,
        None,
        1,
        optimizer=-1,
        bf16=kind,
    )
    while not epoch.run(1.0):
        pass
    return g


@pytest.fixture
def threads():
    """Choose the number of threads, all of which then work."""
    before, grain = get_num_threads(), _engine.get_thread_grain()
    _engine.set_thread_grain(0.0)
    yield set_num_threads
    set_num_threads(before)
    _engine.set_thread_grain(grain)


@every_kind
@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("n", BATCHES)
def test_gradient(kind, net, n):
    """That of float64 with rounded factors, but where a sum falls to the other side of a tie."""
    model, x, y = problem(net, n)
    expected = gradient_of_tanh_net(model, x, y)
    found = gradient(kind, model, x, y)
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)
    exact = model.gradient(x, y)
    assert np.linalg.norm(found - exact) > 1e-3 * np.linalg.norm(exact)


@every_kind
@pytest.mark.parametrize("n", [*BATCHES, 2100])
def test_same_bits_on_any_threads(kind, n, threads):
    model, x, y = problem([130, 300, 65, 7], n)
    results = []
    for count in (1, 2, 3, 4, 7):
        threads(count)
        results.append(gradient(kind, model, x, y).tobytes())
    assert set(results) == {results[0]}


@every_kind
@pytest.mark.parametrize("layout", ["float64", "Fortran", "strided", "reversed"])
def test_same_bits_from_any_layout(kind, layout):
    model, x, y = problem([130, 64, 7], 100)
    other = {
        "float64": x.astype(np.float64),
        "Fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": x[::-1].copy()[::-1],
    }[layout]
    assert gradient(kind, model, other, y).tobytes() == gradient(kind, model, x, y).tobytes()


@needs_bf16
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": fastbp.Adam(weight_decay=1e-3)},
        {"optimizer": fastbp.SGD(0.05, momentum=0.9, nesterov=True, clip_norm=1.0), "l2": 0.1},
        {"optimizer": fastbp.RMSprop(1e-3), "batch_size": 1797, "epochs": 30},
        {"batch_size": 7, "epochs": 2, "sample_weight": np.linspace(0, 2, 1797)},
    ],
    ids=["Adam", "SGD", "RMSprop", "weighted"],
)
def test_fit_follows_that_in_float32(options):
    x, y = fastbp.datasets.load_digits()
    losses = {}
    for precision in (None, "bf16"):
        model = fastbp.Model([64, 48, 33, 10], loss="softmax_cross_entropy", seed=0)
        options = {"epochs": 5, "batch_size": 100} | options
        losses[precision] = np.array(model.fit(x, y, precision=precision, **options)["loss"])
        assert np.isfinite(model.parameters).all()
    np.testing.assert_allclose(losses["bf16"], losses[None], rtol=0.05, atol=2e-3)
    assert not np.array_equal(losses["bf16"], losses[None])


@needs_bf16
def test_same_model_from_any_threads(threads):
    x, y = fastbp.datasets.load_digits()
    results = []
    for count in (1, 2, 3, 4):
        threads(count)
        model = fastbp.Model([64, 100, 10], loss="softmax_cross_entropy", seed=0)
        model.fit(x, y, epochs=2, batch_size=200, precision="bf16")
        results.append(model.parameters.tobytes())
    assert set(results) == {results[0]}


@needs_bf16
def test_gradient_and_predict_stay_in_float32():
    model, x, y = problem([40, 33, 10], 100)
    before = model.gradient(x, y), model.predict(x)
    parameters = model.parameters.copy()
    model.fit(x, y, epochs=1, precision="bf16")
    model.parameters = parameters
    np.testing.assert_array_equal(model.gradient(x, y), before[0])
    np.testing.assert_array_equal(model.predict(x), before[1])


@pytest.mark.parametrize("given", ["bfloat16", "float32", 16, np.float32])
def test_other_precisions(given):
    model, x, y = problem([3, 5, 4], 10)
    with pytest.raises(ValueError, match="precision: expected None or 'bf16'"):
        model.fit(x, y, precision=given)


def test_float64_model():
    model = fastbp.Model([3, 5, 4], loss="squared_error", dtype="float64")
    with pytest.raises(ValueError, match="float64"):
        model.fit(np.ones((2, 3)), np.ones((2, 4)), precision="bf16")


def test_machine_without(monkeypatch):
    monkeypatch.setattr(_engine, "bf16_isas", tuple)
    model, x, y = problem([3, 5, 4], 10)
    before = model.parameters.copy()
    with pytest.raises(RuntimeError, match=r"AMX-BF16 or AVX512-BF16.*float32"):
        model.fit(x, y, precision="bf16")
    np.testing.assert_array_equal(model.parameters, before)


def test_unknown_kind():
    model, x, y = problem([3, 5, 4], 10)
    with pytest.raises(ValueError, match="bf16 must be one of"):
        gradient("fp8", model, x, y)
