"""From an estimator's parameters to an `Optimizer`."""

from typing import Any

from fastbp._validation import explain
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastbp.schedules import Schedule


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that `solver` and its settings mean."""
    e = estimator
    if isinstance(e.solver, Optimizer):
        if e.clip_norm is not None:
            hint = "give clip_norm to the optimizer"
            raise ValueError(explain("clip_norm", "None beside an Optimizer", e.clip_norm, hint))
        return e.solver
    scheduled = isinstance(e.learning_rate, Schedule)
    rate = e.learning_rate if scheduled else float(e.learning_rate_init)
    clip = None if e.clip_norm is None else float(e.clip_norm)
    if e.solver == "sgd":
        momentum = float(e.momentum)
        nesterov = bool(e.nesterovs_momentum) and momentum > 0
        return SGD(rate, momentum=momentum, nesterov=nesterov, clip_norm=clip)
    eps = float(e.epsilon)
    if e.solver in ("adam", "adamw"):
        # scikit-learn's eps is the epsilon-hat of Kingma and Ba; AdamW is PyTorch's
        kind, eps_hat = (Adam, True) if e.solver == "adam" else (AdamW, False)
        beta1, beta2 = float(e.beta_1), float(e.beta_2)
        return kind(rate, beta1=beta1, beta2=beta2, eps=eps, eps_hat=eps_hat, clip_norm=clip)
    if e.solver == "rmsprop":
        return RMSprop(rate, clip_norm=clip)
    return Adagrad(rate, clip_norm=clip)


def policy_of(estimator: Any) -> str:
    """Return how the learning rate changes from epoch to epoch beside any schedule."""
    return str(estimator.learning_rate) if estimator.solver == "sgd" else "constant"
