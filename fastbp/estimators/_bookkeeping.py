"""An estimator's attributes after each epoch, and scikit-learn's rule of when to stop."""

from typing import TYPE_CHECKING, Any

from fastbp._fitting import as_callbacks
from fastbp.callbacks import Callback
from fastbp.history import History
from fastbp.model import Model

if TYPE_CHECKING:
    from fastbp.estimators._stochastic import Solver


def restores_best(estimator: Any) -> bool:
    """Whether a fit ends with the weights of its best epoch, or iteration of lbfgs."""
    wanted = estimator.restore_best_weights
    if wanted is None:  # lbfgs takes no notice of early_stopping, as in scikit-learn
        wanted = estimator.early_stopping and estimator.solver != "lbfgs"
    return bool(wanted)


def say(estimator: Any, text: str) -> None:
    """Print a line if the estimator is to be verbose, in lines and not by a bar."""
    if estimator.verbose and estimator.verbose != "bar":
        print(text)  # noqa: T201 -- asked for


def own_callbacks(estimator: Any) -> list[Callback]:
    """Return fastbp's callbacks that the estimator was given, with its progress bar."""
    given = () if estimator.callbacks is None else estimator.callbacks
    return as_callbacks(given, estimator.verbose == "bar")


def record_validation(estimator: Any, history: History) -> bool:
    """Record the last figures of the validation set; True if its score is the best so far."""
    score = history["val_score"][-1]
    estimator.validation_scores_.append(score)
    estimator.validation_loss_curve_.append(history.val_loss[-1])
    say(estimator, f"Validation score: {score:f}")
    best: bool = score > estimator.best_validation_score_
    if best:
        estimator.best_validation_score_ = score
    return best


class Bookkeeper(Callback):
    """Keeps an estimator's attributes after each epoch, and stops when it is time."""

    def __init__(self, estimator: Any, solver: "Solver", n_samples: int, incremental: bool) -> None:
        self._estimator = estimator
        self._solver = solver
        self._n_samples = n_samples
        self._incremental = incremental
        self._keeps_best = restores_best(estimator)

    def on_epoch_end(self, model: Model, history: History) -> bool:
        """Record the epoch; True when training is at an end."""
        e = self._estimator
        e.n_iter_ += 1
        e.loss_ = history.loss[-1]
        e.t_ += self._n_samples
        e.loss_curve_.append(e.loss_)
        say(e, f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        self._count_improvement(model, history)
        self._solver.epoch_ends(e.t_, e.learning_rate_init, e.power_t)
        return self._out_of_patience() or self._incremental

    def _count_improvement(self, model: Model, history: History) -> None:
        """Judge by the score if there is early stopping, else by the training loss."""
        e = self._estimator
        best = False
        if history.val_loss:
            worse = history["val_score"][-1] < e.best_validation_score_ + e.tol
            best = record_validation(e, history)
        if not e.early_stopping:
            worse = e.loss_ > e.best_loss_ - e.tol
            if e.loss_ < e.best_loss_:
                e.best_loss_, best = e.loss_, best or not history.val_loss
        if best and self._keeps_best:
            e._best_parameters = model.parameters.copy()
        e._no_improvement_count = e._no_improvement_count + 1 if worse else 0

    def _out_of_patience(self) -> bool:
        e = self._estimator
        if e._no_improvement_count <= e.n_iter_no_change:
            return False
        slower = self._solver.slow_down()
        what = "Validation score" if e.early_stopping else "Training loss"
        then = "Stopping."
        if slower:
            then = f"Setting learning rate to {self._solver.learning_rate:f}"
        elif self._solver.policy == "adaptive":
            then = "Learning rate too small. Stopping."
        say(
            e,
            f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
            f"consecutive epochs. {then}",
        )
        if slower:
            e._no_improvement_count = 0
        return not slower
