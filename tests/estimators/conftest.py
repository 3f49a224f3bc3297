"""The same call to scikit-learn's estimator and to fastbp's."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

from fastbp import estimators

# older ones lack sample_weight and poisson, or have other rules; their estimator checks still hold
collect_ignore_glob = (
    ["test_same*", "test_scikit_learn_suite.py", "test_beyond.py", "test_conversion.py"]
    if parse_version(sklearn.__version__) < parse_version("1.9")
    else []
)
SMALL = {"hidden_layer_sizes": (12, 8), "random_state": 3, "max_iter": 20}


class Pair:
    """scikit-learn's estimator and fastbp's with equal parameters, called one after the other."""

    def __init__(self, name, **parameters):
        parameters = SMALL | parameters
        self.theirs = getattr(sklearn.neural_network, name)(**parameters)
        self.ours = getattr(estimators, name)(**parameters)
        assert type(self.ours) is not type(self.theirs)

    def __iter__(self):
        return iter((self.theirs, self.ours))

    def call(self, method, *args, **kwargs):
        """Call a method of both, which must warn of the same kinds of things."""
        kinds = []
        for estimator in self:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                getattr(estimator, method)(*args, **kwargs)
            kinds.append({w.category for w in caught} & {ConvergenceWarning, UserWarning})
        assert kinds[0] == kinds[1]
        return self

    def fit(self, *args, **kwargs):
        return self.call("fit", *args, **kwargs)

    def set_params(self, **parameters):
        return self.call("set_params", **parameters)

    def check_training(self, rtol, atol=0.0):
        """Compare what training has recorded."""
        theirs, ours = self
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol, atol)
        for name in ("n_iter_", "t_", "n_outputs_", "n_layers_", "out_activation_"):
            assert getattr(ours, name) == getattr(theirs, name), name
        if theirs.solver == "lbfgs":
            return
        for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
            expected = getattr(theirs, name)
            if expected is None:
                assert getattr(ours, name) is None, name
            else:
                np.testing.assert_allclose(getattr(ours, name), expected, rtol, atol, err_msg=name)

    def check_coefficients(self, rtol, atol):
        for name in ("coefs_", "intercepts_"):
            arrays = [getattr(estimator, name) for estimator in self]
            for expected, mine in zip(*arrays, strict=True):
                np.testing.assert_allclose(mine, expected, rtol, atol, err_msg=name)
                assert mine.dtype == expected.dtype, name

    def check_predictions(self, X, rtol, atol):
        """Compare values, probabilities, and the labels that are not a matter of rounding."""
        theirs, ours = self
        if not hasattr(theirs, "predict_proba"):
            expected = theirs.predict(X)
            assert ours.predict(X).dtype == expected.dtype
            np.testing.assert_allclose(ours.predict(X), expected, rtol, atol)
            return
        expected, labels = theirs.predict_proba(X), theirs.predict(X)
        np.testing.assert_allclose(ours.predict_proba(X), expected, rtol, atol)
        assert ours.predict_proba(X).dtype == expected.dtype
        assert ours.predict(X).dtype == labels.dtype
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        if theirs.out_activation_ == "softmax":
            two = np.sort(expected, axis=1)[:, -2:]
            clear = two[:, 1] - two[:, 0] > 2 * atol
        else:
            clear = (abs(expected - 0.5) > atol).all(axis=1)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(ours.predict(X)[clear], labels[clear])

    def check_float64(self, X):
        """Compare all: nothing but the order of sums is between them."""
        self.check_training(rtol=1e-8)
        self.check_coefficients(rtol=1e-6, atol=1e-8)
        self.check_predictions(X, rtol=1e-6, atol=1e-6)


@pytest.fixture
def pair():
    """The class of both estimators at once."""
    return Pair
