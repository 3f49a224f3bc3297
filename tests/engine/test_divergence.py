"""A loss that overflows ends the epoch on every thread of the team, and changes no parameter."""

import subprocess
import sys

import numpy as np
import pytest

from fastbp import SGD, DivergenceError, Model

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
