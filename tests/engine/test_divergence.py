"""A loss that overflows ends the epoch on every thread of the team, and changes no parameter."""

import subprocess
import sys

import numpy as np
import pytest

from fastbp import SGD, Adam, DivergenceError, Model, RMSprop

# Threads that see a flag at different times can wait for each other for ever, which a test in this
# process could not survive.
DIVERGE = """
import numpy as np
from fastbp import SGD, DivergenceError, Model, _engine

_engine.set_num_threads(2)
_engine.set_thread_grain(0)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(200, 8)), rng.integers(0, 3, 200)
for seed in range(3000):
    model = Model([8, 16, 3], loss="softmax_cross_entropy", seed=seed)
    try:
        model.fit(X, y, batch_size=32, optimizer=SGD(1e30))
    except DivergenceError:
        assert np.isfinite(model.parameters).all()
    else:
        raise AssertionError("a learning rate of 1e30 did not diverge")
"""


def test_the_team_leaves_together():
    """Thousands of diverging fits on two threads end."""
    subprocess.run([sys.executable, "-c", DIVERGE], check=True, timeout=100)


def test_parameters_are_those_before_the_minibatch_that_diverged(engine, threads):
    """Nothing is updated with a loss that is not finite."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(64, 5)).astype(np.float32), rng.normal(size=(64, 1))
    X[40] = 3e38
    model = Model([5, 4, 1], loss="squared_error", activation="identity", seed=0)
    twin = Model([5, 4, 1], loss="squared_error", activation="identity", seed=0)
    fit = {"epochs": 1, "batch_size": 16, "shuffle": False, "optimizer": SGD(1e-3)}
    twin.fit(X[:32], y[:32], **fit)
    with pytest.raises(DivergenceError, match="epoch 1, minibatch 3"):
        model.fit(X, y, **fit)
    assert model.parameters.tobytes() == twin.parameters.tobytes()


@pytest.mark.parametrize("scale", [3e19, 1e19])  # the gradient overflows, or only its square
@pytest.mark.parametrize(
    "optimizer",
    [Adam(1e-2), RMSprop(1e-2), RMSprop(1e-3, momentum=0.9)],
    ids=["adam", "rmsprop", "rmsprop, momentum"],
)
def test_a_fit_after_one_that_diverged_works(optimizer, scale, isa, threads):
    """The moments that an equal optimizer goes on with stay finite, too."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(64, 5)).astype(np.float32)
    y = X @ rng.normal(size=(5, 1)).astype(np.float32)
    model = Model([5, 8, 1], loss="squared_error", activation="identity", seed=0)
    fit = {"batch_size": 16, "optimizer": optimizer}
    with pytest.raises(DivergenceError):
        model.fit(np.float32(scale) * X, y, epochs=3, **fit)
    assert np.isfinite(model.parameters).all()
    before = model.loss(X, y)
    model.fit(X, y, epochs=30, **fit)
    assert model.loss(X, y) < before / 2


@pytest.mark.parametrize(
    "optimizer",
    [SGD(1e-3, momentum=0.9), SGD(1e-3, momentum=0.9, nesterov=True), RMSprop(1e-4, momentum=0.9)],
    ids=["momentum", "nesterov", "rmsprop, momentum"],
)
def test_an_update_that_overflows_everywhere_leaves_no_trace(optimizer, isa, threads):
    """Every gradient is infinite, with a finite loss: parameters and moments stay as they were."""
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 1, (16, 5)).astype(np.float32)
    y = X.sum(axis=1, keepdims=True)
    model, twin = (Model([5, 1], loss="squared_error", seed=0) for _ in range(2))
    fit = {"batch_size": 16, "optimizer": optimizer, "shuffle": False}
    for one in (model, twin):
        one.parameters = np.full(6, 0.1, np.float32)
        one.fit(X, y, epochs=3, **fit)
    with pytest.raises(DivergenceError, match="parameters stopped"):
        model.fit(X * np.float32(2e38), y, epochs=1, **fit)
    assert model.parameters.tobytes() == twin.parameters.tobytes()
    for one in (model, twin):
        one.fit(X, y, epochs=3, **fit)
    assert model.parameters.tobytes() == twin.parameters.tobytes()
