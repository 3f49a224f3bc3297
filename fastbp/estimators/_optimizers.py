"""From an estimator's parameters to an `Optimizer`."""

from inspect import signature
from reprlib import repr as short
from typing import Any

from fastbp._validation import explain
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastbp.schedules import Schedule

# what an `Optimizer` has settings of its own for, and what has no meaning in a search by lines
_OF_OPTIMIZERS = (
    *("learning_rate", "learning_rate_init", "momentum", "nesterovs_momentum", "beta_1", "beta_2"),
    *("epsilon", "clip_norm"),
)
_NOT_OF_LBFGS = ("clip_norm", "precision")


def refuse_idle_settings(estimator: Any) -> None:
    """Refuse what the solver would not look at, where scikit-learn does not have it so already."""
    e = estimator
    if isinstance(e.solver, Optimizer):
        hint = f"give it to {type(e.solver).__name__}(...)"
        _refuse_set(e, _OF_OPTIMIZERS, "beside an Optimizer, which has its own settings", hint)
    elif e.solver == "lbfgs":
        hint = "leave it out, or take another solver"
        _refuse_set(e, _NOT_OF_LBFGS, "with solver='lbfgs', which has no such thing", hint)
        if isinstance(e.learning_rate, Schedule):
            expected = "no schedule with solver='lbfgs', which searches for its steps"
            raise ValueError(explain("learning_rate", expected, short(e.learning_rate), hint))
    elif isinstance(e.learning_rate, Schedule):
        where = "beside a schedule, which has rates of its own"
        hint = f"give it to {type(e.learning_rate).__name__}(...)"
        _refuse_set(e, ("learning_rate_init",), where, hint)


def _refuse_set(estimator: Any, names: tuple[str, ...], where: str, hint: str) -> None:
    """Refuse parameters that are not at their defaults."""
    parameters = signature(type(estimator)).parameters
    for name in names:
        value = getattr(estimator, name)
        if name in parameters and value != parameters[name].default:
            expected = f"its default, {parameters[name].default!r}, {where}"
            raise ValueError(explain(name, expected, short(value), hint))


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that `solver` and its settings mean."""
    e = estimator
    if isinstance(e.solver, Optimizer):
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
    # not beta_2 nor momentum, whose defaults suit corrected means and plain gradients
    other = RMSprop if e.solver == "rmsprop" else Adagrad
    return other(rate, eps=eps, clip_norm=clip)


def policy_of(estimator: Any) -> str:
    """Return how the learning rate changes from epoch to epoch beside any schedule."""
    return str(estimator.learning_rate) if estimator.solver == "sgd" else "constant"
