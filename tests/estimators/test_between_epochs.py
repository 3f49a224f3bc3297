"""Validation data, scores, the weights of the best epoch, callbacks, what is printed."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
NAMES = np.array(["setosa", "versicolor", "virginica"])
X, XV, Y, YV = train_test_split(IRIS, SPECIES, random_state=0)
T, TV = X[:, 2] * X[:, 0], XV[:, 2] * XV[:, 0]
RNG = np.random.default_rng(0)
NOISE, NOISEV = RNG.normal(size=len(X)), RNG.normal(size=len(XV))
SMALL = {"hidden_layer_sizes": (12, 8), "random_state": 3, "max_iter": 8, "batch_size": 16}
RATE = {"learning_rate_init": 0.01}
SETTINGS = {"adam": RATE, "sgd": {"solver": "sgd", **RATE}, "float32": {"dtype": "float32", **RATE}}


def after(kind, epochs, *data, **parameters):
    """The estimator after so many epochs of the same fit."""
    return kind(**SMALL | parameters | {"max_iter": epochs}).fit(*data)


# ------------------------------------------------------------------------------ validation data


@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_and_losses_of_a_classifier(settings):
    more = SETTINGS[settings]
    rtol = 1e-5 if settings == "float32" else 1e-10
    ours = MLPClassifier(**SMALL | more).fit(X, Y, validation_data=(XV, YV))
    assert len(ours.validation_scores_) == len(ours.validation_loss_curve_) == 8
    for i in range(8):
        then = after(MLPClassifier, i + 1, X, Y, **more)
        assert ours.validation_scores_[i] == metrics.accuracy_score(YV, then.predict(XV))
        loss = metrics.log_loss(YV, then.predict_proba(XV))
        np.testing.assert_allclose(ours.validation_loss_curve_[i], loss, rtol=rtol)
    assert len(set(ours.validation_loss_curve_)) == 8
    np.testing.assert_array_equal(ours.predict_proba(XV), then.predict_proba(XV))
    assert ours.best_validation_score_ == max(ours.validation_scores_)


@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_and_losses_of_a_regressor(settings):
    more = SETTINGS[settings]
    rtol = 1e-4 if settings == "float32" else 1e-10
    ours = MLPRegressor(**SMALL | more).fit(X, T, validation_data=(XV, TV))
    for i in range(8):
        predicted = after(MLPRegressor, i + 1, X, T, **more).predict(XV)
        r2 = metrics.r2_score(TV, predicted)
        np.testing.assert_allclose(ours.validation_scores_[i], r2, rtol=rtol)
        half = metrics.mean_squared_error(TV, predicted) / 2
        np.testing.assert_allclose(ours.validation_loss_curve_[i], half, rtol=rtol)


COUNTS = RNG.poisson(np.exp(X[:, 2])) + 1
KINDS = {
    "binary": (MLPClassifier, Y == 1, {}),
    "names": (MLPClassifier, NAMES[Y], {}),
    "labels": (MLPClassifier, np.stack([Y > 0, Y > 1, X[:, 0] > 0], axis=1).astype(int), {}),
    "outputs": (MLPRegressor, np.stack([T, -T, T**2], axis=1), {}),
    "poisson": (MLPRegressor, COUNTS, {"loss": "poisson"}),
    "huber": (MLPRegressor, T, {"loss": "huber"}),
    "quantiles": (MLPRegressor, T, {"loss": fastbp.Pinball([0.1, 0.9])}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_training_data_the_validation_loss_is_the_next_training_loss(kind):
    """Where one update is an epoch and there is no penalty."""
    estimator, y, loss = KINDS[kind]
    settings = SMALL | RATE | loss | {"alpha": 0.0, "batch_size": len(X)}
    ours = estimator(**settings).fit(X, y, validation_data=(X, y))
    np.testing.assert_allclose(ours.loss_curve_[1:], ours.validation_loss_curve_[:-1], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_all_kinds_of_targets(kind):
    estimator, y, loss = KINDS[kind]
    ours = estimator(**SMALL | RATE | loss).fit(X, y, validation_data=(XV, y[: len(XV)]))
    true = np.stack([T] * 2, axis=1) if kind == "quantiles" else y
    measure = metrics.accuracy_score if estimator is MLPClassifier else metrics.r2_score
    expected = measure(true[: len(XV)], ours.predict(XV))
    np.testing.assert_allclose(ours.validation_scores_[-1], expected, rtol=1e-10)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_validation_data_leave_training_as_it_is(solver):
    plain = MLPClassifier(solver=solver, **SMALL).fit(X, Y)
    watched = MLPClassifier(solver=solver, **SMALL).fit(X, Y, validation_data=(XV, YV))
    assert watched.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(watched.predict_proba(XV), plain.predict_proba(XV))


def test_early_stopping_goes_by_the_given_data():
    more = {"learning_rate_init": 0.05, "n_iter_no_change": 4, "early_stopping": True}
    settings = SMALL | more | {"max_iter": 200}
    ours = MLPRegressor(**settings).fit(X, NOISE, validation_data=(XV, NOISEV))
    scores = ours.validation_scores_
    best = int(np.argmax(scores))
    assert len(scores) == ours.n_iter_ < 200
    assert best < ours.n_iter_ - 1
    then = after(MLPRegressor, best + 1, X, NOISE, learning_rate_init=0.05)
    np.testing.assert_array_equal(ours.predict(XV), then.predict(XV))
    whole = after(MLPRegressor, ours.n_iter_, X, NOISE, learning_rate_init=0.05)
    assert ours.loss_curve_ == whole.loss_curve_  # of all of X: nothing was held out


def test_data_frames_and_sparse_data_do_not_warn():
    frame, held = (pd.DataFrame(x, columns=list("abcd")) for x in (X, XV))
    plain = MLPClassifier(**SMALL).fit(X, Y, validation_data=(XV, YV))
    for scoring in (None, "accuracy"):
        ours = MLPClassifier(**SMALL, scoring=scoring)
        ours.fit(frame, pd.Series(Y), validation_data=(held, pd.Series(YV)))
        assert ours.validation_scores_ == plain.validation_scores_
    ours = MLPClassifier(**SMALL, scoring="accuracy", early_stopping=True).fit(frame, Y)
    assert len(ours.validation_scores_) == 8


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ((XV,), TypeError),
        (XV, TypeError),
        ((XV, YV[:-1]), ValueError),
        ((XV[:, :3], YV), ValueError),
        ((XV * np.nan, YV), ValueError),
    ],
    ids=["alone", "array", "fewer y", "fewer features", "nan"],
)
def test_bad_validation_data(data, error):
    with pytest.raises(error):
        MLPClassifier(**SMALL).fit(X, Y, validation_data=data)


@pytest.mark.parametrize("y", [Y, Y == 1], ids=["multiclass", "binary"])
def test_validation_data_of_a_class_that_training_has_not(y):
    with pytest.raises(ValueError, match="class"):
        MLPClassifier(**SMALL).fit(X, y, validation_data=(XV, YV + 7))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("kind", ["multiclass", "binary", "regression", "quantiles"])
def test_validation_targets_as_a_column(kind):
    y, yv = {"multiclass": (Y, YV), "binary": (Y == 1, YV == 1)}.get(kind, (T, TV))
    loss = {"loss": fastbp.Pinball([0.1, 0.9])} if kind == "quantiles" else {}
    estimator = MLPClassifier if "class" in kind or kind == "binary" else MLPRegressor
    column = estimator(**SMALL, **loss).fit(X, y, validation_data=(XV, yv[:, None]))
    flat = estimator(**SMALL, **loss).fit(X, y, validation_data=(XV, yv))
    assert column.validation_scores_ == flat.validation_scores_
    assert column.validation_loss_curve_ == flat.validation_loss_curve_


# --------------------------------------------------------------------------------------- scoring


def balanced(estimator, x, y):
    return metrics.balanced_accuracy_score(y, estimator.predict(x))


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "neg_log_loss", "f1_macro", balanced], ids=str)
@pytest.mark.parametrize("classes", [np.arange(3), NAMES], ids=["numbers", "names"])
def test_scoring_of_a_classifier(scoring, classes):
    y, yv = classes[Y], classes[YV]
    ours = MLPClassifier(**SMALL, scoring=scoring).fit(X, y, validation_data=(XV, yv))
    scorer = scoring if callable(scoring) else metrics.get_scorer(scoring)
    expected = [scorer(after(MLPClassifier, i + 1, X, y), XV, yv) for i in range(8)]
    np.testing.assert_allclose(ours.validation_scores_, expected, rtol=1e-12)
    assert ours.best_validation_score_ == max(ours.validation_scores_)


@pytest.mark.parametrize("scoring", ["neg_mean_absolute_error", "explained_variance"])
def test_scoring_of_a_regressor(scoring):
    ours = MLPRegressor(**SMALL, scoring=scoring).fit(X, T, validation_data=(XV, TV))
    scorer = metrics.get_scorer(scoring)
    expected = [scorer(after(MLPRegressor, i + 1, X, T), XV, TV) for i in range(8)]
    np.testing.assert_allclose(ours.validation_scores_, expected, rtol=1e-12)


def test_early_stopping_by_another_score():
    settings = SMALL | {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 100}
    ours = MLPRegressor(**settings, scoring="neg_median_absolute_error", n_iter_no_change=3)
    scores = ours.fit(X, NOISE).validation_scores_
    assert max(scores) < 0
    assert ours.n_iter_ < 100
    # the same samples are held out as without `scoring`
    assert MLPRegressor(**settings).fit(X, NOISE).loss_curve_[: len(scores)] == ours.loss_curve_


def test_a_scorer_without_predict_proba_is_an_error():
    with pytest.raises(AttributeError, match="predict_proba"):
        MLPRegressor(**SMALL, scoring="roc_auc").fit(X, T, validation_data=(XV, TV))


# ---------------------------------------------------------------------------- the best weights


def test_the_epoch_of_the_lowest_training_loss():
    more = {"learning_rate_init": 0.3, "n_iter_no_change": 30}
    settings = SMALL | more | {"max_iter": 30, "restore_best_weights": True}
    ours = MLPRegressor(**settings).fit(X, NOISE)
    best = int(np.argmin(ours.loss_curve_))
    assert best < 29
    then = after(MLPRegressor, best + 1, X, NOISE, learning_rate_init=0.3)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))


def test_the_epoch_of_the_best_score():
    more = {"learning_rate_init": 0.05, "max_iter": 30, "n_iter_no_change": 30}
    ours = MLPRegressor(**SMALL | more | {"restore_best_weights": True})
    ours.fit(X, NOISE, validation_data=(XV, NOISEV))
    best = int(np.argmax(ours.validation_scores_))
    assert best != np.argmin(ours.loss_curve_)
    then = after(MLPRegressor, best + 1, X, NOISE, learning_rate_init=0.05)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))


def test_early_stopping_that_keeps_the_last_weights():
    settings = SMALL | {"learning_rate_init": 0.05, "max_iter": 60, "n_iter_no_change": 3}
    ours = MLPRegressor(**settings, early_stopping=True, restore_best_weights=False)
    ours.fit(X, NOISE, validation_data=(XV, NOISEV))
    then = after(MLPRegressor, ours.n_iter_, X, NOISE, learning_rate_init=0.05)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))


@pytest.mark.parametrize("held", [None, (XV, YV)], ids=["alone", "validated"])
def test_a_partial_fit_is_not_undone(held):
    """It is one epoch; what was best in an earlier call is none of its business."""
    ours = MLPClassifier(**SMALL | RATE, restore_best_weights=True)
    twin = MLPClassifier(**SMALL | RATE)
    for estimator in (ours, twin):
        estimator.fit(X, Y, validation_data=held)
        for _ in range(3):
            estimator.partial_fit(X[:40], Y[:40])
    np.testing.assert_array_equal(ours.predict_proba(X), twin.predict_proba(X))


def test_a_warm_fit_without_the_validation_data_of_the_first():
    ours = MLPClassifier(**SMALL | RATE, restore_best_weights=True, warm_start=True)
    ours.fit(X, Y, validation_data=(XV, YV))
    before = ours.predict_proba(X)
    ours.fit(X, Y)
    assert ours.loss_curve_[-1] < min(ours.loss_curve_[:8])
    assert abs(ours.predict_proba(X) - before).max() > 1e-3


# ------------------------------------------------------------------------------------ callbacks


class Log(fastbp.Callback):
    def __init__(self, stop_after=None):
        self.stop_after, self.begun, self.losses, self.ended = stop_after, [], [], 0

    def on_fit_begin(self, model, history, epochs):
        self.begun.append(epochs)

    def on_epoch_end(self, model, history):
        self.losses.append(history.loss[-1])
        self.columns = list(history.columns)
        return len(self.losses) == self.stop_after

    def on_fit_end(self, model, history):
        self.ended += 1


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callbacks_of_epochs(solver):
    log = Log()
    ours = MLPClassifier(solver=solver, callbacks=[log], **SMALL)
    ours.fit(X, Y, validation_data=(XV, YV))
    assert (log.begun, log.ended, log.losses) == ([8], 1, ours.loss_curve_)
    assert {"loss", "val_loss", "val_score"} <= set(log.columns)


def test_callbacks_of_lbfgs():
    log = Log()
    ours = MLPClassifier(solver="lbfgs", callbacks=[log], **SMALL).fit(X, Y)
    assert (log.begun, log.ended, len(log.losses)) == ([8], 1, ours.n_iter_)
    assert log.losses[-1] == ours.loss_
    for i in (0, 3):
        then = MLPClassifier(solver="lbfgs", **SMALL | {"max_iter": i + 1}).fit(X, Y)
        assert then.loss_ == log.losses[i]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_callback_stops_the_fit(solver):
    log = Log(stop_after=3)
    ours = MLPClassifier(solver=solver, callbacks=(log,), **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is not a lack of convergence
        ours.fit(X, Y)
    assert (ours.n_iter_, len(log.losses), log.ended) == (3, 3, 1)
    then = MLPClassifier(solver=solver, **SMALL | {"max_iter": 3}).fit(X, Y)
    np.testing.assert_array_equal(ours.predict_proba(X), then.predict_proba(X))


def test_early_stopping_as_a_callback():
    stop = fastbp.EarlyStopping("val_loss", patience=4)
    settings = SMALL | {"learning_rate_init": 0.05, "max_iter": 100}
    ours = MLPRegressor(callbacks=[stop], **settings)
    ours.fit(X, NOISE, validation_data=(XV, NOISEV))
    best = int(np.argmin(ours.validation_loss_curve_))
    assert ours.n_iter_ == best + 5
    then = after(MLPRegressor, best + 1, X, NOISE, learning_rate_init=0.05)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))


def test_early_stopping_as_a_callback_of_lbfgs():
    stop = fastbp.EarlyStopping("loss", patience=2, min_delta=10.0)
    ours = MLPClassifier(solver="lbfgs", callbacks=[stop], **SMALL).fit(X, Y)
    assert ours.n_iter_ == 3
    then = MLPClassifier(solver="lbfgs", **SMALL | {"max_iter": 1}).fit(X, Y)
    np.testing.assert_array_equal(ours.predict_proba(X), then.predict_proba(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_exception_in_a_callback_reaches_the_caller(solver):
    class Fails(fastbp.Callback):
        def on_epoch_end(self, model, history):
            raise LookupError("this one")

    log = Log()
    with pytest.raises(LookupError, match="this one"):
        MLPClassifier(solver=solver, callbacks=[log, Fails()], **SMALL).fit(X, Y)
    assert log.ended == 1


class Odd:
    def __bool__(self):
        raise ValueError("no truth")

    def __iter__(self):
        return iter([Log()])


BAD_CALLBACKS = [Log(), [Log], ["bar"], [None], 3, 0, "", "bar", {}, {Log()}, iter([Log()]), Odd()]
BAD_CALLBACKS += [np.array([Log(), Log()]), np.array([]), pd.Series([Log(), Log()]), True, np.nan]


@pytest.mark.parametrize("callbacks", BAD_CALLBACKS, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_bad_callbacks(solver, callbacks):
    """Anything but a list or tuple: an iterator, for one, would be empty in the next fit."""
    ours = MLPClassifier(solver=solver, **SMALL).fit(X, Y)
    before = [w.tobytes() for w in ours.coefs_]
    ours.set_params(callbacks=callbacks)
    with pytest.raises(TypeError, match="callbacks"):
        ours.fit(X, Y)
    assert [w.tobytes() for w in ours.coefs_] == before
    assert ours.predict(X).shape == Y.shape


@pytest.mark.parametrize("callbacks", [[], (), None])
def test_no_callbacks(callbacks):
    MLPClassifier(callbacks=callbacks, **SMALL).fit(X, Y)


def test_estimators_with_callbacks_can_be_pickled():
    ours = MLPClassifier(callbacks=[fastbp.EarlyStopping("loss")], **SMALL).fit(X, Y)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))


# ---------------------------------------------------------------------------- what is printed


def test_the_bar(capsys):
    MLPClassifier(verbose="bar", **SMALL).fit(X, Y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "8.0/8 epochs" in err
    assert "loss=" in err


def test_lines(capsys):
    ours = MLPClassifier(verbose=True, **SMALL).fit(X, Y, validation_data=(XV, YV))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {ours.loss_curve_[0]:.8f}"
    assert lines[1] == f"Validation score: {ours.validation_scores_[0]:f}"
    assert len(lines) == 16
    ours = MLPClassifier(verbose=True, solver="lbfgs", **SMALL).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Iteration 8, loss = {ours.loss_:.8f}"
