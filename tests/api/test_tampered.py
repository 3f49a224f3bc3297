"""Pickles whose optimizer's state was tampered with: a ValueError before any kernel sees it."""

import copy
import pickle

import numpy as np
import pytest

import fastbp

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
ADAM, MOMENTUM = fastbp.Adam(0.01), fastbp.SGD(0.01, momentum=0.9)


def fitted(optimizer):
    model = fastbp.Model([3, 5, 2], loss="squared_error", dtype="float64", seed=0)
    model.fit(X, Y, epochs=2, optimizer=optimizer)
    return model


MOMENTS = {
    "missing": lambda _: None,
    "short": lambda m: m[:3],
    "long": lambda m: np.zeros(10 * m.size),
    "float32": lambda m: m.astype(np.float32),
    "2-d": lambda m: m[None],
    "objects": lambda m: m.astype(object),
    "list": list,
    "text": lambda _: "moment",
}
CLOCKS = {"steps": [-5, 10**30, 1.5, "1", None], "epochs": [-1.0, np.nan, np.inf, "1", None]}
FIELDS = {"learning_rate": ["fast", -1.0, np.nan, None], "beta1": [2.0, "0.9"], "eps": [0.0]}


def refuses(model):
    with pytest.raises(ValueError, match=r"moment|optimizer|learning_rate|beta1|eps"):
        pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match=r".+"):
        copy.deepcopy(model)


@pytest.mark.parametrize("change", MOMENTS)
@pytest.mark.parametrize("name", ["m", "v"])
def test_moments(name, change):
    model = fitted(ADAM)
    setattr(model._state, name, MOMENTS[change](getattr(model._state, name)))
    refuses(model)


def test_moments_that_the_optimizer_has_not():
    model = fitted(MOMENTUM)
    model._state.v = model._state.m
    refuses(model)


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in CLOCKS.items() for v in vs])
def test_clocks(name, value):
    model = fitted(ADAM)
    setattr(model._state, name, value)
    refuses(model)


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in FIELDS.items() for v in vs])
def test_fields_of_the_optimizer(name, value):
    model = fitted(fastbp.Adam(0.01))
    object.__setattr__(model._state.optimizer, name, value)
    refuses(model)


@pytest.mark.parametrize("optimizer", ["adam", None, fastbp.Cosine(0.1, epochs=3)], ids=str)
def test_no_optimizer(optimizer):
    model = fitted(ADAM)
    model._state.optimizer = optimizer
    refuses(model)


def test_no_state():
    model = fitted(ADAM)
    model._state = "state"
    with pytest.raises(ValueError, match="state: expected one of an optimizer, or None, got 'sta"):
        pickle.loads(pickle.dumps(model))


def test_moments_in_memory_that_cannot_be_written():
    model, twin = fitted(MOMENTUM), fitted(MOMENTUM)
    model._state.m.flags.writeable = False
    again = pickle.loads(pickle.dumps(model, protocol=5))
    for each in (again, twin):
        each.fit(X, Y, epochs=1, optimizer=MOMENTUM)
    np.testing.assert_array_equal(again.parameters, twin.parameters)
