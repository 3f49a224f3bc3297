"""What an estimator does when training stops being finite."""

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastbp.errors import DivergenceError

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


def end_diverged(estimator: Any, where: str, kept: str, warns: bool) -> None:
    """End a fit whose weights, the ``kept`` ones, are in place: by an error or a warning.

    ``warns`` says that there is to be no error, whatever ``on_divergence`` says.
    """
    advice = "scale X and y"
    if estimator.solver != "lbfgs":
        advice += ", lower the learning rate (learning_rate_init) or set clip_norm"
    if estimator.on_divergence == "raise" and not warns:
        raise DivergenceError(f"{NOT_FINITE} ({where}; coefs_ are the last finite ones; {advice})")
    if "loss_" not in estimator.__dict__:  # not even one epoch came to its end
        estimator.loss_ = float("nan")
    warnings.warn(
        f"Training diverged and has ended with the {kept} weights: {where}; {advice}",
        ConvergenceWarning,
        stacklevel=3,
    )
