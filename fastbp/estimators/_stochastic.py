"""Epochs of minibatches under scikit-learn's rules: order of samples, rates, when to stop."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp._fitting import Fit
from fastbp._memory import aligned_zeros
from fastbp._training import OptimizerState, Samples, Trainer
from fastbp.callbacks import Callback
from fastbp.errors import DivergenceError
from fastbp.estimators._bookkeeping import Bookkeeper, restores_best
from fastbp.estimators._divergence import end_diverged
from fastbp.estimators._objective import PenalizedLoss
from fastbp.estimators._optimizers import optimizer_of, policy_of
from fastbp.estimators._validation_set import Validation, figures_of, history_of
from fastbp.model import Model


class Shuffler:
    """Orders of samples, each a shuffle of the one before, drawn as scikit-learn draws them."""

    def __init__(self, rng: np.random.RandomState) -> None:
        self._rng = rng
        self._order = np.empty(0, np.int64)

    def permutation(self, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the next order of n samples."""
        if len(self._order) != n:
            self._order = np.arange(n)
        self._rng.shuffle(self._order)
        return self._order


@dataclass
class Solver:
    """The optimizer's state and the learning rate, which partial fits continue."""

    state: OptimizerState
    policy: str
    learning_rate: float
    made_for: tuple[int, str]  # number and dtype of the parameters

    @classmethod
    def start(cls, estimator: Any, model: Model) -> "Solver":
        """Return the state before the first update."""
        optimizer = optimizer_of(estimator)
        rate = optimizer.learning_rate
        first = rate if isinstance(rate, float) else float("nan")  # a schedule has many
        state = OptimizerState.start(optimizer, model.parameters)
        return cls(state, policy_of(estimator), first, _kind_of(model))

    def goes_on(self, model: Model) -> bool:
        """Whether it can continue with this model; ValueError where it is damaged."""
        if self.made_for != _kind_of(model):  # the caller has put other weights in place
            return False
        self.state.refuse_damaged(model.parameters)
        return True

    def epoch_ends(self, samples_seen: int, initial: float, power: float) -> None:
        """Set the rate that falls with the number of samples."""
        if self.policy == "invscaling":
            self.change_rate(initial / (samples_seen + 1) ** power)

    def slow_down(self) -> bool:
        """Go on at a fifth of the rate, if that is the policy; False: it is time to stop."""
        if self.policy != "adaptive" or self.learning_rate <= 1e-6:
            return False
        self.change_rate(self.learning_rate / 5.0)
        return True

    def change_rate(self, rate: float) -> None:
        """Go on at this rate. The velocity, rate times momentum, stays as it is, as theirs does."""
        if self.state.m is not None:
            self.state.m *= self.learning_rate / rate
        self.state.optimizer = replace(self.state.optimizer, learning_rate=rate)
        self.learning_rate = rate


def _kind_of(model: Model) -> tuple[int, str]:
    return model.n_parameters, model.dtype.name


@dataclass(frozen=True)
class Training:
    """What one fit, or partial fit, trains on."""

    model: Model
    samples: Samples
    validation: Validation | None
    incremental: bool
    hooks: list[Callback]


def train(estimator: Any, training: Training) -> None:
    """Run the epochs of one fit, or the one epoch of a partial fit."""
    fit = _fit_of(estimator, training)
    estimator.n_iter_ = 0
    try:
        with fit.callbacks_around(estimator.max_iter):
            stopped = fit.run(estimator.max_iter)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    except DivergenceError as error:
        as_theirs = estimator.early_stopping and training.validation is not None
        if as_theirs:  # scikit-learn goes on, with scores of NaN
            estimator.n_iter_ += 1
            estimator.validation_scores_.append(float("nan"))
        best = restores_best(estimator) and not training.incremental
        end_diverged(estimator, error.where, "best" if best else "last finite", as_theirs)
    else:
        if not stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )


def _fit_of(estimator: Any, training: Training) -> Fit:
    model, samples, validation = training.model, training.samples, training.validation
    solver: Solver = estimator._optimizer
    bf16 = model._products(estimator.precision)
    trainer = Trainer(
        model._network,
        model.parameters,
        aligned_zeros(model.n_parameters, model.dtype),
        solver.state,
        samples,
        _batch_size(estimator, len(samples)),
        float(estimator.alpha),
        bf16,
        PenalizedLoss(model.loss_function, samples, float(estimator.alpha)),
        model._draw_seed(bf16, lambda: _dropout_seed(estimator)),
    )
    book = Bookkeeper(estimator, solver, len(samples), training.incremental)
    return Fit(
        model,
        trainer,
        [book, *training.hooks],
        lambda: figures_of(validation, model),
        Shuffler(estimator._random_state) if estimator.shuffle else None,
        history_of(validation),
    )


def _batch_size(estimator: Any, n_samples: int) -> int:
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=4,
        )
    return int(min(estimator.batch_size, n_samples))


def _dropout_seed(estimator: Any) -> int:
    """Return another one in each epoch, also where each partial fit starts at the same numbers."""
    drawn = int(estimator._random_state.randint(1 << 31))
    return (int(estimator.t_) << 31) + drawn & (1 << 63) - 1
