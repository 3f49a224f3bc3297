"""Two fits of one object at a time: the second is refused, the first goes on unharmed."""

import copy
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import fastbp
from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators import _predictor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
TARGETS = {MLPClassifier: np.arange(60) % 3, MLPRegressor: RNG.normal(size=60)}
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0, "batch_size": 20}
SOLVERS = ["adam", "lbfgs"]
REFUSED = partial(pytest.raises, RuntimeError, match="fit: this model is being fitted already")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bits(estimator):
    return [a.tobytes() for a in (*estimator.coefs_, *estimator.intercepts_)]


class Calls(fastbp.Callback):
    """Calls a function after each epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, model, history):
        self.function(model)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_within_a_fit(kind, solver):
    y, calls = TARGETS[kind], []

    def again(model):
        methods = [e.fit, model.fit] if solver == "lbfgs" else [e.fit, e.partial_fit, model.fit]
        for method in methods:
            with REFUSED():
                method(X[:10], y[:10])
        calls.append(e.predict(X))

    e = kind(solver=solver, callbacks=[Calls(again)], **SMALL)
    e.fit(X, y)
    plain = kind(solver=solver, **SMALL).fit(X, y)
    assert len(calls) == 6
    assert bits(e) == bits(plain)
    assert e.loss_ == plain.loss_
    np.testing.assert_array_equal(calls[-1], plain.predict(X))


def test_a_refused_partial_fit_leaves_the_classes_alone():
    def again(_):
        with REFUSED():
            e.partial_fit(X, np.arange(60) % 2, classes=[0, 1])

    e = MLPClassifier(callbacks=[Calls(again)], **SMALL)
    e.fit(X, TARGETS[MLPClassifier])
    assert set(e.predict(X)) == {0, 1, 2}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_second_thread(kind, solver):
    y, entered, leave = TARGETS[kind], threading.Event(), threading.Event()

    def wait(_):
        entered.set()
        assert leave.wait(20)

    e = kind(solver=solver, callbacks=[Calls(wait)], **SMALL)
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(e.fit, X, y)
        try:
            assert entered.wait(20)
            with REFUSED():
                e.fit(X[:10], y[:10])
            assert e.predict(X).shape == (60,)
        finally:
            leave.set()
        fit.result(20)
    assert bits(e) == bits(kind(solver=solver, **SMALL).fit(X, y))
    e.fit(X, y)


@pytest.mark.parametrize("error", [LookupError, SystemExit])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_that_failed_is_at_an_end(error, solver):
    def fail(_):
        raise error

    e = MLPRegressor(solver=solver, callbacks=[Calls(fail)], **SMALL)
    y = TARGETS[MLPRegressor]
    for _ in range(2):
        with pytest.raises(error):
            e.fit(X, y)
    for bad in ({"max_iter": 0}, {"hidden_layer_sizes": 0}):
        with pytest.raises(ValueError, match=r".+"):
            e.set_params(**SMALL | bad).fit(X, y)
    e.set_params(callbacks=None, **SMALL).fit(X, y)
    assert bits(e) == bits(MLPRegressor(solver=solver, **SMALL).fit(X, y))


@pytest.mark.parametrize("duplicate", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_copy_of_what_is_being_fitted_is_free(kind, duplicate):
    y, copies = TARGETS[kind], []

    def duplicated(model):
        e.callbacks, callbacks = None, e.callbacks
        twins = duplicate(e), copy.deepcopy(model)
        e.callbacks = callbacks
        assert bits(twins[0].fit(X, y)) == bits(plain)
        if kind is MLPRegressor:
            twins[1].fit(X, y, epochs=1)
        copies.append(twins)

    plain = kind(**SMALL).fit(X, y)
    e = kind(callbacks=[Calls(duplicated)], **SMALL)
    e.fit(X, y)
    assert len(copies) == 6
    assert bits(e) == bits(plain)


@pytest.fixture
def quick_switches():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_prediction_does_not_bind_another_model_during_a_fit():
    def predict(model):
        e.__dict__.pop("_model", None)  # as in a pickle that a thread predicts from first
        np.testing.assert_array_equal(e.predict(X), model.predict(X)[:, 0])

    e = MLPRegressor(callbacks=[Calls(predict)], **SMALL)
    e.fit(X, TARGETS[MLPRegressor])
    assert bits(e) == bits(MLPRegressor(**SMALL).fit(X, TARGETS[MLPRegressor]))


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("start", ["fitted", "unpickled"])
@pytest.mark.parametrize("kind", TARGETS)
def test_predictions_of_other_threads_meanwhile(kind, start):
    """Each thread finds weights that belong together, and the fit keeps its own."""
    y = TARGETS[kind]
    plain = kind(**SMALL | {"max_iter": 3}).fit(X, y)
    e = kind(**SMALL | {"max_iter": 3}).fit(X, y)
    over, failed = threading.Event(), []

    def predict():
        while not over.is_set():
            try:
                assert np.isfinite(e.predict(X)).all()
            except Exception as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for i in range(100):
            if start == "unpickled":
                e.__dict__.pop("_model", None)
            e.set_params(hidden_layer_sizes=[(8,), (9, 7)][i % 2]).fit(X, y)
            assert i % 2 or bits(e) == bits(plain)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failed == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_of_a_fork_binds_weights_of_its_own():
    """Though another thread of its parent was doing so at that moment."""
    e = MLPClassifier(**SMALL).fit(X, TARGETS[MLPClassifier])
    held, forked = threading.Event(), threading.Event()

    def bind():
        with _predictor._BINDING:
            held.set()
            forked.wait(60)

    thread = threading.Thread(target=bind)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        e.coefs_ = [w.copy() for w in e.coefs_]
        e.predict(X)
        os._exit(0)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
