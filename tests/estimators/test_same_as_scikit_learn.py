"""Same data and same seed: the same losses and predictions as scikit-learn's estimators."""

from functools import cache

import numpy as np
import pytest
from sklearn import datasets
from sklearn.preprocessing import scale

DATASETS = {
    "iris": "MLPClassifier",
    "digits": "MLPClassifier",
    "wine": "MLPClassifier",
    "breast_cancer": "MLPClassifier",
    "diabetes": "MLPRegressor",
    "linnerud": "MLPRegressor",
}
SOLVERS = {
    "adam": {"learning_rate_init": 0.01},
    "sgd": {"learning_rate_init": 0.02, "nesterovs_momentum": False},
    "sgd with nesterov": {"learning_rate_init": 0.02},
    # hardly any epoch improves by so much: the rate falls every third one
    "adaptive": {
        "learning_rate": "adaptive",
        "learning_rate_init": 0.02,
        "tol": 0.2,
        "n_iter_no_change": 2,
    },
    "invscaling": {"learning_rate": "invscaling", "learning_rate_init": 0.05, "power_t": 0.2},
    # a strong penalty: a valley of slight curvature would amplify rounding from step to step
    "lbfgs": {"max_iter": 10, "alpha": 1.0},
}
STOCHASTIC = [name for name in SOLVERS if name != "lbfgs"]
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


@cache
def standardised(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return scale(X), scale(y) if DATASETS[name] == "MLPRegressor" else y


def fitted(pair, name, solver, activation, dtype):
    X, y = standardised(name)
    X = X.astype(dtype)
    if DATASETS[name] == "MLPRegressor":
        y = y.astype(dtype)
    parameters = SOLVERS[solver]
    kind = solver if solver in ("adam", "lbfgs") else "sgd"
    both = pair(DATASETS[name], solver=kind, activation=activation, **parameters)
    return both.fit(X, y), X, y


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("name", DATASETS)
def test_stochastic_float64(pair, name, solver, activation):
    both, X, _ = fitted(pair, name, solver, activation, np.float64)
    assert len(both.theirs.loss_curve_) >= 10
    both.check_float64(X)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("name", DATASETS)
def test_stochastic_float32(pair, name, solver, activation):
    """Losses and outputs to 2e-5, outputs after Adam to 1e-3.

    Up to 180 updates each round every parameter to 2^-24 of its size; were all errors of one sign,
    they would sum to 1e-5. Adam can do worse for single outputs, not for the mean over all samples:
    where a gradient is but rounding, it takes a whole step in that direction.
    """
    both, X, _ = fitted(pair, name, solver, activation, np.float32)
    both.check_training(rtol=2e-5)
    both.check_predictions(X, rtol=0, atol=1e-3 if solver == "adam" else 2e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", DATASETS)
def test_lbfgs_float64(pair, name, activation):
    both, X, _ = fitted(pair, name, "lbfgs", activation, np.float64)
    assert both.theirs.n_iter_ >= 5
    both.check_training(rtol=1e-8)
    both.check_predictions(X, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", DATASETS)
def test_lbfgs_float32(pair, name, activation):
    """Losses to 1e-3, outputs to 1e-2.

    SciPy hands float32 parameters to scikit-learn, as the first ones were, and float64 to fastbp:
    each of ten line searches starts from an error of 1e-7, relative to the largest parameter, and
    an inverse Hessian of condition 1e4 makes 1e-3 of it.
    """
    both, X, _ = fitted(pair, name, "lbfgs", activation, np.float32)
    theirs, ours = both
    np.testing.assert_allclose(ours.loss_, theirs.loss_, 1e-3)
    both.check_predictions(X, rtol=0, atol=1e-2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", DATASETS)
def test_the_adaptive_rate_falls(pair, name, activation):
    """So that the comparison of `adaptive` is one."""
    both, X, y = fitted(pair, name, "adaptive", activation, np.float64)
    constant = pair(DATASETS[name], solver="sgd", activation=activation, learning_rate_init=0.02)
    constant.fit(X, y)
    assert both.theirs._optimizer.learning_rate <= 0.02 / 5**3
    assert not np.allclose(both.ours.loss_curve_, constant.ours.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("name", DATASETS)
def test_seeds_and_solvers_make_a_difference(pair, name):
    """So that equal losses of two estimators are no accident."""
    curves = [fitted(pair, name, s, "relu", np.float64)[0].ours.loss_curve_ for s in STOCHASTIC]
    X, y = standardised(name)
    other = pair(DATASETS[name], random_state=4, solver="adam", learning_rate_init=0.01)
    curves.append(other.fit(X, y).ours.loss_curve_)
    for i, first in enumerate(curves):
        for second in curves[:i]:
            assert not np.allclose(first[:10], second[:10], rtol=1e-4)


# ------------------------------------------------------------------------ data as they come


UNSCALED = {
    "iris": {"learning_rate_init": 0.01},
    "digits": {"learning_rate_init": 0.001},
    "wine": {"learning_rate_init": 0.001, "activation": "tanh"},
    "breast_cancer": {"learning_rate_init": 0.001, "activation": "logistic"},
    "diabetes": {"learning_rate_init": 0.01},
    "linnerud": {"learning_rate_init": 0.01, "activation": "logistic"},
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", DATASETS)
def test_unscaled(pair, name, solver):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    parameters = SOLVERS["lbfgs"] if solver == "lbfgs" else {}
    both = pair(DATASETS[name], solver=solver, **UNSCALED[name] | parameters).fit(X, y)
    both.check_training(rtol=1e-8)
    both.check_predictions(X, rtol=1e-6, atol=1e-6)


def saturated(pair, y, dtype, solver):
    """A pair whose outputs are all but 0 and 1, continued with targets that are often wrong."""
    X = standardised("iris")[0].astype(dtype)
    both = pair("MLPClassifier", solver=solver, max_iter=1, warm_start=True, alpha=0.0).fit(X, y)
    for estimator in both:
        for array in (*estimator.coefs_, *estimator.intercepts_):
            np.multiply(array, 30, out=array)
    both.set_params(learning_rate_init=1e-12)
    return both.fit(X, np.roll(y, 70, axis=0)), X


TARGETS = {
    "binary": lambda y: y > 0,
    "multiclass": lambda y: y,
    "multilabel": lambda y: np.stack([y > 0, y > 1, y != 1], axis=1).astype(int),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_loss_of_clipped_probabilities(pair, kind, dtype, solver):
    y = TARGETS[kind](standardised("iris")[1])
    both, X = saturated(pair, y, dtype, solver)
    probability = both.theirs.predict_proba(X)
    clipped = (probability < np.finfo(dtype).eps) | (probability > 1 - np.finfo(dtype).eps)
    assert clipped.mean() > 0.5
    assert both.theirs.loss_ > 1
    # near 1, theirs knows a probability to an epsilon only, and so log(1 - p) near the cap to one
    # bit, of which few samples are that near
    both.check_training(rtol=1e-3 if kind != "multiclass" else 1e-6)
    both.check_predictions(X, rtol=1e-5, atol=1e-6)
