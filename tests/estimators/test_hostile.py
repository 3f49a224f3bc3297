"""Bad input: a ValueError or TypeError, never a crash, and weights whose bits have not moved."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import fastbp
from fastbp import estimators
from fastbp.estimators import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
REAL = RNG.normal(size=30)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
ESTIMATORS = {"MLPClassifier": Y, "MLPRegressor": REAL}
SOLVERS = ("adam", "sgd", "lbfgs")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def new(name, **parameters):
    return getattr(estimators, name)(**SMALL | parameters)


def with_value(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


def bits(estimator):
    return [a.tobytes() for a in (*estimator.coefs_, *estimator.intercepts_)]


def outcome(function):
    """The kind of exception, or what is returned."""
    try:
        return function()
    except (ValueError, TypeError) as error:
        return ValueError if isinstance(error, ValueError) else type(error)


# ------------------------------------------------------------------------------- parameters


NUMBERS = ("alpha", "learning_rate_init", "power_t", "tol", "momentum", "validation_fraction")
NUMBERS += ("beta_1", "beta_2", "epsilon", "batch_size", "max_iter", "n_iter_no_change", "max_fun")
BAD_NUMBERS = (np.nan, -np.inf, -1, "0.1", None, [1], 1j, np.array([1.0]), b"1", object())


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=repr)
@pytest.mark.parametrize("parameter", NUMBERS)
def test_bad_numbers(parameter, bad):
    for name, y in ESTIMATORS.items():
        with pytest.raises(ValueError, match=parameter):
            new(name, **{parameter: bad}).fit(X, y)


@pytest.mark.parametrize("parameter", sorted(set(NUMBERS) - {"n_iter_no_change"}))
def test_infinite_numbers(parameter):
    with pytest.raises(ValueError, match=parameter):
        new("MLPClassifier", **{parameter: np.inf}).fit(X, Y)


@pytest.mark.parametrize(
    "value", [True, False, np.float32(0.5), np.int64(1), np.True_, Fraction(1, 2)], ids=repr
)
@pytest.mark.parametrize("parameter", NUMBERS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_odd_numbers_are_taken_as_scikit_learn_takes_them(parameter, value, solver):
    parameters = SMALL | {"solver": solver, parameter: value}
    parameters["early_stopping"] = parameter == "validation_fraction"
    theirs = sklearn.neural_network.MLPClassifier(**parameters)
    with np.errstate(all="ignore"):
        expected = outcome(lambda: theirs.fit(X, Y).loss_)
    found = outcome(lambda: estimators.MLPClassifier(**parameters).fit(X, Y).loss_)
    if isinstance(expected, type) or isinstance(found, type):
        assert found is expected
    else:
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("parameter", ["activation", "solver", "learning_rate"])
@pytest.mark.parametrize("bad", ["", "RELU", 0, None, np.nan, b"relu", ("relu",) * 3], ids=repr)
def test_bad_names(parameter, bad):
    with pytest.raises((ValueError, TypeError), match=parameter):
        new("MLPClassifier", **{parameter: bad}).fit(X, Y)


@pytest.mark.parametrize("parameter", ["shuffle", "warm_start", "nesterovs_momentum"])
@pytest.mark.parametrize("bad", ["yes", None, np.nan, 2], ids=repr)
def test_bad_switches(parameter, bad):
    with pytest.raises(ValueError, match=parameter):
        new("MLPClassifier", **{parameter: bad}).fit(X, Y)


@pytest.mark.parametrize(
    "sizes",
    [
        *(0, -5, 1.5, np.nan, np.inf, "5", None, {"width": 5}, (0,), (3, -1), (1.5,), (np.nan,)),
        *((np.inf,), ("5",), (None,), ((5, 5),), (5j,), (10**9, 10**9), (10**18,), (2**62, 4)),
        (2**70,),
    ],
    ids=repr,
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_bad_hidden_layers(sizes, solver):
    with pytest.raises((ValueError, TypeError, MemoryError, OverflowError)):
        new("MLPClassifier", hidden_layer_sizes=sizes, solver=solver).fit(X, Y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_thousands_of_layers(solver):
    e = new("MLPClassifier", hidden_layer_sizes=(1,) * 5000, solver=solver, activation="tanh")
    e.fit(X, Y)
    assert len(e.coefs_) == 5001
    assert e.predict(X).shape == (30,)
    assert bits(pickle.loads(pickle.dumps(e))) == bits(e)


# ------------------------------------------------------------------------------------- data


BAD_X = {
    "nan": with_value(X, (4, 1), np.nan),
    "inf": with_value(X, (0, 2), -np.inf),
    "no rows": X[:0],
    "no columns": X[:, :0],
    "1-d": X[:, 0],
    "3-d": X[:, :, None],
    "scalar": 3.0,
    "text": X.astype(str).astype(object) + "a",
    "complex": X + 1j,
    "None": None,
    "None inside": with_value(X.astype(object), (1, 1), None),
    "ragged": [[1, 2, 3, 4]] * 29 + [[1]],
    "other rows": X[:29],
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", BAD_X)
def test_bad_x(kind, name):
    fitted = new(name).fit(X, ESTIMATORS[name])
    before = bits(fitted)
    calls = [
        lambda: new(name).fit(BAD_X[kind], ESTIMATORS[name]),
        lambda: new(name, solver="lbfgs").fit(BAD_X[kind], ESTIMATORS[name]),
        lambda: fitted.partial_fit(BAD_X[kind], ESTIMATORS[name]),
    ]
    if kind != "other rows":
        calls.append(lambda: fitted.predict(BAD_X[kind]))
    for call in calls:
        with pytest.raises((ValueError, TypeError)):
            call()
    assert bits(fitted) == before


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shape", [(1, 4), (30, 1), (1, 1), (2, 4)])
def test_small_data_are_fitted_as_by_scikit_learn(shape, solver):
    n, d = shape
    parameters = SMALL | {"solver": solver}
    for name, y in ESTIMATORS.items():
        found = new(name, solver=solver).fit(X[:n, :d], y[:n])
        expected = getattr(sklearn.neural_network, name)(**parameters).fit(X[:n, :d], y[:n])
        assert found.loss_ == pytest.approx(expected.loss_, rel=1e-8)
        np.testing.assert_allclose(found.predict(X[:, :d]), expected.predict(X[:, :d]), 1e-6)


LABELS = {
    "one class": np.zeros(30, int),
    "one class of text": np.full(30, "a"),
    "str": np.array(["a", "b", "c"])[Y],
    "object": np.array(["a", "b", "c"], object)[Y],
    "bool": Y > 0,
    "bytes": np.array([b"a", b"b", b"c"])[Y],
    "int and None": with_value(Y.astype(object), 3, None),
    "int and str": with_value(Y.astype(object), 3, "a"),
    "nan": with_value(Y.astype(float), 3, np.nan),
    "inf": with_value(Y.astype(float), 3, np.inf),
    "continuous": REAL,
    "None": None,
    "column": Y[:, None][:, [0]].astype(bool),
    "3-d": np.zeros((30, 2, 2), int),
    "several columns of classes": np.stack([Y, Y], axis=1),
    "rows of no column": np.zeros((30, 0), int),
    "large": Y * 2**62,
    "uint64": Y.astype(np.uint64) * 2**62,
    "datetime": np.array("2020-01-01", "M8[D]") + Y,
    "a class for each sample": np.arange(30),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_taken_as_scikit_learn_takes_them(kind):
    y = LABELS[kind]
    theirs = sklearn.neural_network.MLPClassifier(**SMALL)
    expected = outcome(lambda: theirs.fit(X, y).predict(X))
    found = outcome(lambda: new("MLPClassifier").fit(X, y).predict(X))
    if isinstance(expected, type):
        assert found is expected
    else:
        np.testing.assert_array_equal(found, expected)


BAD_TARGETS = {
    "nan": with_value(REAL, 3, np.nan),
    "inf": with_value(REAL, 3, np.inf),
    "text": np.full(30, "a"),
    "complex": REAL + 1j,
    "None": None,
    "3-d": np.zeros((30, 2, 2)),
    "no columns": np.zeros((30, 0)),
    "too few": REAL[:29],
}


@pytest.mark.parametrize("kind", BAD_TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_bad_targets(kind, solver):
    with pytest.raises((ValueError, TypeError)):
        new("MLPRegressor", solver=solver).fit(X, BAD_TARGETS[kind])


def test_negative_targets_of_poisson():
    with pytest.raises(ValueError, match="y"):
        new("MLPRegressor", loss="poisson").fit(X, REAL)


BAD_WEIGHTS = {
    "negative": with_value(np.ones(30), 5, -1e-9),
    "nan": with_value(np.ones(30), 5, np.nan),
    "inf": with_value(np.ones(30), 5, np.inf),
    "all zero": np.zeros(30),
    "too few": np.ones(29),
    "too many": np.ones(31),
    "2-d": np.ones((30, 1)),
    "text": np.full(30, "a"),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_bad_weights(kind, name):
    y, weight = ESTIMATORS[name], BAD_WEIGHTS[kind]
    fitted = new(name).fit(X, y)
    before = bits(fitted)
    for call in (*(new(name, solver=s).fit for s in SOLVERS), fitted.partial_fit):
        with pytest.raises(ValueError, match=r".+"):
            call(X, y, sample_weight=weight)
    assert bits(fitted) == before


BAD_PARTIAL_FITS = {
    "unseen class": ("MLPClassifier", X, np.arange(30) % 4),
    "unseen text": ("MLPClassifier", X, np.full(30, "a")),
    "more features": ("MLPClassifier", np.hstack([X, X]), Y),
    "fewer features": ("MLPRegressor", X[:, :3], REAL),
    "beyond float32": ("MLPRegressor", X * 1e300, REAL),
    "target beyond float32": ("MLPRegressor", X, REAL * 1e300),
    "more outputs": ("MLPRegressor", X, np.stack([REAL, REAL], axis=1)),
    "nan": ("MLPRegressor", X, with_value(REAL, 29, np.nan)),
}


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", BAD_PARTIAL_FITS)
def test_a_refused_partial_fit_changes_no_bit(kind, solver):
    """Neither weights nor the optimizer's state."""
    name, bad_x, bad_y = BAD_PARTIAL_FITS[kind]
    y = ESTIMATORS[name]
    e, untouched = (
        new(name, solver=solver, batch_size=7).fit(X.astype(np.float32), y) for _ in range(2)
    )
    before = bits(e)
    with pytest.raises(ValueError, match=r".+"):
        e.partial_fit(bad_x, bad_y)
    assert bits(e) == before
    for estimator in (e, untouched):
        estimator.partial_fit(X.astype(np.float32), y)
    assert bits(e) == bits(untouched)
    assert e.loss_curve_ == untouched.loss_curve_


@pytest.mark.parametrize("first", [np.float32, np.float64])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_partial_fit_of_another_dtype_keeps_that_of_the_weights(name, first):
    y, exact = ESTIMATORS[name], X.astype(np.float32)
    results = []
    for second in (np.float32, np.float64):
        e = new(name).fit(exact.astype(first), y).partial_fit(exact.astype(second), y)
        assert {a.dtype for a in (*e.coefs_, *e.intercepts_)} == {np.dtype(first)}
        results.append(bits(e))
    assert results[0] == results[1]


# ------------------------------------------------------------------------------- divergence


@pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy")
@pytest.mark.parametrize(
    ("parameters", "factor"),
    [
        ({"solver": "sgd", "learning_rate_init": 1e6, "max_iter": 50}, 1.0),
        ({"solver": "adam", "learning_rate_init": 1e200}, 1.0),
        ({"solver": "sgd"}, 1e300),
        ({"solver": "adam"}, 1e300),
        ({"solver": "lbfgs"}, 1e300),
        ({"solver": "lbfgs"}, 1e160),
    ],
    ids=str,
)
def test_divergence_keeps_finite_weights(parameters, factor):
    e = new("MLPRegressor", **parameters)
    with pytest.raises(fastbp.DivergenceError, match="non-finite"):
        e.fit(X, REAL * factor)
    assert all(np.isfinite(a).all() for a in (*e.coefs_, *e.intercepts_))


def test_divergence_is_a_value_error():
    assert issubclass(fastbp.DivergenceError, ValueError)


def test_divergence_under_early_stopping_keeps_the_best():
    e = new("MLPRegressor", solver="sgd", learning_rate_init=1e6, early_stopping=True)
    with pytest.warns(ConvergenceWarning):
        e.fit(X, REAL)
    assert all(np.isfinite(a).all() for a in (*e.coefs_, *e.intercepts_))


def test_not_fitted():
    for estimator in (MLPClassifier(), MLPRegressor()):
        with pytest.raises(sklearn.exceptions.NotFittedError):
            estimator.predict(X)
