"""Data that is scored after each epoch: given, or held out of the training data."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_array

from fastbp import _engine
from fastbp._validation import Float64, explain
from fastbp.estimators._features import validated_features
from fastbp.estimators._objective import PenalizedLoss
from fastbp.history import History
from fastbp.model import Model


@dataclass(frozen=True)
class Validation:
    """Data held out, and what scores the network on it."""

    report: PenalizedLoss
    score: Callable[[], float]

    def figures(self, model: Model) -> dict[str, float]:
        """Return mean loss and score."""
        total = _engine.sum_float64(model._losses(self.report.samples))
        return {"val_loss": self.report.of_all(total, 0.0), "val_score": float(self.score())}


def figures_of(validation: Validation | None, model: Model) -> dict[str, float]:
    """Return mean loss and score, or nothing where there is no validation set."""
    return {} if validation is None else validation.figures(model)


def history_of(validation: Validation | None) -> History:
    """Return the history that a fit with this validation set fills."""
    return History(["loss"] if validation is None else ["loss", "val_loss", "val_score"])


def hold_out(
    estimator: Any, X: Any, y: Any, sample_weight: Float64 | None
) -> tuple[Any, Any, Float64 | None, Validation]:
    """Split a validation set off, as scikit-learn does; return what remains, and it."""
    arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
    parts = train_test_split(
        *arrays,
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=estimator._stratify(y),
    )
    train, held = parts[::2], parts[1::2]
    if held[0].shape[0] < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    weights = (None, None) if sample_weight is None else (train[2], held[2])
    return train[0], train[1], weights[0], _scored(estimator, held[0], held[1], weights[1])


def validation_of(estimator: Any, data: Any) -> Validation:
    """Return the validation set that the caller gave."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(explain("validation_data", "a pair (X, y)", short(data)))
    dtype = estimator._model.dtype
    X = validated_features(estimator, data[0], "X of validation_data", dtype)
    y = check_array(data[1], ensure_2d=False, dtype=None, input_name="y of validation_data")
    if len(y) != X.shape[0]:
        given = f"{X.shape[0]} and {len(y)}"
        raise ValueError(explain("validation_data", "as many rows in X as in y", given))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    estimator._refuse_unknown(y)
    return _scored(estimator, X, estimator._encode(y), None)


def _scored(estimator: Any, X: Any, y: Any, weight: Float64 | None) -> Validation:
    samples = estimator._samples(X, y, weight)
    report = PenalizedLoss(estimator._model.loss_function, samples, 0.0)

    def plain() -> float:
        outputs = estimator._model._outputs(samples.x, link=True)
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(estimator._score_outputs(y, outputs, weight))

    if estimator.scoring is None:
        return Validation(report, plain)
    scorer = check_scoring(estimator, estimator.scoring)
    true, options = estimator._true(y), {} if weight is None else {"sample_weight": weight}

    def scored() -> float:
        with warnings.catch_warnings():  # validated X has lost the names of its features
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return float(scorer(estimator, X, true, **options))

    return Validation(report, scored)
