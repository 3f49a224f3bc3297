"""All samples at once with SciPy's L-BFGS-B on the flat parameters."""

from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from fastbp._training import Samples
from fastbp._validation import Array
from fastbp.errors import DivergenceError
from fastbp.estimators._network import total_squares
from fastbp.estimators._objective import PenalizedLoss
from fastbp.estimators._stochastic import NOT_FINITE
from fastbp.model import Model


def objective(
    model: Model, samples: Samples, report: PenalizedLoss, parameters: Array
) -> tuple[float, Array]:
    """Set the parameters; return the penalized mean loss and its gradient."""
    model.parameters[:] = parameters
    gradient = np.empty(model.n_parameters, model.dtype)
    loss = model._network.gradient(model.parameters, samples.x, samples.y, samples.weight, gradient)
    for w, (begin, end) in zip(model.weights, model._network.offsets(), strict=True):
        gradient[begin:end] += report.alpha * w.ravel()
    gradient /= samples.total_weight()
    return report.of_all(loss, total_squares(model.weights)), gradient


def minimize(estimator: Any, model: Model, samples: Samples) -> None:
    """Fit the model's parameters."""
    report = PenalizedLoss(model.loss_function, samples, estimator.alpha)
    iterations = 0

    def show(intermediate_result: Any) -> None:
        nonlocal iterations
        iterations += 1
        print(f"Iteration {iterations}, loss = {intermediate_result.fun:.8f}")  # noqa: T201

    result = scipy.optimize.minimize(
        lambda parameters: objective(model, samples, report, parameters),
        model.parameters.copy(),
        method="L-BFGS-B",
        jac=True,
        callback=show if estimator.verbose else None,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
        },
    )
    if not (np.isfinite(result.fun) and np.isfinite(result.x).all()):
        raise DivergenceError(NOT_FINITE)
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = float(result.fun)
    model.parameters[:] = result.x
