"""X in every layout gives the bits of its contiguous copy; and so do copies of estimators."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from layouts import memory_map, misaligned, readonly
from sklearn.base import clone

from fastbp import estimators

N, D = 37, 6
RNG = np.random.default_rng(0)
BASE = RNG.integers(-5, 6, (N, D)).astype(np.float64)
Y = RNG.integers(0, 3, N)
REAL = RNG.normal(size=N)
WEIGHT = RNG.uniform(1, 2, N)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "batch_size": 10}
ESTIMATORS = {"MLPClassifier": Y, "MLPRegressor": REAL}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAYOUTS = {
    "C": lambda a, _: a.copy(),
    "Fortran": lambda a, _: np.asfortranarray(a),
    "read-only": lambda a, _: readonly(a.copy()),
    "Fortran read-only": lambda a, _: readonly(np.asfortranarray(a)),
    "memory map": lambda a, folder: memory_map(a, folder, "r"),
    "memory map, copy on write": lambda a, folder: memory_map(a, folder, "c"),
    "reversed rows": lambda a, _: a[::-1].copy()[::-1],
    "reversed columns": lambda a, _: a[:, ::-1].copy()[:, ::-1],
    "every second row": lambda a, _: np.repeat(a, 2, axis=0)[::2],
    "every third column": lambda a, _: np.repeat(a, 3, axis=1)[:, ::3],
    "both": lambda a, _: np.repeat(np.repeat(a, 3, axis=1), 2, axis=0)[::-2, ::-3][::-1, ::-1],
    "misaligned": lambda a, _: misaligned(a),
    "nested list": lambda a, _: a.astype(float).tolist(),
}
DTYPES = {name: lambda a, _, name=name: a.astype(name) for name in (">f8", "f2", "i1", "i4", "i8")}
DTYPES |= {name: lambda a, _, name=name: a.astype(name) for name in (">f4", ">i2", "O")}


def outcome(name, X, y=None, weight=WEIGHT):
    """What training and predicting give from X."""
    y = ESTIMATORS[name] if y is None else y
    results = []
    for parameters in ({}, {"solver": "sgd", "shuffle": False}, {"solver": "lbfgs"}):
        e = getattr(estimators, name)(**SMALL | parameters).fit(X, y, sample_weight=weight)
        if e.solver != "lbfgs":
            e.partial_fit(X, y, sample_weight=weight)
        results += [*e.coefs_, *e.intercepts_, e.predict(X)]
        if name == "MLPClassifier":
            results.append(e.predict_proba(X))
    return results


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("layout", LAYOUTS | DTYPES)
def test_same_bits_from_any_x_of_float64(layout, name, tmp_path):
    X = (LAYOUTS | DTYPES)[layout](BASE, tmp_path)
    before = np.array(X, copy=True)
    assert_equal(outcome(name, X), outcome(name, BASE.copy()))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"nested list"}))
def test_same_bits_from_any_x_of_float32(layout, tmp_path):
    base = BASE.astype(np.float32)
    X = LAYOUTS[layout](base, tmp_path)
    found = outcome("MLPRegressor", X)
    assert_equal(found, outcome("MLPRegressor", base.copy()))
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(X, base)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_bool_and_broadcast_x(name):
    assert_equal(outcome(name, BASE > 0), outcome(name, (BASE > 0).astype(float)))
    for X in (np.broadcast_to(BASE[0], BASE.shape), np.broadcast_to(BASE[:, :1], BASE.shape)):
        assert 0 in X.strides
        assert_equal(outcome(name, X), outcome(name, X.copy()))


@pytest.mark.parametrize("layout", ["Fortran", "read-only", "reversed rows", "every second row"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_same_bits_from_any_y_and_weight(layout, outputs, tmp_path):
    base = RNG.normal(size=(N, outputs))
    y, weight = (LAYOUTS[layout](a, tmp_path) for a in (base, WEIGHT[:, None]))
    y = y[:, 0] if outputs == 1 else y
    expected = outcome("MLPRegressor", BASE, (base[:, 0] if outputs == 1 else base).copy())
    assert_equal(outcome("MLPRegressor", BASE, y, weight[:, 0]), expected)
    swapped = y.astype(">f8")
    assert_equal(outcome("MLPRegressor", BASE, swapped, WEIGHT.astype(">f8")), expected)


# ------------------------------------------------------------------------ copies of estimators


def through_joblib(estimator, folder):
    joblib.dump(estimator, folder / "estimator.joblib")
    return joblib.load(folder / "estimator.joblib")


COPIES = {
    f"pickle {protocol}": lambda e, _, protocol=protocol: pickle.loads(pickle.dumps(e, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
} | {
    "deepcopy": lambda e, _: copy.deepcopy(e),
    "joblib": through_joblib,
    "joblib, memory map": lambda e, folder: (
        through_joblib(e, folder) and joblib.load(folder / "estimator.joblib", mmap_mode="r")
    ),
    "twice": lambda e, _: copy.deepcopy(pickle.loads(pickle.dumps(e))),
}
PARAMETERS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "no momentum": {"solver": "sgd", "momentum": 0},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", COPIES)
def test_training_goes_on_in_a_copy(kind, name, parameters, dtype, tmp_path):
    X, y = BASE.astype(dtype), ESTIMATORS[name]
    e = getattr(estimators, name)(**SMALL | PARAMETERS[parameters]).fit(X, y).partial_fit(X, y)
    other = COPIES[kind](e, tmp_path)
    assert_equal([*other.coefs_, other.predict(X)], [*e.coefs_, e.predict(X)])
    before = [a.copy() for a in e.coefs_]
    other.partial_fit(X, y)
    assert_equal(e.coefs_, before)
    e.partial_fit(X, y)
    assert_equal([*other.coefs_, *other.intercepts_], [*e.coefs_, *e.intercepts_])
    assert other.loss_curve_ == e.loss_curve_


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_clone_is_not_fitted_and_fits_the_same(name):
    y = ESTIMATORS[name]
    e = getattr(estimators, name)(**SMALL).fit(BASE, y)
    other = clone(e)
    assert not hasattr(other, "coefs_")
    assert other.get_params() == e.get_params()
    assert_equal(other.fit(BASE, y).coefs_, e.coefs_)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_weights_changed_in_place_are_in_the_copy(name):
    e = getattr(estimators, name)(**SMALL).fit(BASE, ESTIMATORS[name])
    e.coefs_[0][:] = 0.25
    other = pickle.loads(pickle.dumps(e))
    assert (other.coefs_[0] == 0.25).all()
    assert_equal([other.predict(BASE)], [e.predict(BASE)])


def test_many_threads_predict_with_a_fresh_copy():
    e = estimators.MLPClassifier(**SMALL).fit(BASE, Y)
    expected = e.predict_proba(BASE)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            other = pickle.loads(pickle.dumps(e))
            for found in pool.map(lambda _, other=other: other.predict_proba(BASE), range(16)):
                np.testing.assert_array_equal(found, expected)
