"""Figures of merit of predictions."""

import numpy as np

from fastbp._validation import Array


def accuracy(y: Array, predicted: Array) -> float:
    """Return the share of right decisions.

    Parameters
    ----------
    y : ndarray
        Class labels ``(n,)``, or targets in [0, 1] of the shape of ``predicted``.
    predicted : ndarray of shape (n, n_out)
        Probabilities. With labels the most probable class counts; with targets each output is a
        decision of its own, yes above 0.5.
    """
    if y.ndim == 1:
        return float(np.mean(predicted.argmax(axis=1) == y))
    return float(np.mean((predicted > 0.5) == (y > 0.5)))


def r2(y: Array, predicted: Array) -> float:
    """Return the coefficient of determination, the mean over outputs.

    An output whose targets are all equal counts 1 if it is predicted exactly, else 0.
    """
    y = y.astype(np.float64)
    unexplained = ((y - predicted) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    ratio = unexplained / np.where(constant, 1.0, total)
    return float(np.mean(np.where(constant, unexplained == 0, 1.0 - ratio)))
