"""Figures of merit of predictions."""

import numpy as np

from fastbp._validation import Array, as_numeric, explain


def accuracy(y: Array, predicted: Array) -> float:
    """Return the share of right decisions.

    Parameters
    ----------
    y : ndarray
        Class labels ``(n,)``, or targets in [0, 1] of the shape of ``predicted``.
    predicted : ndarray of shape (n, n_out)
        Probabilities. With labels the most probable class counts; with targets each output is a
        decision of its own, yes above 0.5.

    Raises
    ------
    TypeError, ValueError
        An argument is not of these kinds: predicted labels, say, instead of probabilities.
    """
    y, predicted = as_numeric(y, "y"), as_numeric(predicted, "predicted")
    if predicted.ndim != 2:
        hint = "of predicted labels, np.mean(y == predicted) is the accuracy"
        given = f"{predicted.ndim}-d of shape {predicted.shape}"
        raise ValueError(explain("predicted", "probabilities (n, n_out)", given, hint))
    if y.shape not in (predicted.shape[:1], predicted.shape):
        expected = f"labels {predicted.shape[:1]} or targets {predicted.shape}"
        raise ValueError(explain("y", expected, f"shape {y.shape}"))
    if y.ndim == 1:
        n_out = predicted.shape[1]
        if y.size and y.max() >= n_out:
            hint = "targets of one output are (n, 1): y.reshape(-1, 1)" if n_out == 1 else ""
            raise ValueError(explain("y", f"labels from 0 to {n_out - 1}", f"{y.max()}", hint))
        return float(np.mean(predicted.argmax(axis=1) == y))
    return float(np.mean((predicted > 0.5) == (y > 0.5)))


def r2(y: Array, predicted: Array) -> float:
    """Return the coefficient of determination, the mean over outputs.

    An output whose targets are all equal counts 1 if it is predicted exactly, else 0. ValueError
    unless both have the same shape.
    """
    if y.shape != predicted.shape:
        hint = "y.reshape(-1, 1) is the shape of one output" if y.ndim == 1 else ""
        raise ValueError(explain("y", f"shape {predicted.shape}", f"{y.shape}", hint))
    y = y.astype(np.float64)
    unexplained = ((y - predicted) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    ratio = unexplained / np.where(constant, 1.0, total)
    return float(np.mean(np.where(constant, unexplained == 0, 1.0 - ratio)))
