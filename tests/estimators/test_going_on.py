"""Fits that go on with the weights that are there: `partial_fit` and warm starts."""

import numpy as np
import pytest

from fastbp import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
TARGETS = {MLPClassifier: np.arange(30) % 3, MLPRegressor: RNG.normal(size=30)}
SMALL = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bits(estimator):
    return [a.tobytes() for a in (*estimator.coefs_, *estimator.intercepts_)]


OTHERS = {
    "wider": ({"hidden_layer_sizes": (5, 6)}, r"hidden_layer_sizes: .*\[5, 4\].*\[5, 6\]"),
    "fewer": ({"hidden_layer_sizes": 5}, r"hidden_layer_sizes: .*\[5, 4\].*\[5\]"),
    "none": ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes: .*\[5, 4\].*\[\]"),
    "dtype": ({"dtype": "float32"}, "dtype: expected float64 or None.*got float32"),
    "activations": ({"activation": ["tanh"]}, "activation: .* of 2 hidden layers, got 1"),
    "dropouts": ({"dropout": [0.1] * 3}, "dropout: .* of 2 hidden layers, got 3"),
}


@pytest.mark.parametrize("way", ["partial_fit", "warm start", "warm start of lbfgs"])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("other", OTHERS)
def test_another_network_is_refused(other, kind, way):
    change, message = OTHERS[other]
    y = TARGETS[kind]
    e, untouched = (kind(**SMALL).fit(X, y) for _ in range(2))
    before, parameters = bits(e), e.get_params()
    solver = {"solver": "lbfgs"} if "lbfgs" in way else {}
    e.set_params(warm_start=way != "partial_fit", **solver | change)
    with pytest.raises(ValueError, match=message):
        e.partial_fit(X, y) if way == "partial_fit" else e.fit(X, y)
    assert bits(e) == before
    for estimator in (e.set_params(**parameters), untouched):
        estimator.partial_fit(X, y)
    assert bits(e) == bits(untouched)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("same", [[5, 4], np.array([5, 4])], ids=str)
def test_the_same_network_in_other_words(same, kind):
    e = kind(**SMALL).fit(X, TARGETS[kind])
    e.set_params(hidden_layer_sizes=same, dtype=np.float64).partial_fit(X, TARGETS[kind])
    assert len(e.loss_curve_) == 4


@pytest.mark.parametrize("kind", TARGETS)
def test_a_fit_anew_takes_another_network(kind):
    e = kind(**SMALL).fit(X, TARGETS[kind])
    e.set_params(hidden_layer_sizes=7, dtype="float32").fit(X, TARGETS[kind])
    assert [(w.shape[0], w.dtype.name) for w in e.coefs_] == [(4, "float32"), (7, "float32")]
