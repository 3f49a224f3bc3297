"""Callbacks: what happens between the epochs of a fit."""

import os
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from fastbp._validation import as_bool, explain, non_negative, positive_integer
from fastbp.history import History

if TYPE_CHECKING:
    from fastbp.model import Model


class Callback:
    """Base of all callbacks; a subclass overrides the hooks it wants.

    An exception from a hook ends the fit and reaches the caller unchanged; the model stays at its
    last finished minibatch. ``fit`` itself must not be called from a hook.
    """

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Prepare for a fit of ``epochs`` epochs; ``history`` is still empty."""

    def on_progress(self, model: "Model", history: History, epoch: float) -> None:
        """Look at a fit about every 50 ms, with the epochs elapsed and their fraction."""

    def on_epoch_end(self, model: "Model", history: History) -> bool | None:
        """Look at a finished epoch; True ends the fit."""

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Clean up after the fit, however it ended."""


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

    def check(self, history: History) -> None:
        if self.monitor not in history.columns:
            hint = "val_ figures need validation_data" if self.monitor.startswith("val_") else ""
            expected = f"one of {', '.join(map(repr, history.columns))}"
            raise ValueError(explain("monitor", expected, repr(self.monitor), hint))

    def improved(self, history: History) -> bool:
        figure = self._sign * history[self.monitor][-1]
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
        self._best.check(history)

    def on_epoch_end(self, model: "Model", history: History) -> bool:
        """Keep the best parameters; True when patience is at an end."""
        if self._best.improved(history):
            self._waited = 0
            if self._restore_best:
                self._parameters = model.parameters.copy()
        else:
            self._waited += 1
        return self._waited >= self._patience

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Give the model its best parameters back, and forget the fit."""
        if self._parameters is not None:
            model.parameters = self._parameters
        self._best.forget()
        self._waited = 0
        self._parameters = None


class ModelCheckpoint(Callback):
    """Save the model after each epoch.

    Parameters
    ----------
    path : str or path
        File that is replaced each time, in one piece.
    monitor : str
        Column of the history, as in `EarlyStopping`.
    save_best_only : bool
        Save only when that figure is the best so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = True,
    ) -> None:
        self._path = os.fspath(path)
        self._best = _Best(monitor, 0.0)
        self._save_best_only = as_bool(save_best_only, "save_best_only")

    def on_fit_begin(self, model: "Model", history: History, epochs: int) -> None:
        """Refuse a figure that the history has not."""
        if self._save_best_only:
            self._best.check(history)

    def on_epoch_end(self, model: "Model", history: History) -> None:
        """Save the model if it is time."""
        if not self._save_best_only or self._best.improved(history):
            model.save(self._path)

    def on_fit_end(self, model: "Model", history: History) -> None:
        """Forget the fit."""
        self._best.forget()


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
