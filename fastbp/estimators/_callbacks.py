"""scikit-learn's callbacks (``set_callbacks``, from 1.9 on) as one of ours."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp.callbacks import Callback
from fastbp.history import History
from fastbp.model import Model

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's before 1.9, which had none."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "Tasks", "with_callbacks"]


class Tasks(Callback):
    """Tells scikit-learn's callbacks of the fit, and of each epoch in it as a subtask."""

    def __init__(self, estimator: Any, data: dict[str, Any]) -> None:
        self._estimator = estimator
        self._data = data
        self._fit: Any = None
        self._epoch: Any = None

    def on_fit_begin(self, model: Model, history: History, epochs: int) -> None:
        """Begin the task of the fit and that of the first epoch."""
        self._fit = self._estimator._init_callback_context(max_subtasks=None)
        self._fit.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        self._begin_epoch()

    def on_epoch_end(self, model: Model, history: History) -> bool:
        """End the epoch's task, begin the next; True if a callback asks to stop."""
        stop = self._end(self._epoch)
        self._begin_epoch()
        return stop

    def on_fit_end(self, model: Model, history: History) -> None:
        """End the task of the epoch that was begun for nothing, and that of the fit."""
        self._epoch.call_on_fit_task_end(estimator=self._estimator)
        self._end(self._fit)

    def _begin_epoch(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def _end(self, task: Any) -> bool:
        return bool(
            task.call_on_fit_task_end(
                estimator=self._estimator,
                reconstruction_attributes=self._parameters,
                **self._data,
            )
        )

    def _parameters(self) -> dict[str, list[np.ndarray[Any, Any]]]:
        """Return copies: the estimator's own move on."""
        e = self._estimator
        return {name: [a.copy() for a in getattr(e, name)] for name in ("coefs_", "intercepts_")}
