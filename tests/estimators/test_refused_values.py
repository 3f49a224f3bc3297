"""Values that cannot be computed with are refused, with their place."""

import re

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network

from fastbp import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
FORMATS = {
    "dense": np.array,
    "Fortran": np.asfortranarray,
    "misaligned": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "list": lambda x: x.tolist(),
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_matrix,
}
WORDS = {np.nan: "NaN", -np.inf: "infinity or a value too large for dtype"}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bits(estimator):
    return [a.tobytes() for a in (*estimator.coefs_, *estimator.intercepts_)]


def with_value(value, dtype=np.float64):
    """X with a value in row 12 that is the first by rows, but not by columns."""
    copy = np.where(X > 0, X, 0.0).astype(dtype)
    copy[12, :3] = 0.0  # the first that is stored of its row
    copy[12, 3] = copy[20, 0] = value
    return copy


def calls(bad, **parameters):
    """Each way into an estimator, and the name that it has for X there."""
    fitted = MLPClassifier(**SMALL | parameters).fit(X, Y)
    held = MLPClassifier(**SMALL | parameters)
    before = bits(fitted)
    yield "X", lambda: fitted.partial_fit(bad, Y)
    yield "X", lambda: fitted.predict(bad)
    yield "X", lambda: fitted.predict_proba(bad)
    yield "X", lambda: fitted.transform(bad)
    yield "X", lambda: fitted.fit(bad, Y)
    assert bits(fitted) == before
    yield "X", lambda: MLPRegressor(solver="lbfgs", **SMALL | parameters).fit(bad, Y)
    yield "X of validation_data", lambda: held.fit(X, Y, validation_data=(bad, Y))


@pytest.mark.parametrize("value", WORDS)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_in_x(kind, dtype, value):
    for name, call in calls(FORMATS[kind](with_value(value, dtype))):
        # the first of a CSC matrix is that of its first column
        place = "row 20, column 0" if kind == "csc" else "row 12, column 3"
        with pytest.raises(ValueError, match=f"^Input {name} contains {WORDS[value]}.*{place}"):
            call()


@pytest.mark.parametrize("value", [1e39, -1e300])
@pytest.mark.parametrize("kind", FORMATS)
def test_values_beyond_float32_in_x(kind, value):
    x = FORMATS[kind](with_value(value))
    for name, call in calls(x, dtype="float32"):
        with pytest.raises(ValueError, match=f"^Input {name} contains infinity or a value") as info:
            call()
        place = "row 20, column 0" if kind == "csc" else "row 12, column 3"
        assert f"dtype('float32'). ({value:g} in {place}; scale X" in str(info.value)
    plain = MLPClassifier(**SMALL).fit(X.astype(np.float32), Y)
    with pytest.raises(ValueError, match=re.escape(f"({value:g} in row")):
        plain.predict(x)


def test_the_largest_values_of_float32_are_taken():
    largest = float(np.finfo(np.float32).max)
    x = np.array([[largest, -largest, 0.0, 1.0]])
    for given in (x, scipy.sparse.csr_array(x)):
        assert MLPClassifier(dtype="float32", **SMALL).fit(X, Y).predict(given).shape == (1,)


@pytest.mark.parametrize("method", ["fit", "predict"])
@pytest.mark.parametrize("value", WORDS)
def test_the_words_are_those_of_scikit_learn(method, value):
    bad = with_value(value)
    messages = []
    for kind in (sklearn.neural_network.MLPClassifier, MLPClassifier):
        e = kind(**SMALL).fit(X, Y)
        with pytest.raises(ValueError, match="Input X contains") as info:
            e.fit(bad, Y) if method == "fit" else e.predict(bad)
        messages.append(str(info.value).split("\n")[0].rstrip("."))
    assert messages[1].startswith(messages[0])


def test_what_is_stored_beyond_a_sparse_matrix_is_not_in_it():
    x = scipy.sparse.csr_array(np.where(X > 0, X, 0.0))
    longer = scipy.sparse.csr_array(x.shape)
    longer.indptr, longer.indices = x.indptr, np.append(x.indices, 0).astype(x.indices.dtype)
    longer.data = np.append(x.data, np.nan)
    e = MLPClassifier(**SMALL).fit(X, Y)
    np.testing.assert_array_equal(e.predict_proba(longer), e.predict_proba(x))


def test_who_says_that_all_is_finite_is_believed():
    with sklearn.config_context(assume_finite=True):
        assert MLPClassifier(**SMALL).fit(X, Y).predict(with_value(np.nan)).shape == (30,)


WEIGHTS = {"1e-50": "got 1e-50 in row 7", "1e39": r"got 1e\+39 in row 7"}


@pytest.mark.parametrize("value", WEIGHTS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_weights_that_float32_would_lose(kind, solver, value):
    weight = np.ones(30)
    weight[7] = float(value)
    message = f"^sample_weight: expected .*float32 can hold.*{WEIGHTS[value]}"
    e = kind(solver=solver, dtype="float32", **SMALL)
    with pytest.raises(ValueError, match=message):
        e.fit(X, Y, sample_weight=weight)
    if solver != "lbfgs":
        e.fit(X, Y)
        before = bits(e)
        with pytest.raises(ValueError, match=message):
            e.partial_fit(X, Y, sample_weight=weight)
        assert bits(e) == before
    wide = kind(solver=solver, **SMALL).fit(X, Y, sample_weight=weight)
    assert np.isfinite(wide.loss_)


@pytest.mark.parametrize("weight", [1e-50, 1e39, -1.0, np.nan])
def test_weights_of_classes_that_are_no_weights(weight):
    e = MLPClassifier(dtype="float32", class_weight={1: weight}, **SMALL)
    with pytest.raises(ValueError, match=r"^class_weight times sample_weight: .*, got .* in row 1"):
        e.fit(X, Y, sample_weight=np.ones(30))
