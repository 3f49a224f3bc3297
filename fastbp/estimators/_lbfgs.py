"""All samples at once with SciPy's L-BFGS-B on the flat parameters."""

from time import perf_counter
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from fastbp._fitting import callbacks_around
from fastbp._training import Samples
from fastbp._validation import Array
from fastbp.callbacks import Callback
from fastbp.estimators._bookkeeping import record_validation, restores_best, say
from fastbp.estimators._divergence import end_diverged
from fastbp.estimators._network import total_squares
from fastbp.estimators._objective import PenalizedLoss
from fastbp.estimators._validation_set import Validation, figures_of, history_of
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


class _Iterations:
    """Called by SciPy after each iteration: output, validation, callbacks."""

    def __init__(
        self,
        estimator: Any,
        model: Model,
        validation: Validation | None,
        callbacks: list[Callback],
    ) -> None:
        self._estimator = estimator
        self._model = model
        self._validation = validation
        self.callbacks = callbacks
        self.history = history_of(validation)
        self.stopped = False
        self.reached = model.parameters.copy()
        self.best = self.reached
        self._begun = perf_counter()

    def __call__(self, intermediate_result: Any) -> None:
        """Record an iteration; StopIteration if a callback says so, or nothing finite is left."""
        if not _is_finite(intermediate_result):
            raise StopIteration
        self._model.parameters[:] = intermediate_result.x
        self.reached = self._model.parameters.copy()
        self._record(float(intermediate_result.fun))
        answers = [c.on_epoch_end(self._model, self.history) for c in self.callbacks]
        if any(answers):
            self.stopped = True
            raise StopIteration

    def _record(self, loss: float) -> None:
        """Note loss and validation, and whether this is the best so far."""
        figures = {"loss": loss} | figures_of(self._validation, self._model)
        now = perf_counter()
        self.history.append(figures | {"seconds": now - self._begun})
        self._begun = now
        say(self._estimator, f"Iteration {len(self.history)}, loss = {loss:.8f}")
        # without validation data the last is the best, for the loss falls in each
        if self._validation is None or record_validation(self._estimator, self.history):
            self.best = self.reached


def _is_finite(result: Any) -> bool:
    return bool(np.isfinite(result.fun) and np.isfinite(result.x).all())


def minimize(
    estimator: Any,
    model: Model,
    samples: Samples,
    validation: Validation | None,
    hooks: list[Callback],
) -> None:
    """Fit the model's parameters."""
    report = PenalizedLoss(model.loss_function, samples, float(estimator.alpha))
    iterations = _Iterations(estimator, model, validation, hooks)
    with callbacks_around(iterations.callbacks, model, iterations.history, estimator.max_iter):
        result = scipy.optimize.minimize(
            lambda parameters: objective(model, samples, report, parameters),
            model.parameters.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=iterations,
            options={
                "maxfun": estimator.max_fun,
                "maxiter": estimator.max_iter,
                "gtol": estimator.tol,
            },
        )
        estimator.n_iter_ = len(iterations.history)
        restored = validation is not None and restores_best(estimator)
        finite = _is_finite(result)
        model.parameters[:] = result.x if finite else iterations.reached
        if finite:
            estimator.loss_ = float(result.fun)
        else:
            if iterations.history.loss:
                estimator.loss_ = iterations.history.loss[-1]
            where = f"the loss or a weight is not finite after iteration {estimator.n_iter_}"
            end_diverged(estimator, where, "best" if restored else "last finite", warns=False)
        if restored:
            model.parameters[:] = iterations.best
    if finite and not iterations.stopped:
        estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
