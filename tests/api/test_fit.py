"""Training: what the oracle in NumPy gives, continuation, interruption, divergence, metrics."""

import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastbp
from fastbp import _engine, _reference, _training

RNG = np.random.default_rng(0)
OPTIMIZERS = {
    "sgd": (fastbp.SGD(0.05), {"optimizer": "sgd"}),
    "momentum": (fastbp.SGD(0.05, momentum=0.9), {"optimizer": "sgd", "beta1": 0.9}),
    "nesterov": (
        fastbp.SGD(0.05, momentum=0.8, nesterov=True),
        {"optimizer": "sgd", "beta1": 0.8, "nesterov": True},
    ),
    "adam": (
        fastbp.Adam(0.01, weight_decay=0.1),
        {"optimizer": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1},
    ),
    "adamw": (
        fastbp.AdamW(0.01, beta1=0.8, beta2=0.99, eps=1e-6),
        {"optimizer": "adam", "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "decoupled_decay": 0.01},
    ),
    "rmsprop": (
        fastbp.RMSprop(0.01, alpha=0.9, momentum=0.5),
        {"optimizer": "rmsprop", "beta1": 0.5, "beta2": 0.9, "eps": 1e-8},
    ),
    "adagrad": (fastbp.Adagrad(0.05), {"optimizer": "adagrad", "eps": 1e-10}),
    "clipped": (fastbp.SGD(0.05, clip_norm=0.3), {"optimizer": "sgd", "clip_norm": 0.3}),
}


def oracle(model, update, X, y, weight, orders, batch_size, rates):
    """Losses (one a batch) and final parameters of the same training in plain NumPy."""
    layers = [_reference.Layer(k.n_in, k.n_out, k.activation.name) for k in model.layers]
    net = _reference.Network(layers, model.loss_function.name)
    batches = [
        (order[start : start + batch_size], None)
        for order in orders
        for start in range(0, len(order), batch_size)
    ]
    batches = [(rows, rate) for (rows, _), rate in zip(batches, rates, strict=True)]
    steps = list(_reference.train(net, update, model.parameters.copy(), (X, y, weight), batches))
    return np.array([loss for loss, _, _ in steps]), steps[-1][2]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_is_the_oracle_s_training(name, weighted):
    """Three epochs over minibatches of 8 with a last one of 5, an l2 penalty and a schedule."""
    optimizer, settings = OPTIMIZERS[name]
    rate, epochs, batch_size, n = optimizer.learning_rate, 3, 8, 21
    optimizer = replace(optimizer, learning_rate=fastbp.InverseScaling(rate))
    X, y = RNG.normal(size=(n, 3)), RNG.normal(size=(n, 2))
    weight = RNG.random(n) + 0.1 if weighted else np.ones(n)
    model = fastbp.Model(
        [3, 6, 2], loss="squared_error", activation="tanh", dtype="float64", seed=5
    )

    rng = np.random.default_rng(5)
    for layer in model.layers:  # the weights come first from the same stream
        rng.uniform(size=(layer.n_in, layer.n_out))
    orders = [rng.permutation(n) for _ in range(epochs)]
    rates = rate / np.sqrt(np.arange(1, 10))
    update = _reference.Update(**settings, l2=0.2)
    losses, parameters = oracle(model, update, X, y, weight, orders, batch_size, rates)

    history = model.fit(
        X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, l2=0.2,
        sample_weight=weight if weighted else None,
    )  # fmt: skip
    assert_allclose(model.parameters, parameters, rtol=0, atol=1e-11 * abs(parameters).max())
    assert_allclose(history.loss, losses.reshape(epochs, 3).sum(axis=1) / weight.sum(), rtol=1e-11)


def test_without_shuffling_samples_come_in_order(regression):
    model, X, y = regression
    twin = fastbp.Model(model.layers, loss="squared_error", seed=1)
    model.fit(X, y, epochs=1, batch_size=6, optimizer=fastbp.SGD(0.1), shuffle=False)
    for start in range(0, 20, 6):
        rows = slice(start, start + 6)
        gradient = twin.gradient(X[rows], y[rows]) / len(X[rows])
        twin.parameters -= np.float32(0.1) * gradient
    assert_allclose(model.parameters, twin.parameters, rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", [case[0] for case in OPTIMIZERS.values()], ids=OPTIMIZERS)
def test_fits_with_an_equal_optimizer_are_one_fit(optimizer, regression):
    model, X, y = regression
    schedule = fastbp.Cosine(optimizer.learning_rate, epochs=4)
    once = fastbp.Model(model.layers, loss="squared_error", seed=1)
    options = {"batch_size": 8, "optimizer": replace(optimizer, learning_rate=schedule)}
    whole = once.fit(X, y, epochs=4, **options)
    parts = []
    for _ in range(4):
        # an equal optimizer, not the same object
        options["optimizer"] = replace(options["optimizer"])
        parts += model.fit(X, y, epochs=1, **options).loss
    assert parts == whole.loss
    assert_array_equal(model.parameters, once.parameters)


def test_another_optimizer_starts_afresh(regression):
    model, X, y = regression
    model.fit(X, y, epochs=2, optimizer=fastbp.Adam(0.01))
    fresh = fastbp.Model(model.layers, loss="squared_error", seed=0)
    fresh.parameters = model.parameters
    for each in (model, fresh):
        each.fit(X, y, epochs=2, optimizer=fastbp.Adam(0.02), shuffle=False)
    assert_array_equal(model.parameters, fresh.parameters)


def test_a_refused_fit_does_not_end_the_optimizer_s_state(regression):
    model, X, y = regression
    twin = fastbp.Model(model.layers, loss="squared_error", seed=1)
    for each in (model, twin):
        each.fit(X, y, epochs=1)
    with pytest.raises(ValueError, match="monitor"):
        model.fit(X, y, optimizer=fastbp.SGD(), callbacks=[fastbp.EarlyStopping()])
    for each in (model, twin):
        each.fit(X, y, epochs=1)
    assert_array_equal(model.parameters, twin.parameters)


def test_weights_are_repetitions():
    X, y, counts = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)), np.array([1, 0, 2, 3, 0, 1])
    models = [fastbp.Model([3, 4, 2], loss="squared_error", dtype="float64", seed=0) for _ in "ab"]
    options = {"epochs": 5, "batch_size": 100, "optimizer": fastbp.SGD(0.1, momentum=0.5)}
    weighted = models[0].fit(X, y, sample_weight=counts, **options)
    repeated = models[1].fit(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), **options)
    assert_allclose(models[0].parameters, models[1].parameters, rtol=0, atol=1e-13)
    assert_allclose(weighted.loss, repeated.loss, rtol=1e-12)


def test_a_minibatch_without_weight_has_neither_gradient_nor_penalty(regression):
    model, X, y = regression
    weight = np.r_[np.ones(10), np.zeros(10)]
    twin = fastbp.Model(model.layers, loss="squared_error", seed=1)
    options = {"epochs": 1, "batch_size": 10, "shuffle": False, "optimizer": fastbp.SGD(0.1)}
    options["l2"] = 0.5
    history = model.fit(X, y, sample_weight=weight, **options)
    assert history.loss == twin.fit(X[:10], y[:10], **options).loss
    assert_array_equal(model.parameters, twin.parameters)


# ------------------------------------------------------------------------------------ interruption


@pytest.fixture
def busy():
    """A model and data whose epochs last for seconds."""
    model = fastbp.Model([256, 512, 512, 1], loss="squared_error", seed=0)
    return model, RNG.normal(size=(20_000, 256)).astype("f4"), RNG.normal(size=20_000)


@pytest.fixture
def ctrl_c():
    """Sends Ctrl-C to the main thread after some seconds, also where a shell has it ignored."""
    timers, before = [], signal.signal(signal.SIGINT, signal.default_int_handler)

    def send(seconds):
        timers.append(threading.Timer(seconds, signal.raise_signal, [signal.SIGINT]))
        timers[0].start()

    yield send
    timers[0].join()
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_finished_minibatches(busy, ctrl_c):
    model, X, y = busy
    before = model.parameters.copy()
    ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=50, batch_size=32, optimizer=fastbp.SGD(1e-4))
    assert not np.array_equal(model.parameters, before)
    assert np.isfinite(model.parameters).all()
    assert len(model.history) < 50
    model.fit(X[:100], y[:100], epochs=1)


@pytest.mark.parametrize("precision", [None, *(["bf16"] if _engine.bf16_isas() else [])])
def test_a_callback_may_change_the_parameters_within_an_epoch(monkeypatch, precision):
    """The compiled core keeps copies of the weights, which must not outlive them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 48)).astype(np.float32), rng.integers(0, 3, 1000)
    monkeypatch.setattr(_training, "_SLICE", 0.0)  # a look after each minibatch

    class Halve(fastbp.Callback):
        def on_progress(self, model, history, epoch):
            if epoch == 0.4:
                model.parameters *= 0.5

    model, twin = (
        fastbp.Model([48, 256, 96, 3], loss="softmax_cross_entropy", seed=0, dtype="float32")
        for _ in range(2)
    )
    options = {"epochs": 1, "batch_size": 100, "shuffle": False, "precision": precision}
    model.fit(X, y, callbacks=[Halve()], **options)
    twin.fit(X[:400], y[:400], **options)
    twin.parameters *= 0.5
    twin.fit(X[400:], y[400:], **options)
    assert_array_equal(model.parameters, twin.parameters)


def test_interrupted_training_stands_at_a_finished_minibatch(busy):
    model, X, y = busy

    class Interrupt(fastbp.Callback):
        def on_progress(self, model, history, epoch):
            raise KeyboardInterrupt

    options = {"batch_size": 100, "shuffle": False, "optimizer": fastbp.Adam(1e-4)}
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, callbacks=[Interrupt()], **options)
    done = model._state.steps
    assert 0 < done < 200
    assert model._state.epochs == done / 200
    twin = fastbp.Model(model.layers, loss="squared_error", seed=0)
    twin.fit(X[: 100 * done], y[: 100 * done], epochs=1, **options)
    assert_array_equal(model.parameters, twin.parameters)
    rest = slice(100 * done, 100 * done + 300)  # and goes on from there
    for each in (model, twin):
        each.fit(X[rest], y[rest], epochs=1, **options)
    assert_array_equal(model.parameters, twin.parameters)


# -------------------------------------------------------------------------------------- divergence


def test_divergence_keeps_finite_parameters_and_finished_epochs(regression):
    model, X, y = regression
    history = model.fit(X, y, epochs=2)
    with pytest.raises(
        fastbp.DivergenceError, match=r"in epoch \d+, minibatch \d+; .*learning_rate"
    ):
        model.fit(X, y, epochs=5000, optimizer=fastbp.SGD(1e6, momentum=0.99))
    assert np.isfinite(model.parameters).all()
    assert model.history is not history
    assert np.isfinite(model.history.loss).all()
    assert issubclass(fastbp.DivergenceError, FloatingPointError | ValueError)


def test_divergence_of_the_loss_names_its_minibatch():
    X, y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
    X[13] = 3e38
    options = {"batch_size": 5, "optimizer": fastbp.SGD(0.01), "shuffle": False, "epochs": 1}
    model, twin = (fastbp.Model([3, 5, 2], loss="squared_error", seed=1) for _ in "ab")
    message = "the loss stopped being finite in epoch 1, minibatch 3;"
    with pytest.raises(fastbp.DivergenceError, match=message):
        model.fit(X, y, **options)
    twin.fit(X[:10], y[:10], **options)
    assert_array_equal(model.parameters, twin.parameters)
    assert len(model.history) == 0


def test_divergence_of_a_parameter_names_its_minibatch(regression):
    model, X, y = regression

    class Leap(fastbp.Schedule):
        def __call__(self, step, epoch):
            return np.where(step == 5, 1e300, 1e-3)

    message = "the parameters stopped being finite in epoch 2, minibatch 2;"
    with pytest.raises(fastbp.DivergenceError, match=message):
        model.fit(X, y, batch_size=5, optimizer=fastbp.SGD(Leap()))
    assert np.isfinite(model.parameters).all()
    assert len(model.history) == 1


def test_nonfinite_parameters_do_not_train(regression):
    model, X, y = regression
    model.weights[0][0, 0] = np.nan
    with pytest.raises(fastbp.DivergenceError, match="in epoch 1, minibatch 1"):
        model.fit(X, y)


# ----------------------------------------------------------------------------------------- metrics


def test_validation_figures_are_those_of_the_model_after_the_epoch(classification):
    model, X, y = classification
    history = model.fit(X[:15], y[:15], epochs=3, validation_data=(X[15:], y[15:]))
    assert history.val_loss[-1] == model.loss(X[15:], y[15:], reduction="mean")
    right = model.predict(X[15:]).argmax(axis=1) == y[15:]
    assert history.metrics["val_accuracy"][-1] == right.mean()


@pytest.mark.parametrize(
    ("loss", "metric"),
    [(name, "val_accuracy" if "entropy" in name else "val_r2") for name in fastbp.losses.LOSSES],
)
def test_each_loss_has_its_metric(loss, metric):
    model = fastbp.Model([3, 2], loss=loss, seed=0)
    X = RNG.normal(size=(8, 3))
    y = np.arange(8) % 2 if loss == "softmax_cross_entropy" else RNG.random((8, 2))
    assert list(model.fit(X, y, epochs=1, validation_data=(X, y)).metrics) == [metric]


def test_accuracy():
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
    assert fastbp.metrics.accuracy(np.array([1, 0, 0, 0]), probabilities) == 0.75
    targets = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert fastbp.metrics.accuracy(targets, probabilities) == 0.75


COLUMN = np.full((4, 1), 0.7)


@pytest.mark.parametrize(
    ("metric", "y", "predicted", "error", "message"),
    [
        ("accuracy", [1, 0, 0, 0], [1, 0, 1, 0], ValueError, r"^predicted: .*1-d of .* np\.mean"),
        ("accuracy", ["a"] * 4, COLUMN, TypeError, "^y: .*return_inverse"),
        ("accuracy", [1, 0, 0, 0], COLUMN, ValueError, r"^y: .* 0, got 1; .*reshape\(-1, 1\)"),
        ("accuracy", [0, 2, 0, 1], np.eye(4)[:, :2], ValueError, "^y: .* from 0 to 1, got 2$"),
        ("accuracy", [0, 1], COLUMN, ValueError, r"^y: .*labels \(4,\) or .*got shape \(2,\)"),
        ("r2", np.ones(4), COLUMN, ValueError, r"^y: expected shape \(4, 1\), got \(4,\); y\.resh"),
    ],
    ids=["labels", "texts", "1-d binary", "beyond", "length", "1-d"],
)
def test_metrics_refuse_what_they_would_misread(metric, y, predicted, error, message):
    with pytest.raises(error, match=message):
        getattr(fastbp.metrics, metric)(y if metric == "accuracy" else np.array(y), predicted)


def test_accuracy_of_distributions():
    model = fastbp.Model([2, 3], loss="softmax_cross_entropy", seed=0)
    X = RNG.normal(size=(30, 2))
    likeliest = model.predict(X).argmax(axis=1)
    y = np.full((30, 3), 0.3)
    y[np.arange(30), likeliest] = 0.4
    still = {"epochs": 1, "optimizer": fastbp.SGD(1e-12)}
    history = model.fit(X, y, validation_data=(X, y), **still)
    assert history.metrics["val_accuracy"] == [1.0]


def test_r2_is_scikit_learn_s():
    r2_score = pytest.importorskip("sklearn.metrics").r2_score
    y, predicted = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 3))
    y[:, 1] = 2.0
    assert fastbp.metrics.r2(y, predicted) == pytest.approx(r2_score(y, predicted), rel=1e-14)
    predicted[:, 1] = 2.0
    assert fastbp.metrics.r2(y, predicted) == pytest.approx(r2_score(y, predicted), rel=1e-14)


# --------------------------------------------------------------------------------- the whole thing


def test_digits_are_learned():
    X, y = fastbp.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    model = fastbp.Model([64, 128, 10], loss="softmax_cross_entropy", seed=0)
    history = model.fit(X[:1437], y[:1437], epochs=20, validation_data=(X[1437:], y[1437:]))
    assert history.metrics["val_accuracy"][-1] >= 0.97
    assert history.loss[-1] < 0.05 < history.loss[0]


def test_labels_that_change_during_a_fit_do_not_reach_the_core():
    """The core indexes memory with labels: it must see only those that were checked."""
    y = np.zeros(64, np.int32)

    class Changes(fastbp.Callback):
        def on_epoch_end(self, model, history):
            y[:] = 2_000_000_000

    model = fastbp.Model([4, 8, 3], loss="softmax_cross_entropy", seed=0)
    history = model.fit(np.ones((64, 4)), y, epochs=3, callbacks=[Changes()])
    assert history.loss[2] < history.loss[0]


LOST = {
    "zero in float32": ([1.0, 1e-50, 1.0], r"float32 can hold.*got 1e-50 in row 1; multiply all"),
    "denormal": ([1.0, 1.0, 1e-40], r"float32 can hold.*got 1e-40 in row 2"),
    "infinite in float32": ([1e39, 1.0, 1.0], r"float32 can hold.*got 1e\+39 in row 0"),
    "sum": ([3e37] * 3, r"a sum of at most 8\.51e\+37, got 9e\+37; multiply all by a constant, or"),
}


@pytest.mark.parametrize("case", LOST)
def test_weights_that_float32_would_lose(case):
    weight, message = LOST[case]
    X, y = np.eye(3), np.ones(3)
    for dtype in ("float32", "float64"):
        model = fastbp.Model([3, 1], loss="squared_error", dtype=dtype, seed=0)
        before = model.parameters.copy()
        options = {"sample_weight": weight, "optimizer": fastbp.SGD(0.1)}
        if dtype == "float64":
            assert np.isfinite(model.fit(X, y, **options).loss).all()
            assert (model.parameters != before).any()
            continue
        with pytest.raises(ValueError, match=f"^sample_weight: expected.*{message}"):
            model.fit(X, y, **options)
        assert_array_equal(model.parameters, before)


def test_the_least_and_the_greatest_weights_of_float32():
    X, y = np.eye(3), np.ones(3)
    for weight in (np.finfo(np.float32).tiny, 2.8e37):
        model = fastbp.Model([3, 1], loss="squared_error", seed=0)
        before = model.parameters.copy()
        model.fit(X, y, sample_weight=[weight] * 3, optimizer=fastbp.SGD(0.1))
        assert (model.parameters != before).any()
