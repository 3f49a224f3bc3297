"""MNIST with a plain network, as well as it should be. Needs ``--mnist FOLDER``."""

import numpy as np

import fastbp

SEEDS = (0, 1, 2)
ACCURACY = 0.977


def accuracy(seed, train, test):
    """Of 784-128-10 with ReLU after 10 epochs of Adam."""
    model = fastbp.Model([784, 128, 10], loss="softmax_cross_entropy", seed=seed)
    model.fit(*train, epochs=10, batch_size=128, optimizer=fastbp.Adam(learning_rate=1e-3))
    x, y = test
    return np.mean(model.predict(x).argmax(axis=1) == y)


def test_accuracy(mnist):
    (x, y), (x_test, y_test) = fastbp.datasets.load_mnist(mnist)
    scaled = [(pixels / np.float32(255), labels) for pixels, labels in ((x, y), (x_test, y_test))]
    found = [accuracy(seed, *scaled) for seed in SEEDS]
    assert np.mean(found) >= ACCURACY, found
