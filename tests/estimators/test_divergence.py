"""Training that stops being finite: an error or, if asked for, an early end with a warning."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import fastbp
from fastbp import MLPClassifier, MLPRegressor, from_sklearn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
TARGETS = {MLPClassifier: np.arange(60) % 3, MLPRegressor: RNG.normal(size=60)}
SMALL = {"hidden_layer_sizes": (5,), "random_state": 0, "batch_size": 20}

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy"),
]


def bits(estimator):
    return [a.tobytes() for a in (*estimator.coefs_, *estimator.intercepts_)]


def is_finite(estimator):
    return all(np.isfinite(a).all() for a in (*estimator.coefs_, *estimator.intercepts_))


class SpoilX(fastbp.Callback):
    """Makes X such, after some epochs, that the next one is not finite."""

    def __init__(self, x, epochs):
        self.x, self.epochs = x, epochs

    def on_epoch_end(self, model, history):
        if len(history) == self.epochs:
            self.x[:] = np.nan


def spoilt(kind, epochs=3, **parameters):
    """An estimator, what to fit it to, and what it looks like after that number of epochs."""
    x = X.copy()
    e = kind(callbacks=[SpoilX(x, epochs)], **SMALL | parameters)
    before = kind(**SMALL | parameters | {"max_iter": epochs})
    return e, (x, TARGETS[kind]), before.fit(X, TARGETS[kind])


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_stop_keeps_the_last_finite_weights(kind, solver):
    e, data, before = spoilt(kind, solver=solver, on_divergence="stop")
    place = "the loss stopped being finite in epoch 4, minibatch 1; scale X and y, lower the learn"
    with pytest.warns(ConvergenceWarning, match=f"with the last finite weights: {place}"):
        e.fit(*data)
    assert bits(e) == bits(before)
    assert (e.n_iter_, e.loss_, e.loss_curve_) == (3, before.loss_, before.loss_curve_)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("way", ["raise", "stop"])
def test_lbfgs_keeps_the_last_finite_weights(kind, way):
    e, data, before = spoilt(kind, solver="lbfgs", on_divergence=way)
    message = "the loss or a weight is not finite after iteration 3; .*scale X and y"
    if way == "stop":
        with pytest.warns(ConvergenceWarning, match=message):
            e.fit(*data)
    else:
        with pytest.raises(fastbp.DivergenceError, match=message):
            e.fit(*data)
    assert bits(e) == bits(before)
    assert (e.n_iter_, e.loss_) == (3, before.loss_)


@pytest.mark.parametrize("alpha", [0.0, 1e-4])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_penalty_that_overflows_is_divergence(solver, alpha):
    """The weights are finite, and so is the loss without it."""
    settings = {"learning_rate_init": 1e-9, "momentum": 0.0, "activation": "tanh", "alpha": alpha}
    e = MLPClassifier(solver=solver, warm_start=True, **SMALL | settings)
    e.fit(X, TARGETS[MLPClassifier])
    e.coefs_[0][:] = 1e160
    with pytest.raises(fastbp.DivergenceError, match=r"loss .*finite"):
        e.fit(X, TARGETS[MLPClassifier])
    assert is_finite(e)
    assert np.isfinite(e.loss_)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_stop_keeps_the_best_weights(solver):
    settings = {"solver": solver, "learning_rate_init": 0.05, "activation": "tanh"}
    noise, held = RNG.normal(size=60), (RNG.normal(size=(20, 4)), RNG.normal(size=20))
    more = {"restore_best_weights": True, "max_iter": 60, "n_iter_no_change": 60}
    plain = MLPRegressor(**SMALL | settings | more).fit(X, noise, validation_data=held)
    assert plain.n_iter_ == 60
    best = int(np.argmax(plain.validation_scores_))
    x = X.copy()
    e = MLPRegressor(callbacks=[SpoilX(x, 59)], on_divergence="stop", **SMALL | settings | more)
    with pytest.warns(ConvergenceWarning, match="with the best weights"):
        e.fit(x, noise, validation_data=held)
    assert best < 58
    assert e.n_iter_ == 59
    np.testing.assert_array_equal(e.predict(X), plain.predict(X))
    assert np.isfinite(e.loss_)


@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs"}], ids=str)
def test_stop_in_the_first_epoch(parameters):
    """There are no figures of it, and the weights are those that were drawn."""
    e = MLPRegressor(on_divergence="stop", **SMALL | parameters)
    e.fit(X, TARGETS[MLPRegressor])
    with pytest.warns(ConvergenceWarning, match="Training diverged .* scale X and y"):
        e.fit(X, TARGETS[MLPRegressor] * 1e300)
    assert is_finite(e)
    assert np.isnan(e.loss_)
    assert e.n_iter_ == 0


def test_a_partial_fit_stops_too():
    e = MLPRegressor(on_divergence="stop", **SMALL).partial_fit(X, TARGETS[MLPRegressor])
    before, loss = bits(e), e.loss_
    with pytest.warns(ConvergenceWarning, match="last finite weights"):
        e.partial_fit(X, TARGETS[MLPRegressor] * 1e300)
    assert bits(e) == before
    assert e.loss_ == loss
    e.partial_fit(X, TARGETS[MLPRegressor])
    assert len(e.loss_curve_) == 2


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_fit_that_does_not_diverge_is_the_same(solver):
    fits = [
        MLPRegressor(solver=solver, on_divergence=way, **SMALL).fit(X, TARGETS[MLPRegressor])
        for way in ("raise", "stop")
    ]
    assert bits(fits[0]) == bits(fits[1])


def test_bad_values():
    for bad in ("warn", None, True):
        with pytest.raises(ValueError, match="on_divergence"):
            MLPRegressor(on_divergence=bad, **SMALL).fit(X, TARGETS[MLPRegressor])


def test_from_scikit_learn_and_back():
    theirs = sklearn.neural_network.MLPRegressor(**SMALL).fit(X, TARGETS[MLPRegressor])
    ours = from_sklearn(theirs)
    assert ours.on_divergence == "raise"
    back = ours.set_params(on_divergence="stop").to_sklearn()
    np.testing.assert_allclose(back.predict(X), theirs.predict(X))


# ------------------------------------------------------------------------------- hostile values

FLAT = {"activation": "relu", "learning_rate_init": 1e6, "max_iter": 100}
HOSTILE = {
    "y 1e300": (MLPRegressor, 1.0, 1e300, {}),
    "y 3e38 of float32": (MLPRegressor, 1.0, 1e38, {"dtype": "float32"}),
    "x 1e38 of float32": (MLPRegressor, 1e38, 1.0, {"dtype": "float32"}),
    "x 1e38 of float32, classes": (MLPClassifier, 1e38, None, {"dtype": "float32"}),
    "x 1e300": (MLPRegressor, 1e300, 1.0, {}),
    "rate 1e6": (MLPRegressor, 1.0, 1.0, FLAT),
    "rate 1e6, classes": (MLPClassifier, 1.0, None, FLAT),
    "rate 1e200": (MLPRegressor, 1.0, 1.0, {"learning_rate_init": 1e200, "max_iter": 3}),
    "rate 1e160, no penalty": (
        MLPClassifier,
        1.0,
        None,
        {"learning_rate_init": 1e160, "alpha": 0.0, "max_iter": 3},
    ),
}


@pytest.mark.parametrize("way", ["raise", "stop"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_values(case, solver, way):
    """An error or a warning with advice, finite weights, and no figure that is not finite."""
    kind, factor, target, parameters = HOSTILE[case]
    y = TARGETS[kind] if target is None else TARGETS[kind] * target
    e = kind(solver=solver, on_divergence=way, **SMALL | parameters)
    advice = "scale X and y" + ("" if solver == "lbfgs" else ", lower the learning rate")
    message = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            e.fit(X * factor, y)
        except fastbp.DivergenceError as error:
            assert way == "raise"
            message = str(error)
    if way == "stop":
        found = [str(w.message) for w in caught if "Training diverged" in str(w.message)]
        message = found[0] if found else None
    assert is_finite(e)
    assert np.isfinite(getattr(e, "loss_curve_", [])).all()
    if case.startswith("rate") and solver in (("lbfgs", "adam") if "1e6" in case else ("lbfgs",)):
        assert message is None  # one has no rate, the other's steps are huge, but finite
        assert np.isfinite(e.loss_)
    else:
        assert advice in message
