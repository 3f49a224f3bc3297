"""Tampered pickles and replaced coefficients: a ValueError, no crash and no stray read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastbp.estimators import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def found():
    script = Path(__file__).parent / "tampering.py"
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusals(outcomes, methods):
    return all(outcomes.get(method) == "ValueError" for method in methods)


def test_bad_coefficients_are_refused(found):
    bad = {k: v for k, v in found["bad"].items() if not refusals(v, ("predict", "partial_fit"))}
    assert bad == {}


def test_bad_states_of_the_optimizer_are_refused(found):
    cases = found["bad for training"]
    assert {k: v for k, v in cases.items() if not refusals(v, ("partial_fit",))} == {}
    assert {
        k: v for k, v in cases.items() if v.get("predict", "gone") not in ("done", "ValueError")
    } == {}


def test_replaced_coefficients_do_not_meet_moments_of_another_size(found):
    allowed = ("done", "ValueError")
    cases = found["replaced"]
    assert {k: v for k, v in cases.items() if not set(v.values()) <= set(allowed)} == {}


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_coefficients_of_another_precision_train_from_new_moments(estimator):
    """Moments of float64 are not to be read as of float32."""
    e = estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, Y)
    before = e.loss_
    e.coefs_ = [c.astype(np.float32) for c in e.coefs_]
    e.intercepts_ = [c.astype(np.float32) for c in e.intercepts_]
    e.partial_fit(X, Y)
    assert e.loss_ == pytest.approx(before, rel=0.1)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("rows", [2, 5])
def test_x_has_as_many_columns_as_coefs_have_rows(estimator, rows):
    e = estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, Y)
    e.coefs_ = [np.zeros((rows, 5)), e.coefs_[1]]
    with pytest.raises(ValueError, match=r"column|feature|inputs"):
        e.predict(X)


def test_coefficients_may_be_set():
    e = MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, Y)
    e.coefs_ = [np.zeros((4, 7)), np.zeros((7, 1))]
    e.intercepts_ = [np.zeros(7), np.array([2.5])]
    np.testing.assert_array_equal(e.predict(X), np.full(30, 2.5))
    e.intercepts_[1][:] = 3.5
    np.testing.assert_array_equal(e.predict(X), np.full(30, 3.5))
