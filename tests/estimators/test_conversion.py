"""from_sklearn, to_sklearn, pickles and copies: the same predictions, and training that goes on."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor, from_sklearn

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
LABELS = np.stack([SPECIES > 0, SPECIES > 1, X[:, 0] > 0], axis=1).astype(int)
LENGTH = X[:, 2] * X[:, 0]
COUNTS = np.random.default_rng(0).poisson(np.exp(X[:, 2]))
SMALL = {"hidden_layer_sizes": (7, 5), "random_state": 2, "max_iter": 6, "batch_size": 32}

CLASSIFIER, REGRESSOR = "MLPClassifier", "MLPRegressor"
KINDS = {
    "multiclass": (CLASSIFIER, SPECIES, {}),
    "names": (CLASSIFIER, np.array(["a", "b", "c"])[SPECIES], {}),
    "binary": (CLASSIFIER, SPECIES == 1, {}),
    "labels": (CLASSIFIER, LABELS, {}),
    "regression": (REGRESSOR, LENGTH, {}),
    "outputs": (REGRESSOR, np.stack([LENGTH, -LENGTH], axis=1), {}),
    "poisson": (REGRESSOR, COUNTS, {"loss": "poisson"}),
}
SOLVERS = {
    "adam": {},
    "adam by hand": {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "momentum": 0.8},
    "no momentum": {"solver": "sgd", "momentum": 0.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
}


def of_scikit_learn(name, **parameters):
    return getattr(sklearn.neural_network, name)(
        **SMALL | {"learning_rate_init": 0.01} | parameters
    )


def predictions(estimator):
    return getattr(estimator, "predict_proba", estimator.predict)(X)


def parameters_of(estimator):
    return np.concatenate([a.ravel() for a in (*estimator.coefs_, *estimator.intercepts_)])


# --------------------------------------------------------------------------------- from_sklearn


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_from_scikit_learn_predicts_the_same(kind, solver):
    name, y, loss = KINDS[kind]
    theirs = of_scikit_learn(name, solver=solver, **loss).fit(X, y)
    before = parameters_of(theirs)
    ours = from_sklearn(theirs)
    assert type(ours) is getattr(fastbp, name)
    np.testing.assert_allclose(predictions(ours), predictions(theirs), rtol=1e-10, atol=1e-14)
    if name == CLASSIFIER:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))
    for attribute in ("n_iter_", "loss_", "t_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert ours.get_params(deep=False).items() >= theirs.get_params(deep=False).items()
    ours.coefs_[0][:] = 0
    np.testing.assert_array_equal(parameters_of(theirs), before)  # nothing is shared


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_partial_fits_go_on_after_from_scikit_learn(kind, solver):
    name, y, _ = KINDS[kind]
    theirs = of_scikit_learn(name, **SOLVERS[solver]).fit(X, y)
    ours = from_sklearn(theirs)
    for _ in range(8):
        theirs.partial_fit(X, y)
        ours.partial_fit(X, y)
    assert len(ours.loss_curve_) == 14
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)
    np.testing.assert_allclose(parameters_of(ours), parameters_of(theirs), rtol=1e-10, atol=1e-10)
    assert ours.t_ == theirs.t_


def test_the_rate_after_from_scikit_learn_has_been_lowered():
    """So that the test above says something of `adaptive`."""
    theirs = of_scikit_learn(CLASSIFIER, **SOLVERS["adaptive"]).fit(X, SPECIES)
    assert theirs._optimizer.learning_rate < 0.01
    assert from_sklearn(theirs)._optimizer.learning_rate == theirs._optimizer.learning_rate


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_fits_go_on_after_from_scikit_learn(solver, early_stopping):
    more = {"warm_start": True, "early_stopping": early_stopping}
    theirs = of_scikit_learn(CLASSIFIER, solver=solver, **more).fit(X, SPECIES)
    ours = from_sklearn(theirs)
    theirs.fit(X, SPECIES)
    ours.fit(X, SPECIES)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-8)
    np.testing.assert_allclose(predictions(ours), predictions(theirs), atol=1e-7)
    if early_stopping and solver != "lbfgs":
        assert ours.validation_scores_ == theirs.validation_scores_


def test_another_solver_goes_on_after_from_scikit_learn():
    theirs = of_scikit_learn(CLASSIFIER, solver="lbfgs", warm_start=True).fit(X, SPECIES)
    ours = from_sklearn(theirs).set_params(solver="adam").fit(X, SPECIES)
    assert len(ours.loss_curve_) == ours.n_iter_
    assert ours.loss_curve_[0] < 2 * theirs.loss_


def test_float32_and_feature_names_come_along():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abcd"))
    theirs = of_scikit_learn(CLASSIFIER).fit(frame, SPECIES)
    ours = from_sklearn(theirs)
    assert ours.predict_proba(frame).dtype == np.float32
    np.testing.assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), atol=1e-6)
    assert list(ours.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame.rename(columns={"a": "z"}))


def test_what_from_scikit_learn_refuses():
    with pytest.raises(NotFittedError):
        from_sklearn(sklearn.neural_network.MLPClassifier())
    with pytest.raises(TypeError, match="LogisticRegression"):
        from_sklearn(LogisticRegression().fit(X, SPECIES))
    with pytest.raises(TypeError, match=r"sklearn\.neural_network"):
        from_sklearn(MLPClassifier(**SMALL).fit(X, SPECIES))
    with pytest.raises(TypeError):
        from_sklearn(sklearn.neural_network.MLPClassifier)
    with pytest.raises(TypeError):
        from_sklearn(None)


# ----------------------------------------------------------------------------------- to_sklearn


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_to_scikit_learn_predicts_the_same(kind, solver):
    name, y, loss = KINDS[kind]
    ours = getattr(fastbp, name)(solver=solver, **SMALL, **loss).fit(X, y)
    theirs = ours.to_sklearn()
    assert type(theirs) is getattr(sklearn.neural_network, name)
    np.testing.assert_allclose(predictions(theirs), predictions(ours), rtol=1e-10, atol=1e-14)
    assert theirs.score(X, y) == pytest.approx(ours.score(X, y))
    theirs = pickle.loads(pickle.dumps(theirs))
    back = from_sklearn(theirs)
    np.testing.assert_array_equal(parameters_of(back), parameters_of(ours))
    assert clone(theirs).fit(X, y).loss_ == pytest.approx(ours.loss_, rel=1e-8)


def test_to_scikit_learn_can_be_trained_further():
    ours = MLPClassifier(**SMALL, warm_start=True).fit(X, SPECIES)
    theirs = ours.to_sklearn()
    theirs.partial_fit(X, SPECIES)
    assert len(theirs.loss_curve_) == 7
    assert len(ours.loss_curve_) == 6
    theirs.fit(X, SPECIES)


@pytest.mark.parametrize(
    "parameters",
    [
        {"activation": "gelu"},
        {"activation": ["relu", "tanh"]},
        {"activation": fastbp.LeakyReLU(0.1)},
        {"loss": "absolute_error"},
        {"loss": fastbp.Pinball(0.2)},
        {"solver": "adamw"},
        {"solver": fastbp.SGD(0.1)},
        {"solver": "sgd", "learning_rate": fastbp.Cosine(0.1, 5)},
    ],
    ids=str,
)
def test_what_to_scikit_learn_refuses(parameters):
    ours = MLPRegressor(**SMALL | parameters).fit(X, LENGTH)
    with pytest.raises(ValueError, match=f"'{next(reversed(parameters))}' parameter"):
        ours.to_sklearn()
    with pytest.raises(NotFittedError):
        MLPRegressor(**SMALL).to_sklearn()


# --------------------------------------------------------------------------- pickles and copies


def in_a_file(estimator, folder):
    joblib.dump(estimator, folder / "estimator")
    return joblib.load(folder / "estimator")


COPIES = {
    "pickle": lambda e, folder: pickle.loads(pickle.dumps(e)),
    "deepcopy": lambda e, folder: copy.deepcopy(e),
    "joblib": in_a_file,
}
OURS = SOLVERS | {
    "adamw": {"solver": "adamw"},
    "rmsprop": {"solver": fastbp.RMSprop(0.01, momentum=0.5), "learning_rate_init": 0.001},
    "adagrad": {"solver": "adagrad"},
    "schedule": {"learning_rate": fastbp.Cosine(0.05, 12), "learning_rate_init": 0.001},
    "float32": {"dtype": "float32"},
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("solver", OURS)
def test_partial_fits_go_on_in_a_copy(solver, how, tmp_path):
    settings = SMALL | {"learning_rate_init": 0.01} | OURS[solver]
    ours = MLPClassifier(**settings)
    for _ in range(5):
        ours.partial_fit(X, SPECIES, classes=[0, 1, 2])
    copied = COPIES[how](ours, tmp_path)
    for _ in range(5):
        copied.partial_fit(X, SPECIES)
    unmoved = parameters_of(ours)
    for _ in range(5):
        ours.partial_fit(X, SPECIES)
    assert not np.array_equal(unmoved, parameters_of(ours))
    np.testing.assert_array_equal(parameters_of(copied), parameters_of(ours))
    assert copied.loss_curve_ == ours.loss_curve_


@pytest.mark.parametrize("how", COPIES)
def test_warm_fits_with_early_stopping_go_on_in_a_copy(how, tmp_path):
    ours = MLPRegressor(**SMALL, warm_start=True, early_stopping=True).fit(X, LENGTH)
    copied = COPIES[how](ours, tmp_path).fit(X, LENGTH)
    np.testing.assert_array_equal(copied.predict(X), ours.fit(X, LENGTH).predict(X))
    assert copied.validation_scores_ == ours.validation_scores_


def test_coefficients_that_are_put_in_place_are_used():
    ours = MLPRegressor(**SMALL | {"hidden_layer_sizes": ()}).fit(X, LENGTH)
    ours.coefs_ = [np.array([[1.0], [2.0], [3.0], [4.0]])]
    ours.intercepts_[0] = np.array([5.0])
    np.testing.assert_allclose(ours.predict(X), X @ [1, 2, 3, 4] + 5, rtol=1e-12)
    ours.coefs_[0][0] = 10.0
    np.testing.assert_allclose(ours.predict(X), X @ [10, 2, 3, 4] + 5, rtol=1e-12)


@pytest.mark.parametrize("n_in", [3, 4000])
def test_coefficients_for_other_features_are_refused(n_in):
    ours = MLPRegressor(**SMALL | {"hidden_layer_sizes": ()}).fit(X, LENGTH)
    ours.coefs_ = [np.ones((n_in, 1))]
    for x in (X, scipy.sparse.csr_array(X), X.tolist()):
        for method in (ours.predict, ours.input_gradient):
            with pytest.raises((TypeError, ValueError), match=r"features|coefs_|dense"):
                method(x)
    with pytest.raises(ValueError, match=r"features|coefs_"):
        ours.partial_fit(X, LENGTH)


def test_skops_stores_an_estimator(tmp_path):
    io = pytest.importorskip("skops.io")
    ours = MLPClassifier(**SMALL).fit(X, SPECIES)
    io.dump(ours, tmp_path / "estimator")
    trusted = io.get_untrusted_types(file=tmp_path / "estimator")
    again = io.load(tmp_path / "estimator", trusted=trusted)
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))
    again.partial_fit(X, SPECIES)
    np.testing.assert_array_equal(
        again.predict_proba(X), ours.partial_fit(X, SPECIES).predict_proba(X)
    )
