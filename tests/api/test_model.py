"""The model: parameters and views, passes, trace, text, copies, threads."""

import copy
import pickle
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastbp
from fastbp.layers import ACTIVATIONS
from fastbp.losses import LOSSES

RNG = np.random.default_rng(0)


# -------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_are_one_aligned_vector_with_views(dtype):
    model = fastbp.Model([3, 5, 2], loss="squared_error", dtype=dtype, seed=0)
    assert model.n_parameters == model.parameters.size == 3 * 5 + 5 + 5 * 2 + 2
    assert model.parameters.ctypes.data % 64 == 0
    model.parameters = np.arange(model.n_parameters)
    w0, b0, w1, b1 = model.weights[0], model.biases[0], model.weights[1], model.biases[1]
    assert_array_equal(w0, np.arange(15).reshape(3, 5))
    assert_array_equal(b0, np.arange(15, 20))
    assert_array_equal(w1, np.arange(20, 30).reshape(5, 2))
    assert_array_equal(b1, [30, 31])
    model.weights[1][2, 0] = -7.0
    assert model.parameters[24] == -7.0
    assert all(np.shares_memory(view, model.parameters) for view in (w0, b0, w1, b1))


def test_assigned_parameters_are_copied():
    model = fastbp.Model([3, 2], loss="squared_error", seed=0)
    values, vector = np.ones(8), model.parameters
    model.parameters = values
    values[:] = 2
    assert model.parameters is vector
    assert_array_equal(vector, 1)
    model.parameters += 1
    assert_array_equal(vector, 2)
    with pytest.raises(AttributeError, match="weights"):
        model.weights = [np.ones((3, 2))]


def test_weights_are_drawn_layer_by_layer_and_rounded_for_float32():
    rng = np.random.default_rng(7)
    limits = [np.sqrt(6 / 3), np.sqrt(6 / (5 + 2))]  # He for relu, Glorot for the output
    expected = [
        rng.uniform(-limits[0], limits[0], (3, 5)),
        rng.uniform(-limits[1], limits[1], (5, 2)),
    ]
    for dtype in ("float32", "float64"):
        model = fastbp.Model([3, 5, 2], loss="squared_error", dtype=dtype, seed=7)
        for weights, drawn in zip(model.weights, expected, strict=True):
            assert_array_equal(weights, drawn.astype(dtype))
    assert_array_equal(np.concatenate(model.biases), 0)


def test_seeds():
    def first(seed):
        return fastbp.Model([3, 2], loss="squared_error", seed=seed).parameters[0]

    assert first(1) == first(np.int64(1)) != first(2)
    assert first(None) != first(None)


def test_layers_and_widths_are_the_same():
    widths = fastbp.Model([3, 5, 4, 2], loss="squared_error", activation="tanh", seed=0)
    layers = fastbp.Model(
        [fastbp.Dense(3, 5, "tanh"), fastbp.Dense(5, 4, "tanh"), fastbp.Dense(4, 2)],
        loss="squared_error",
        seed=0,
    )
    assert widths.layers == layers.layers
    assert_array_equal(widths.parameters, layers.parameters)


def test_model_s_initializer_is_for_layers_without_their_own():
    layers = [fastbp.Dense(3, 5, initializer="lecun_normal"), fastbp.Dense(5, 2)]
    model = fastbp.Model(layers, loss="squared_error", initializer="he_normal")
    assert [layer.initializer for layer in model.layers] == [
        fastbp.LeCunNormal(),
        fastbp.HeNormal(),
    ]


# ------------------------------------------------------------------------------------------ passes


def targets(loss, n, n_out):
    """Targets that the loss accepts, of every kind it knows."""
    if loss == "softmax_cross_entropy":
        probabilities = RNG.dirichlet(np.ones(n_out), n)
        return [RNG.integers(0, n_out, n), probabilities, list(map(int, RNG.integers(0, n_out, n)))]
    values = RNG.random((n, n_out))
    return [values, np.asfortranarray(values), values > 0.5, values.tolist()]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_passes_agree_with_each_other(loss, activation):
    model = fastbp.Model([3, 6, 4], loss=loss, activation=activation, dtype="float64", seed=0)
    X, weight = RNG.normal(size=(7, 3)), RNG.random(7)
    for y in targets(loss, 7, 4):
        each = model.loss(X, y, reduction="none")
        assert each.shape == (7,)
        assert model.loss(X, y) == pytest.approx(each.sum(), rel=1e-14)
        assert model.loss(X, y, weight) == pytest.approx((weight * each).sum(), rel=1e-14)
        mean = model.loss(X, y, weight, reduction="mean")
        assert mean == pytest.approx((weight * each).sum() / weight.sum(), rel=1e-14)
        assert_allclose(model.loss(X, y, weight, "none"), weight * each, rtol=1e-14)

        rows = model.per_sample_gradient(X, y)
        assert rows.shape == (7, model.n_parameters)
        assert_allclose(model.gradient(X, y), rows.sum(axis=0), rtol=0, atol=1e-13)
        assert_allclose(model.gradient(X, y, weight), weight @ rows, rtol=0, atol=1e-13)
        total, gradient = model.loss_and_gradient(X, y, weight)
        assert total == pytest.approx(model.loss(X, y, weight), rel=1e-14)
        assert_array_equal(gradient, model.gradient(X, y, weight))


def test_gradient_is_the_slope_of_the_loss(classification):
    model, X, y = classification
    model = fastbp.Model(model.layers, loss="softmax_cross_entropy", dtype="float64", seed=1)
    gradient, start = model.gradient(X, y), model.parameters.copy()
    direction = np.random.default_rng(3).normal(size=start.size)
    difference = 0.0
    for sign in (1, -1):
        model.parameters = start + sign * 1e-6 * direction
        difference += sign * model.loss(X, y) / 2e-6
    assert difference == pytest.approx(gradient @ direction, rel=1e-7)


def test_predictions_follow_the_loss():
    X = RNG.normal(size=(5, 3))
    links = {
        "softmax_cross_entropy": lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        "binary_cross_entropy": lambda z: 1 / (1 + np.exp(-z)),
        "poisson": np.exp,
    }
    for loss in LOSSES:
        model = fastbp.Model([3, 6, 4], loss=loss, dtype="float64", seed=0)
        z = model.logits(X)
        by_hand = np.maximum(X @ model.weights[0] + model.biases[0], 0) @ model.weights[1]
        assert_allclose(z, by_hand, rtol=1e-13, atol=1e-14)
        assert_allclose(model.predict(X), links.get(loss, lambda z: z)(z), rtol=1e-13)


def test_one_row_and_one_column():
    model = fastbp.Model([1, 4, 1], loss="squared_error", seed=0)
    assert model.predict([[2]]).shape == (1, 1)
    assert model.predict([[2]]).dtype == np.float32
    assert model.loss([[2], [3]], [1, 2]) == model.loss([[2], [3]], [[1], [2]])
    model.fit([[2]], [1], epochs=1)


def test_out_is_filled_and_returned(classification):
    model, X, y = classification
    out = np.full(model.n_parameters, np.nan, np.float32)
    assert model.gradient(X, y, out=out) is out
    assert_array_equal(out, model.gradient(X, y))
    rows = np.full((len(X), model.n_parameters), np.nan, np.float32)
    assert model.per_sample_gradient(X, y, out=rows) is rows
    assert_array_equal(rows, model.per_sample_gradient(X, y))


def test_quantiles_are_learned_one_for_each_output():
    quantiles = (0.1, 0.5, 0.9)
    model = fastbp.Model([1, 3], loss=fastbp.Pinball(quantiles), dtype="float64", seed=0)
    values = np.random.default_rng(0).exponential(size=(2000, 1))
    y, X = np.repeat(values, 3, axis=1), np.zeros((2000, 1))
    model.fit(X, y, epochs=60, optimizer=fastbp.Adam(fastbp.Cosine(0.05, 60)))
    assert_allclose(model.predict(X[:1])[0], np.quantile(values, quantiles), atol=0.03)


# ------------------------------------------------------------------------------------------- trace


def test_trace_of_a_net_worked_by_hand():
    """A 2-2-2 sigmoid net and one sample, all numbers worked out on paper to five digits.

    z0 = x w0 + b0 = (0.3775, 0.3925)          a0 = (0.59327, 0.59688)
    z1 = a0 w1 + b1 = (1.10591, 1.22492)       a1 = (0.75137, 0.77293)
    da1 = a1 - y = (0.74137, -0.21707)         slope1 = a1 (1 - a1) = (0.18682, 0.17551)
    dz1 = slope1 da1 = (0.13850, -0.03810)
    da0 = dz1 w1' = (0.03635, 0.04137)         slope0 = a0 (1 - a0) = (0.24130, 0.24061)
    dz0 = slope0 da0 = (0.00877, 0.00995)
    """
    layers = [fastbp.Dense(2, 2, "sigmoid"), fastbp.Dense(2, 2, "sigmoid")]
    model = fastbp.Model(layers, loss="squared_error", dtype="float64")
    model.weights[0][:] = [[0.15, 0.25], [0.20, 0.30]]
    model.weights[1][:] = [[0.40, 0.50], [0.45, 0.55]]
    model.biases[0][:], model.biases[1][:] = 0.35, 0.60
    first, second = model.trace([[0.05, 0.10]], [[0.01, 0.99]])
    expected = {
        "x": ((0.05, 0.10), (0.59327, 0.59688)),
        "z": ((0.3775, 0.3925), (1.10591, 1.22492)),
        "a": ((0.59327, 0.59688), (0.75137, 0.77293)),
        "slope": ((0.24130, 0.24061), (0.18682, 0.17551)),
        "da": ((0.03635, 0.04137), (0.74137, -0.21707)),
        "dz": ((0.00877, 0.00995), (0.13850, -0.03810)),
    }
    for name, values in expected.items():
        for layer, numbers in zip((first, second), values, strict=True):
            assert_allclose(getattr(layer, name), [numbers], rtol=0, atol=5.01e-6, err_msg=name)
    gradient = model.gradient([[0.05, 0.10]], [[0.01, 0.99]])
    assert_allclose(gradient[6:10], [0.08217, -0.02260, 0.08267, -0.02274], atol=5.01e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_trace_agrees_with_the_engine(activation, dtype):
    layers = [fastbp.Dense(3, 6, activation), fastbp.Dense(6, 5, activation), fastbp.Dense(5, 4)]
    model = fastbp.Model(layers, loss="softmax_cross_entropy", dtype=dtype, seed=0)
    X, y = RNG.normal(size=(7, 3)).astype(dtype), RNG.integers(0, 4, 7)
    traces = model.trace(X, y)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert_allclose(traces[-1].z, model.logits(X), rtol=0, atol=tolerance)
    parts = [(t.x.T @ t.dz, t.dz.sum(axis=0)) for t in traces]
    gradient = np.concatenate([part.ravel() for pair in parts for part in pair])
    assert_allclose(gradient, model.gradient(X, y), rtol=0, atol=tolerance)
    for below, above, weights in zip(traces, traces[1:], model.weights[1:], strict=False):
        assert_array_equal(below.a, above.x)
        assert_allclose(below.dz, below.slope * (above.dz @ weights.T), rtol=1e-14)


# -------------------------------------------------------------------------------------------- text


def test_repr():
    make = fastbp.Model
    dense = fastbp.Dense
    cases = {
        "Model([64, 32, 10], loss='poisson', activation='relu', dtype='float32')": make(
            [64, 32, 10], loss="poisson"
        ),
        "Model([4, 3], loss=Huber(delta=2.0), dtype='float64')": make(
            [4, 3], loss=fastbp.Huber(2), dtype=np.float64
        ),
        "Model([4, 3, 2], loss='poisson', activation=LeakyReLU(alpha=0.2), initializer=HeNormal(), "
        "dtype='float32')": make(
            [4, 3, 2], loss="poisson", activation=fastbp.LeakyReLU(0.2), initializer="he_normal"
        ),
        "Model([Dense(2, 3, 'tanh'), Dense(3, 1, ELU(alpha=1.0), initializer=GlorotNormal())], "
        "loss='squared_error', dtype='float32')": make(
            [dense(2, 3, "tanh"), dense(3, 1, "elu", "glorot_normal")], loss="squared_error"
        ),
        "Model([Dense(2, 3, 'relu', initializer=HeNormal()), Dense(3, 1, 'identity')], "
        "loss='squared_error', dtype='float32')": make(
            [dense(2, 3, "relu", "he_normal"), dense(3, 1)], loss="squared_error"
        ),
    }
    for text, model in cases.items():
        assert repr(model) == text
        again = eval(text, vars(fastbp))
        assert (again.layers, again.loss_function, again.dtype) == (
            model.layers, model.loss_function, model.dtype,
        )  # fmt: skip


def test_summary():
    layers = [fastbp.Dense(784, 1024, fastbp.LeakyReLU(0.2)), fastbp.Dense(1024, 10)]
    model = fastbp.Model(layers, loss=fastbp.Huber(), seed=0)
    assert model.summary().splitlines() == [
        "layer  inputs x outputs            activation  parameters",
        "-" * 57,
        "0            784 x 1024  LeakyReLU(alpha=0.2)     803,840",
        "1             1024 x 10              identity      10,250",
        "-" * 57,
        "total                    float32, 3,180.0 KiB     814,090",
        "loss: Huber(delta=1.0)",
    ]


# -------------------------------------------------------------------------------- copies, threads


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_goes_on_as_the_original_would(classification, duplicate):
    model, X, y = classification
    model.metadata = {"a": [1]}
    model.fit(X, y, epochs=2, batch_size=8)
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    assert twin.metadata == {"a": [1]}
    assert not np.shares_memory(twin.parameters, model.parameters)
    twin.metadata["a"].append(2)
    assert model.metadata == {"a": [1]}
    for each in (model, twin):
        each.fit(X, y, epochs=2, batch_size=8)
    assert_array_equal(twin.parameters, model.parameters)
    assert twin.history.loss == model.history.loss


def test_a_second_fit_at_the_same_time_is_refused(classification):
    model, X, y = classification
    entered, leave = threading.Event(), threading.Event()

    class Wait(fastbp.Callback):
        def on_epoch_end(self, model, history):
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=lambda: model.fit(X, y, epochs=1, callbacks=[Wait()]))
    thread.start()
    try:
        assert entered.wait(10)
        with pytest.raises(RuntimeError, match="fit: this model is being fitted already"):
            model.fit(X, y)
        assert model.predict(X).shape == (20, 4)
    finally:
        leave.set()
        thread.join()
    model.fit(X, y, epochs=1)


def test_passes_from_many_threads_at_once(classification):
    model, X, y = classification
    expected, wrong = model.gradient(X, y), []

    def work():
        for _ in range(200):
            if not np.array_equal(model.gradient(X, y), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
