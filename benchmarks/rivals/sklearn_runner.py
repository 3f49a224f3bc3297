"""scikit-learn's `MLPClassifier`: one `partial_fit` an epoch, on rows put in order beforehand.

That is cheaper than its own shuffling, which indexes the data anew for every minibatch. The
number of threads is that of its BLAS, set by the environment of the process.
"""

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

from .problem import LEARNING_RATE, Problem


class PartialFit:
    """Epochs of `MLPClassifier.partial_fit`."""

    modes = ("rows gathered once an epoch",)

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem

    def start(self, mode: str) -> None:
        X, y, net = self.problem.X, self.problem.y, self.problem.cell.net
        batch = self.problem.cell.batch
        self.model = MLPClassifier(
            net[1:-1],
            alpha=0.0,
            batch_size=batch,
            learning_rate_init=LEARNING_RATE,
            shuffle=False,
        )
        # There is no public way to set first weights: let it draw its own, take a step, and start
        # anew from ours. Without an optimizer, partial_fit makes one.
        self.model.partial_fit(X[:batch], y[:batch], classes=np.arange(net[-1]))
        del self.model._optimizer
        parameters, self.shuffler = self.problem.start()
        self.model.coefs_[:] = parameters[::2]
        self.model.intercepts_[:] = parameters[1::2]
        # its test for a stalled loss only ends fits of many epochs
        warnings.filterwarnings("ignore", module="sklearn")

    def train(self, rows: int, epochs: int) -> None:
        for _ in range(epochs):
            order = self.shuffler.permutation(rows)
            self.model.partial_fit(self.problem.X[order], self.problem.y[order])

    def parameters(self) -> list[np.ndarray]:
        layers = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [p for layer in layers for p in layer]
