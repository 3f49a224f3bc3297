"""The epochs of one fit, with callbacks around them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from reprlib import repr as short
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fastbp._training import Trainer
from fastbp._validation import as_integer, explain
from fastbp.callbacks import Callback, ModelCheckpoint, ProgressBar
from fastbp.errors import DivergenceError
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


# By identity, so that nothing of it is in an object: a copy of what is being fitted is free. An
# object is being fitted while its lock is held. A lock that is let go by its own ``with`` is so
# after Ctrl-C at any moment; a flag, or a lock that is taken by ``acquire``, is not. There is no
# lock around all this: a child of a fork could find it held by a thread that it has not got.
_FITS: dict[int, Lock] = {}


@contextmanager
def fitting_alone(owner: object) -> Iterator[None]:
    """Let no other fit of the same object begin; RuntimeError if one has begun already."""
    running = Lock()
    with running:
        first = _FITS.setdefault(id(owner), running)  # one step, whatever threads do
        if first is not running:
            if first.locked():
                what = "this model is being fitted already, by a callback or thread"
                raise RuntimeError(f"fit: {what}")
            _FITS[id(owner)] = running  # Ctrl-C has kept the fit before from taking its entry back
        try:
            yield
        finally:
            _FITS.pop(id(owner), None)


def is_being_fitted(owner: object) -> bool:
    """Whether a fit of the object has begun and not ended."""
    running = _FITS.get(id(owner))
    return running is not None and running.locked()


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
class Cut:
    """Where a fit can go on: all that has changed by the beginning of an epoch but the model.

    What changes within the epoch are parameters, moments and the trainer's `Position`.
    """

    epoch: int  # number of the epoch that begins
    rng: Mapping[str, Any]
    steps: int
    epochs: float
    stopped: bool
    callbacks: list[dict[str, Any]]  # states of those that have one


@dataclass
class Fit:
    """One call of `Model.fit` whose arguments are all in order."""

    model: "Model"
    trainer: Trainer
    callbacks: list[Callback]
    evaluate: Callable[[], dict[str, float]]
    shuffler: Shuffler | None
    history: History
    stopped: bool = False  # by a callback
    cut: Cut | None = None  # kept up to date where the trainer tracks its position

    def __post_init__(self) -> None:
        """Put checkpoints last: they save what all others say, and end before these clean up."""
        self.savers = [h for h in self.callbacks if isinstance(h, ModelCheckpoint)]
        self.others = [h for h in self.callbacks if not isinstance(h, ModelCheckpoint)]
        self.callbacks = [*self.others, *self.savers]
        # those whose state belongs to a checkpoint
        self.stateful = [h for h in self.callbacks if type(h).state is not Callback.state]

    def callbacks_around(self, epochs: int) -> AbstractContextManager[None]:
        """Begin all callbacks; end those that have begun, however the fit ends."""
        return callbacks_around(self.callbacks, self.model, self.history, epochs)

    def run(self, epochs: int) -> bool:
        """Train until all epochs are done or a callback stops; say whether one did."""
        self._mark()
        while len(self.history) < epochs and not self.stopped:
            self._run_epoch()
            answers = [self._stops(callback) for callback in self.others]
            self.stopped = any(answers)
            self._mark()
            for saver in self.savers:
                saver.on_epoch_end(self.model, self.history)
        return self.stopped

    def _mark(self) -> None:
        """Let an interrupted fit go on from here, in one assignment: a signal may come any time."""
        if self.trainer.tracks:
            state = self.trainer.state
            self.cut = Cut(
                len(self.history) + 1,
                self.model._rng.bit_generator.state,
                state.steps,
                state.epochs,
                self.stopped,
                [hook.state() for hook in self.stateful],
            )

    def _run_epoch(self) -> None:
        begun = perf_counter()
        order = None
        if self.shuffler is not None:
            order = self.shuffler.permutation(len(self.trainer.samples))
        try:
            loss = self.trainer.run_epoch(len(self.history) + 1, order, self._on_progress)
        except DivergenceError:
            self.cut = None  # nothing good comes from here
            raise
        figures = {"loss": loss} | self.evaluate()
        self.history.append(figures | {"seconds": perf_counter() - begun})

    def _on_progress(self, share: float) -> bool:
        """Tell the callbacks; say whether one has looked, and may have changed the parameters."""
        for callback in self.callbacks:
            callback.on_progress(self.model, self.history, len(self.history) + share)
        return any(type(hook).on_progress is not Callback.on_progress for hook in self.callbacks)

    def _stops(self, callback: Callback) -> bool:
        answer: object = callback.on_epoch_end(self.model, self.history)
        if answer is not None and not isinstance(answer, bool):
            name = f"{type(callback).__name__}.on_epoch_end"
            raise TypeError(explain(name, "to return None, True or False", short(answer)))
        return bool(answer)
