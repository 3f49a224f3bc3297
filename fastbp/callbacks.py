"""Callbacks: what happens between the epochs of a fit."""

import os
import warnings
from reprlib import repr as short
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastbp._files import FileLock, remove_leftovers
from fastbp._validation import (
    Array,
    as_bool,
    as_integer,
    as_vector,
    explain,
    non_negative,
    positive_integer,
)
from fastbp.history import History

if TYPE_CHECKING:
    from fastbp.model import Model


class Callback:
    """Base of all callbacks; a subclass overrides the hooks it wants.

    An exception from a hook ends the fit and reaches the caller unchanged; the model stays at its
    last finished minibatch. ``fit`` itself must not be called from a hook.
    """

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Prepare for a fit of ``epochs`` epochs; ``history`` has those of before, if resumed."""

    def on_progress(self, model: "Model", history: History, epoch: float) -> None:
        """Look at a fit about every 50 ms, with the epochs elapsed and their fraction.

        Only a callback that overrides this may change the parameters within an epoch.
        """

    def on_epoch_end(self, model: "Model", history: History) -> bool | None:
        """Look at a finished epoch; True ends the fit."""

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Clean up after the fit, however it ended."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep of this callback: arrays and numbers by name.

        It is asked for after each epoch; what it has returned must not change later.
        """
        return {}

    def restore(self, model: "Model", state: dict[str, Array]) -> None:
        """Go on from a state that a checkpoint kept; called after `on_fit_begin`."""


class _Best:
    """Tells whether a figure is the best so far: the lowest ``*loss``, the highest of others."""

    def __init__(self, monitor: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(explain("monitor", "a column of the history", short(monitor)))
        self.monitor = monitor
        self._min_delta = non_negative(min_delta, "min_delta")
        self._sign = -1.0 if monitor.endswith("loss") else 1.0
        self.forget()

    def forget(self) -> None:
        self._best = -float("inf")

    def begin(self, history: History) -> None:
        if self.monitor not in history.columns:
            hint = "val_ figures need validation_data" if self.monitor.startswith("val_") else ""
            expected = f"one of {', '.join(map(repr, history.columns))}"
            raise ValueError(explain("monitor", expected, repr(self.monitor), hint))
        for figure in history[self.monitor]:  # of before, if the fit is resumed
            self._take(self._sign * figure)

    def improved(self, history: History) -> bool:
        return self._take(self._sign * history[self.monitor][-1])

    def _take(self, figure: float) -> bool:
        better = figure > self._best + self._min_delta
        if better:
            self._best = figure
        return better


class EarlyStopping(Callback):
    """End the fit when a figure has not become better for some epochs.

    Parameters
    ----------
    monitor : str
        Column of the history; ``*loss`` is better when lower, anything else when higher.
    patience : int
        Epochs without improvement that end the fit.
    min_delta : float
        What counts as improvement is larger than this.
    restore_best : bool
        Give the model the parameters of its best epoch when the fit ends, however it ends. The
        optimizer's moments and step count stay those of the last epoch: a later fit with an equal
        optimizer goes on from them.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self._best = _Best(monitor, min_delta)
        self._patience = positive_integer(patience, "patience")
        self._restore_best = as_bool(restore_best, "restore_best")
        self._waited = 0
        self._parameters: Any = None

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Refuse a figure that the history has not."""
        self._best.begin(history)

    def on_epoch_end(self, model: "Model", history: History) -> bool:
        """Keep the best parameters; True when patience is at an end."""
        if self._best.improved(history):
            self._waited = 0
            if self._restore_best:
                self._parameters = model.parameters.copy()
        else:
            self._waited += 1
        return self._waited >= self._patience

    def state(self) -> dict[str, Any]:
        """Return how long it has waited, and the best parameters."""
        best = {} if self._parameters is None else {"parameters": self._parameters}
        return {"waited": self._waited} | best

    def restore(self, model: "Model", state: dict[str, Array]) -> None:
        """Go on waiting."""
        parameters = state.get("parameters")
        if parameters is not None:
            parameters = as_vector(parameters, "parameters", model.n_parameters, model.dtype)
        self._waited = as_integer(state["waited"][()], "waited", 0)
        self._parameters = parameters

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Give the model its best parameters back, and forget the fit."""
        if self._parameters is not None:
            model.parameters = self._parameters
        self._best.forget()
        self._waited = 0
        self._parameters = None


class ModelCheckpoint(Callback):
    """Save what ``fit(resume=path)`` goes on from, and `Model.load` reads the model of.

    Each file replaces the one before in one piece, after it has been written out and read back:
    whatever happens, one of them is whole. During the fit a lock keeps others from ``path``.

    Parameters
    ----------
    path : str or path
    monitor : str
        Column of the history, as in `EarlyStopping`; used with ``save_best_only``.
    save_best_only : bool
        Save only after an epoch whose figure is the best so far.
    every_seconds : float, optional
        Save whenever so many seconds have passed, also within an epoch; None: after each epoch.
        Without ``save_best_only`` a fit that is interrupted is saved once more.
    on_error : {"raise", "warn"}
        What to do when a file cannot be written, as on a full disk: end the fit with the OSError,
        or train on with a RuntimeWarning. The file before stays as it is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        *,
        every_seconds: float | None = None,
        on_error: str = "raise",
    ) -> None:
        self._path = os.fspath(path)
        self._best = _Best(monitor, 0.0)
        self._save_best_only = as_bool(save_best_only, "save_best_only")
        self._every = None
        if every_seconds is not None:
            self._every = non_negative(every_seconds, "every_seconds")
        if on_error not in ("raise", "warn"):
            raise ValueError(explain("on_error", "'raise' or 'warn'", short(on_error)))
        self._warns = on_error == "warn"
        self._forget()

    def _forget(self) -> None:
        self._best.forget()
        self._lock: FileLock | None = None
        self._saved_at = 0.0
        self._saved: Any = None  # where the fit was then

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Lock the file, and clear away what a killed process has left of it."""
        self._end()  # Ctrl-C may have kept the end of another fit from it
        if self._save_best_only:
            self._best.begin(history)
        self._lock = FileLock(self._path)
        try:
            remove_leftovers(self._path)
        except BaseException:
            self._end()  # a callback that has not begun is not ended
            raise
        self._saved_at = perf_counter()

    def on_progress(self, model: "Model", history: History, epoch: float) -> None:
        """Save in the middle of an epoch if it is time."""
        if not self._save_best_only and self._every is not None and self._is_time():
            self._save(model)

    def on_epoch_end(self, model: "Model", history: History) -> None:
        """Save if it is time."""
        if self._best.improved(history) if self._save_best_only else self._is_time():
            self._save(model)

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Save what is not yet saved, unlock the file, and forget the fit."""
        try:
            if not self._save_best_only and model._progress() not in (None, self._saved):
                self._save(model)
        finally:
            self._end()

    def _end(self) -> None:
        try:
            if self._lock is not None:
                self._lock.release()
        finally:
            if self._lock is not None:
                self._lock.close()  # Ctrl-C may have kept it from being released
            self._forget()

    def _is_time(self) -> bool:
        return self._every is None or perf_counter() - self._saved_at >= self._every

    def _save(self, model: "Model") -> None:
        try:
            model._save_checkpoint(self._path)
        except OSError as error:
            if not self._warns:
                raise
            warnings.warn(f"checkpoint not saved: {error}", RuntimeWarning, stacklevel=2)
        else:
            self._saved = model._progress()
        self._saved_at = perf_counter()


class ProgressBar(Callback):
    """Show epochs, time left and the last figures with tqdm.

    Parameters
    ----------
    **options
        Further arguments of ``tqdm.tqdm``, such as ``file`` or ``leave``.
    """

    def __init__(self, **options: Any) -> None:
        try:
            from tqdm import tqdm  # noqa: PLC0415 -- optional dependency
        except ImportError as error:
            hint = "pip install 'fastbp[cli]', or verbose=0"
            raise ImportError(f"ProgressBar needs tqdm: {hint}") from error
        self._tqdm = tqdm
        self._options = options
        self._bar: Any = None

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Open the bar."""
        layout = "{l_bar}{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]"
        self._bar = self._tqdm(total=epochs, **{"bar_format": layout} | self._options)

    def on_progress(self, model: "Model", history: History, epoch: float) -> None:
        """Move the bar."""
        self._bar.update(epoch - self._bar.n)

    def on_epoch_end(self, model: "Model", history: History) -> None:
        """Move the bar and show the figures."""
        figures = {name: f"{value:.4g}" for name, value in history.last().items()}
        figures.pop("seconds")
        self._bar.set_postfix(figures, refresh=False)
        self._bar.update(len(history) - self._bar.n)

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Close the bar."""
        self._bar.close()
        self._bar = None  # it holds an open file, which cannot be copied
