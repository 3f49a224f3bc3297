"""Fitted estimators from scikit-learn's, to them, and to ONNX."""

from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from fastbp._memory import aligned_zeros
from fastbp._validation import Array
from fastbp.estimators._classifier import MLPClassifier
from fastbp.estimators._regressor import MLPRegressor
from fastbp.estimators._stochastic import Solver

_FITTED = (
    *("best_loss_", "best_validation_score_", "classes_", "feature_names_in_", "loss_"),
    *("loss_curve_", "n_features_in_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_"),
    *("t_", "validation_scores_", "_label_binarizer", "_no_improvement_count"),
)


def from_sklearn(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Return an estimator of ours in the state of one of scikit-learn's.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        A fitted one. It is left as it is.

    Returns
    -------
    MLPClassifier or MLPRegressor
        It predicts the same; the optimizer's moments come along, so that `partial_fit` goes on as
        the other would have gone on.
    """
    check_is_fitted(estimator)
    kinds: dict[Any, type[MLPClassifier | MLPRegressor]] = {
        sklearn.neural_network.MLPClassifier: MLPClassifier,
        sklearn.neural_network.MLPRegressor: MLPRegressor,
    }
    if type(estimator) not in kinds:
        raise TypeError(
            "estimator: expected a fitted MLPClassifier or MLPRegressor of sklearn.neural_network, "
            f"got {type(estimator).__name__}"
        )
    ours = kinds[type(estimator)](**estimator.get_params(deep=False))
    _copy_fitted(estimator, ours)
    model = ours._bound_model()
    ours._best_parameters = model.parameters.copy()
    if hasattr(estimator, "_optimizer"):
        ours._optimizer = _solver_of(estimator, ours)
    return ours


def to_sklearn(estimator: Any) -> Any:
    """Return a fitted estimator of scikit-learn that predicts the same as one of ours.

    ValueError where scikit-learn has not got what the parameters ask for. The optimizer's moments
    stay behind.
    """
    check_is_fitted(estimator)
    kind = getattr(sklearn.neural_network, type(estimator).__name__)
    names = kind._get_param_names()
    given = estimator.get_params(deep=False)
    theirs = kind(**{name: given[name] for name in names})
    theirs._validate_params()  # their names of activations, losses and solvers
    _copy_fitted(estimator, theirs)
    return theirs


def register_onnx_converters() -> None:
    """Let skl2onnx convert fitted estimators, and pipelines that contain them, to ONNX.

    Call it once before ``skl2onnx.to_onnx``; more calls change nothing. Input of float64 is
    computed in float64, all other in float32.

    Raises
    ------
    ImportError
        skl2onnx is not there.
    """
    try:
        from fastbp.estimators import _onnx  # noqa: PLC0415 -- needs the extra
    except ImportError as error:
        raise ImportError(
            "register_onnx_converters needs skl2onnx: pip install 'fastbp[onnx]'"
        ) from error
    _onnx.register()


def _copy_fitted(source: Any, target: Any) -> None:
    for name in _FITTED:
        if hasattr(source, name):
            value = getattr(source, name)
            setattr(target, name, value.copy() if isinstance(value, list | np.ndarray) else value)
    target.coefs_ = [np.array(w) for w in source.coefs_]
    target.intercepts_ = [np.array(b) for b in source.intercepts_]


def _solver_of(estimator: Any, ours: Any) -> Solver:
    """Return their optimizer's state as one of ours."""
    theirs, parameters = estimator._optimizer, ours._model.parameters
    rate = float(theirs.learning_rate_init)
    solver = Solver.start(ours, ours._model)
    state = solver.state
    if hasattr(theirs, "ms"):
        state.m = _flat(theirs.ms, parameters)
        state.v = _flat(theirs.vs, parameters)
        state.steps = theirs.t
        return solver
    if state.m is not None:
        state.m = _flat(theirs.velocities, parameters) * parameters.dtype.type(-1.0 / rate)
    solver.change_rate(float(theirs.learning_rate))
    return solver


def _flat(arrays: list[Array], parameters: Array) -> Array:
    """Return w0, b0, w1, b1, ... from all w and then all b."""
    half = len(arrays) // 2
    flat = aligned_zeros(parameters.size, parameters.dtype)
    pairs = zip(arrays[:half], arrays[half:], strict=True)
    flat[:] = np.concatenate([array.ravel() for pair in pairs for array in pair])
    return flat
