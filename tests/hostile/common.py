"""What both tables of hostile inputs use: small data, models, and the check of an error."""

import numpy as np
import pytest

import fastbp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
REAL = RNG.normal(size=30)


def classifier(**options):
    return fastbp.MLPClassifier(hidden_layer_sizes=(5,), max_iter=3, random_state=0, **options)


def regressor(**options):
    return fastbp.MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0, **options)


def network():
    return fastbp.Model([4, 5, 3], loss="softmax_cross_entropy", seed=0)


def refused(call, error=(ValueError, TypeError), match=None):
    """Return the message of a call that is refused."""
    with pytest.raises(error, match=match) as caught:
        call()
    return str(caught.value)
