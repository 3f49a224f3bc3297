"""Epochs of minibatches under scikit-learn's rules: order of samples, rates, when to stop."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp._fitting import Fit
from fastbp._memory import aligned_zeros
from fastbp._training import OptimizerState, Samples, Trainer
from fastbp.callbacks import Callback
from fastbp.errors import DivergenceError
from fastbp.estimators._objective import PenalizedLoss
from fastbp.history import History
from fastbp.model import Model
from fastbp.optimizers import Optimizer

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class Shuffler:
    """Orders of samples, each a shuffle of the one before, drawn as scikit-learn draws them."""

    def __init__(self, rng: np.random.RandomState) -> None:
        self._rng = rng
        self._order = np.empty(0, np.int64)

    def permutation(self, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the next order of n samples."""
        if len(self._order) != n:
            self._order = np.arange(n)
        indices = np.arange(n)
        self._rng.shuffle(indices)
        self._order = self._order[indices]
        return self._order


@dataclass
class Solver:
    """The optimizer's state and the learning rate, which partial fits continue."""

    state: OptimizerState
    policy: str
    power_t: float
    learning_rate: float

    @classmethod
    def start(cls, optimizer: Optimizer, model: Model, policy: str, power_t: float) -> "Solver":
        """Return the state before the first update."""
        rate = optimizer.learning_rate
        first = rate if isinstance(rate, float) else float("nan")
        return cls(OptimizerState.start(optimizer, model.parameters), policy, power_t, first)

    def epoch_ends(self, samples_seen: int, initial: float) -> None:
        """Set the rate that falls with the number of samples."""
        if self.policy == "invscaling":
            self._change_rate(initial / (samples_seen + 1) ** self.power_t)

    def slow_down(self) -> bool:
        """Go on at a fifth of the rate, if that is the policy; False: it is time to stop."""
        if self.policy != "adaptive" or self.learning_rate <= 1e-6:
            return False
        self._change_rate(self.learning_rate / 5.0)
        return True

    def _change_rate(self, rate: float) -> None:
        """Keep the velocity, rate times momentum, as it is: scikit-learn's momentum is that."""
        if self.state.m is not None:
            self.state.m *= self.learning_rate / rate
        self.state.optimizer = replace(self.state.optimizer, learning_rate=rate)
        self.learning_rate = rate


@dataclass(frozen=True)
class Validation:
    """Data held out: what the network reads, and what its score is."""

    samples: Samples
    score: Callable[[], float]

    def figures(self, model: Model) -> dict[str, float]:
        """Return mean loss and score; the score is NaN where outputs are not finite."""
        loss = float(np.sum(model._losses(self.samples))) / self.samples.total_weight()
        return {"val_loss": loss, "val_score": float(self.score())}


class Bookkeeper(Callback):
    """Keeps an estimator's attributes after each epoch, and stops when it is time."""

    def __init__(self, estimator: Any, solver: Solver, n_samples: int, incremental: bool) -> None:
        self._estimator = estimator
        self._solver = solver
        self._n_samples = n_samples
        self._incremental = incremental

    def on_epoch_end(self, model: Model, history: History) -> bool:
        """Record the epoch; True when training is at an end."""
        e = self._estimator
        e.n_iter_ += 1
        e.loss_ = history.loss[-1]
        e.t_ += self._n_samples
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")  # noqa: T201 -- asked for
        if history.val_loss:
            self._record_validation(model, history)
        self._count_improvement()
        self._solver.epoch_ends(e.t_, e.learning_rate_init)
        return self._out_of_patience() or self._incremental

    def _record_validation(self, model: Model, history: History) -> None:
        e, score = self._estimator, history["val_score"][-1]
        e.validation_scores_.append(score)
        e.validation_loss_curve_.append(history.val_loss[-1])
        if e.verbose:
            print(f"Validation score: {score:f}")  # noqa: T201

    def _count_improvement(self) -> None:
        e = self._estimator
        if e.early_stopping:
            score = e.validation_scores_[-1]
            worse = score < e.best_validation_score_ + e.tol
            if score > e.best_validation_score_:
                e.best_validation_score_ = score
                e._best_parameters = e._model.parameters.copy()
        else:
            worse = e.loss_ > e.best_loss_ - e.tol
            e.best_loss_ = min(e.loss_, e.best_loss_)
        e._no_improvement_count = e._no_improvement_count + 1 if worse else 0

    def _out_of_patience(self) -> bool:
        e = self._estimator
        if e._no_improvement_count <= e.n_iter_no_change:
            return False
        slower = self._solver.slow_down()
        if e.verbose:
            what = "Validation score" if e.early_stopping else "Training loss"
            then = f"Setting learning rate to {self._solver.learning_rate:f}" if slower else "Stop"
            print(  # noqa: T201
                f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
                f"consecutive epochs. {then}."
            )
        if slower:
            e._no_improvement_count = 0
        return not slower


def train(
    estimator: Any,
    model: Model,
    samples: Samples,
    validation: Validation | None,
    batch_size: int,
    incremental: bool,
) -> None:
    """Run the epochs of one fit, or the one epoch of a partial fit."""
    solver: Solver = estimator._optimizer
    trainer = Trainer(
        model._network,
        model.parameters,
        aligned_zeros(model.n_parameters, model.dtype),
        solver.state,
        samples,
        batch_size,
        estimator.alpha,
        objective=PenalizedLoss(model.loss_function, samples, estimator.alpha),
    )
    hooks: list[Callback] = [Bookkeeper(estimator, solver, len(samples), incremental)]
    history = History(["loss"] if validation is None else ["loss", "val_loss", "val_score"])
    fit = Fit(
        model,
        trainer,
        hooks,
        (lambda: {}) if validation is None else (lambda: validation.figures(model)),
        Shuffler(estimator._random_state) if estimator.shuffle else None,
        history,
    )
    estimator.n_iter_ = 0
    try:
        with fit.callbacks_around(estimator.max_iter):
            stopped = fit.run(estimator.max_iter)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    except DivergenceError as error:
        _diverged(estimator, error)
    else:
        if not stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )


def _diverged(estimator: Any, error: DivergenceError) -> None:
    """Go on with the best parameters if early stopping has kept some."""
    if not estimator.early_stopping:
        raise DivergenceError(f"{NOT_FINITE} ({error})") from error
    estimator.n_iter_ += 1
    estimator.validation_scores_.append(float("nan"))
    warnings.warn(
        f"Training diverged, the best weights so far are kept: {error}",
        ConvergenceWarning,
        stacklevel=2,
    )
