"""Validation data, scores and the best weights between the iterations of L-BFGS."""

import numpy as np
import pytest
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, SPECIES = scale(datasets.load_iris().data), datasets.load_iris().target
X, XV, Y, YV = train_test_split(IRIS, SPECIES, random_state=0)
RNG = np.random.default_rng(0)
NOISE, NOISEV = RNG.normal(size=len(X)), RNG.normal(size=len(XV))
SMALL = {"solver": "lbfgs", "hidden_layer_sizes": (12, 8), "random_state": 3, "max_iter": 9}
VALIDATION = ("validation_scores_", "validation_loss_curve_", "best_validation_score_")


def after(kind, iterations, *data, **parameters):
    return kind(**SMALL | parameters | {"max_iter": iterations}).fit(*data)


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_scores_and_losses_of_a_classifier(dtype):
    ours = MLPClassifier(dtype=dtype, **SMALL).fit(X, Y, validation_data=(XV, YV))
    assert ours.n_iter_ == len(ours.validation_scores_) == len(ours.validation_loss_curve_) == 9
    for i in range(9):
        then = after(MLPClassifier, i + 1, X, Y, dtype=dtype)
        assert ours.validation_scores_[i] == metrics.accuracy_score(YV, then.predict(XV))
        loss = metrics.log_loss(YV, then.predict_proba(XV))
        np.testing.assert_allclose(ours.validation_loss_curve_[i], loss, rtol=1e-4)
    assert len(set(ours.validation_loss_curve_)) == 9
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    np.testing.assert_array_equal(ours.predict_proba(XV), then.predict_proba(XV))


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
def test_scores_of_a_regressor(scoring):
    ours = MLPRegressor(scoring=scoring, **SMALL).fit(X, NOISE, validation_data=(XV, NOISEV))
    scorer = metrics.get_scorer(scoring or "r2")
    expected = [scorer(after(MLPRegressor, i + 1, X, NOISE), XV, NOISEV) for i in range(9)]
    np.testing.assert_allclose(ours.validation_scores_, expected, rtol=1e-10)


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_best_weights(scoring, early_stopping):
    settings = SMALL | {"max_iter": 60, "early_stopping": early_stopping, "scoring": scoring}
    last = MLPRegressor(**settings).fit(X, NOISE, validation_data=(XV, NOISEV))
    best = int(np.argmax(last.validation_scores_))
    assert best < 59
    np.testing.assert_array_equal(last.predict(X), after(MLPRegressor, 60, X, NOISE).predict(X))
    ours = MLPRegressor(restore_best_weights=True, **settings)
    ours.fit(X, NOISE, validation_data=(XV, NOISEV))
    assert (ours.n_iter_, ours.loss_) == (60, last.loss_)
    then = after(MLPRegressor, best + 1, X, NOISE)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))
    ours.set_params(warm_start=True, max_iter=3).fit(X, NOISE, validation_data=(XV, NOISEV))
    assert len(ours.validation_scores_) == 63
    assert ours.best_validation_score_ == max(ours.validation_scores_)


def test_without_validation_data_there_is_nothing_to_restore():
    ours = MLPRegressor(restore_best_weights=True, **SMALL).fit(X, NOISE)
    np.testing.assert_array_equal(ours.predict(X), after(MLPRegressor, 9, X, NOISE).predict(X))
    assert not any(hasattr(ours, name) for name in VALIDATION)


def test_a_fit_without_validation_data_forgets_that_of_an_earlier_one():
    ours = MLPClassifier(**SMALL).fit(X, Y, validation_data=(XV, YV)).fit(X, Y)
    assert not any(hasattr(ours, name) for name in VALIDATION)


def test_callbacks_see_the_scores_and_stop_by_them():
    stop = fastbp.EarlyStopping("val_loss", patience=3)
    ours = MLPRegressor(callbacks=[stop], **SMALL | {"max_iter": 60})
    ours.fit(X, NOISE, validation_data=(XV, NOISEV))
    best = int(np.argmin(ours.validation_loss_curve_))
    assert ours.n_iter_ == best + 4
    then = after(MLPRegressor, best + 1, X, NOISE)
    np.testing.assert_array_equal(ours.predict(X), then.predict(X))


def test_lines(capsys):
    ours = MLPClassifier(verbose=True, **SMALL).fit(X, Y, validation_data=(XV, YV))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Validation score: {ours.validation_scores_[-1]:f}"
    assert len(lines) == 18


def test_bad_validation_data():
    with pytest.raises(ValueError, match="Input X of validation_data contains NaN"):
        MLPClassifier(**SMALL).fit(X, Y, validation_data=(XV * np.nan, YV))
