"""What each parameter may be, in scikit-learn's terms."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastbp.layers import ACTIVATIONS, Activation
from fastbp.losses import LOSSES, Loss
from fastbp.optimizers import Optimizer
from fastbp.schedules import Schedule

STOCHASTIC = ("sgd", "adam", "adamw", "rmsprop", "adagrad")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({"logistic", *ACTIVATIONS}), Activation, "array-like"],
    "solver": [StrOptions({"lbfgs", *STOCHASTIC}), Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose", StrOptions({"bar"})],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    # beyond scikit-learn's
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "scoring": [str, callable, None],
    "restore_best_weights": ["boolean", None],
    "callbacks": [list, tuple, None],
    "n_threads": [Interval(Integral, 1, 1024, closed="both"), None],
    "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
    "precision": [StrOptions({"bf16"}), None],
    "on_divergence": [StrOptions({"raise", "stop"})],
}
CLASS_WEIGHT: list[Any] = [StrOptions({"balanced"}), dict, list, None]
LOSS: list[Any] = [StrOptions(set(LOSSES) - {"softmax_cross_entropy"}), Loss]


def store(estimator: Any, parameters: dict[str, Any]) -> None:
    """Keep the parameters of ``__init__``, given as its ``locals()``, as they came."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
