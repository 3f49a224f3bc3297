"""The epochs of one fit, with callbacks around them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from reprlib import repr as short
from time import perf_counter
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fastbp._training import Trainer
from fastbp._validation import as_integer, explain
from fastbp.callbacks import Callback, ProgressBar
from fastbp.history import History

if TYPE_CHECKING:
    from fastbp.model import Model

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def as_callbacks(callbacks: Iterable[Callback], verbose: int) -> list[Callback]:
    """Return the callbacks, and a progress bar if ``verbose`` is 1."""
    expected = "Callback objects in a list"
    if not isinstance(callbacks, Iterable):
        raise TypeError(explain("callbacks", expected, short(callbacks)))
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(explain("callbacks", expected, short(hook)))
    if as_integer(int(verbose) if isinstance(verbose, bool) else verbose, "verbose", 0, 1):
        hooks.append(ProgressBar())
    return hooks


# by identity, so that nothing of it is in an object: a copy of what is being fitted is free
_BEING_FITTED: dict[int, object] = {}


@contextmanager
def fitting_alone(owner: object) -> Iterator[None]:
    """Let no other fit of the same object begin; RuntimeError if one has begun already."""
    own = object()
    if _BEING_FITTED.setdefault(id(owner), own) is not own:  # one step, whatever threads do
        raise RuntimeError("fit: this model is being fitted already, by a callback or thread")
    try:
        yield
    finally:
        del _BEING_FITTED[id(owner)]


def is_being_fitted(owner: object) -> bool:
    """Whether a fit of the object has begun and not ended."""
    return id(owner) in _BEING_FITTED


def fits_alone(method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[T, P], R]:
    """Run all of a method under `fitting_alone`."""

    @wraps(method)
    def alone(self: T, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with fitting_alone(self):
            return method(self, *args, **kwargs)

    return alone


@contextmanager
def callbacks_around(
    callbacks: list[Callback], model: "Model", history: History, epochs: int
) -> Iterator[None]:
    """Begin all callbacks; end those that have begun, however the fit ends."""
    with ExitStack() as stack:
        for callback in callbacks:
            callback.on_fit_begin(model, history, epochs)
            stack.callback(callback.on_fit_end, model, history)
        yield


class Shuffler(Protocol):
    """What draws the orders of the samples."""

    def permutation(self, n: int, /) -> npt.NDArray[np.int64]:
        """Return an order of n samples."""
        ...


@dataclass(frozen=True)
class Fit:
    """One call of `Model.fit` whose arguments are all in order."""

    model: "Model"
    trainer: Trainer
    callbacks: list[Callback]
    evaluate: Callable[[], dict[str, float]]
    shuffler: Shuffler | None
    history: History

    def callbacks_around(self, epochs: int) -> AbstractContextManager[None]:
        """Begin all callbacks; end those that have begun, however the fit ends."""
        return callbacks_around(self.callbacks, self.model, self.history, epochs)

    def run(self, epochs: int) -> bool:
        """Train until all epochs are done or a callback stops; say whether one did."""
        for _ in range(epochs):
            self._run_epoch()
            answers = [self._stops(callback) for callback in self.callbacks]
            if any(answers):
                return True
        return False

    def _run_epoch(self) -> None:
        begun = perf_counter()
        order = None
        if self.shuffler is not None:
            order = self.shuffler.permutation(len(self.trainer.samples))
        loss = self.trainer.run_epoch(len(self.history) + 1, order, self._on_progress)
        figures = {"loss": loss} | self.evaluate()
        self.history.append(figures | {"seconds": perf_counter() - begun})

    def _on_progress(self, share: float) -> None:
        for callback in self.callbacks:
            callback.on_progress(self.model, self.history, len(self.history) + share)

    def _stops(self, callback: Callback) -> bool:
        answer: object = callback.on_epoch_end(self.model, self.history)
        if answer is not None and not isinstance(answer, bool):
            name = f"{type(callback).__name__}.on_epoch_end"
            raise TypeError(explain(name, "to return None, True or False", short(answer)))
        return bool(answer)
