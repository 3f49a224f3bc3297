"""Small models and data for the tests of the Python API."""

import numpy as np
import pytest

import fastbp


@pytest.fixture
def regression():
    """A model with two outputs, and data for it."""
    rng = np.random.default_rng(0)
    model = fastbp.Model([3, 5, 2], loss="squared_error", activation="tanh", seed=1)
    return model, rng.normal(size=(20, 3)), rng.normal(size=(20, 2))


@pytest.fixture
def classification():
    """A model with four classes, and data for it."""
    rng = np.random.default_rng(0)
    model = fastbp.Model([3, 5, 4], loss="softmax_cross_entropy", seed=1)
    return model, rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
