"""MNIST with a plain network, as well as it should be. Needs ``--mnist FOLDER``."""

import numpy as np
import pytest

import fastbp
from fastbp._engine import bf16_isas

SEEDS = (0, 1, 2)
ACCURACY = 0.977


def accuracy(seed, train, test, precision=None):
    """Of 784-128-10 with ReLU after 10 epochs of Adam."""
    model = fastbp.Model([784, 128, 10], loss="softmax_cross_entropy", seed=seed)
    model.fit(
        *train,
        epochs=10,
        batch_size=128,
        optimizer=fastbp.Adam(learning_rate=1e-3),
        precision=precision,
    )
    x, y = test
    return np.mean(model.predict(x).argmax(axis=1) == y)


@pytest.fixture
def data(mnist):
    return [
        (pixels / np.float32(255), labels) for pixels, labels in fastbp.datasets.load_mnist(mnist)
    ]


def test_accuracy(data):
    found = [accuracy(seed, *data) for seed in SEEDS]
    assert np.mean(found) >= ACCURACY, found


@pytest.mark.skipif(not bf16_isas(), reason="this machine has no bf16")
def test_accuracy_of_bf16(data):
    """Within 0.2 points, which the mean over more seeds decides: one alone varies as much."""
    seeds = range(8)
    found = [accuracy(seed, *data, precision="bf16") for seed in seeds]
    expected = [accuracy(seed, *data) for seed in seeds]
    assert np.mean(found) >= np.mean(expected) - 0.002, (found, expected)
