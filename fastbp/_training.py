"""One epoch of training, and what lives on between epochs."""

from collections.abc import Callable
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from fastbp import _engine
from fastbp._memory import aligned_zeros
from fastbp._validation import Array, Float64, as_integer, explain, non_negative
from fastbp.errors import DivergenceError
from fastbp.optimizers import Optimizer

_SLICE = 0.05  # seconds of compiled code between two looks at Ctrl-C and the callbacks


@dataclass(frozen=True)
class Samples:
    """Validated data: features, labels (n,) or targets (n, n_out), weights (n,) or None."""

    x: Any  # (n, n_in): an ndarray, or an _engine.CSR
    y: Array
    weight: Float64 | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    def total_weight(self) -> float:
        """Return the sum of the weights."""
        return float(len(self)) if self.weight is None else _engine.sum_float64(self.weight)


@dataclass
class OptimizerState:
    """Moments and clock of an optimizer, which a later fit with an equal one continues."""

    optimizer: Optimizer
    m: Array | None
    v: Array | None
    steps: int = 0
    epochs: float = 0.0

    @classmethod
    def start(cls, optimizer: Optimizer, parameters: Array) -> Self:
        """Return the state before the first update."""
        size, dtype = parameters.size, parameters.dtype
        m = aligned_zeros(size, dtype, 1) if optimizer.needs_m else None
        v = aligned_zeros(size, dtype, 2) if optimizer.needs_v else None
        return cls(optimizer, m, v)

    def refuse_damaged(self, parameters: Array) -> None:
        """Raise ValueError unless the compiled core can go on from this with these parameters.

        Moments that are only not writeable, as those of a memory map, are copied.
        """
        if not isinstance(self.optimizer, Optimizer):
            raise ValueError(explain("optimizer", "an Optimizer", short(self.optimizer)))
        try:
            self.optimizer.__post_init__()  # a pickle brings its fields past these checks
            as_integer(self.steps, "steps of the optimizer", 0, 1 << 62)
            non_negative(self.epochs, "epochs of the optimizer")
        except (TypeError, AttributeError) as error:
            raise ValueError(f"damaged state of the optimizer: {error}") from error
        for name, needed in (("m", self.optimizer.needs_m), ("v", self.optimizer.needs_v)):
            moment = getattr(self, name)
            if not needed and moment is None:
                continue
            if not needed or (
                not isinstance(moment, np.ndarray)
                or (moment.dtype, moment.shape) != (parameters.dtype, parameters.shape)
            ):
                expected = f"{parameters.dtype} of shape {parameters.shape}" if needed else "none"
                raise ValueError(
                    explain(f"moment {name} of the optimizer", expected, short(moment))
                )
            if not (moment.flags.carray and moment.flags.writeable):
                setattr(self, name, moment.copy())

    def rates(self, n_batches: int) -> Float64:
        """Return the learning rates of the minibatches of the epoch to come."""
        if isinstance(self.optimizer.learning_rate, float):
            return np.full(n_batches, self.optimizer.learning_rate)
        batch = np.arange(n_batches, dtype=np.float64)
        return self.optimizer.rates(self.steps + batch, self.epochs + batch / n_batches)


class Objective(Protocol):
    """What an epoch's loss is, if not the mean over the samples."""

    def __call__(self, losses: Float64, squares: Float64, batches: "Batches") -> float:
        """Return it from each minibatch's summed loss and the squares of all weights before it."""
        ...


@dataclass(frozen=True)
class Batches:
    """The minibatches of an epoch."""

    order: npt.NDArray[np.int64] | None
    starts: npt.NDArray[np.int64]
    rows: Float64  # how many samples each has
    scales: Float64  # what the summed gradient is multiplied by: 1 / total weight, or 0

    @classmethod
    def of(cls, samples: Samples, batch_size: int, order: npt.NDArray[np.int64] | None) -> Self:
        """Cut the samples, in this order, into minibatches."""
        starts = np.arange(0, len(samples), batch_size)
        rows = np.diff(starts, append=len(samples)).astype(np.float64)
        weights = rows
        if samples.weight is not None:
            ordered = samples.weight if order is None else samples.weight[order]
            weights = np.add.reduceat(ordered, starts)
        # a minibatch without weight has neither gradient nor penalty
        scales = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        return cls(order, starts, rows, scales)

    def __len__(self) -> int:
        """Return the number of minibatches."""
        return len(self.starts)


def _diverged(what: str, when: str) -> DivergenceError:
    where = f"{what} stopped being finite in {when}"
    error = DivergenceError(
        f"{where}; the model keeps its last finite parameters; scale X and y, lower learning_rate "
        f"or set clip_norm"
    )
    error.where = where
    return error


@dataclass(frozen=True)
class Position:
    """How far an epoch has come: its number, its finished minibatches and their summed loss."""

    epoch: int
    batches: int = 0
    loss: float = 0.0


@dataclass
class Trainer:
    """What all epochs of one fit share."""

    network: _engine.Network
    parameters: Array
    gradient: Array
    state: OptimizerState
    samples: Samples
    batch_size: int
    l2: float
    bf16: str = ""  # which products of bf16; "": none
    objective: Objective | None = None
    draw_seed: Callable[[], int] | None = None  # of what each epoch drops; None: nothing
    start: Position = Position(1)  # where the first epoch to be run has got to in an earlier fit
    tracks: bool = False  # whether `position` will be asked for
    _begun: tuple[int, _engine.Epoch] | None = None

    def __post_init__(self) -> None:
        """Cut the samples once: without weights the minibatches are alike in any order.

        Not in a cached_property, whose lock a child of a fork could find held (Python 3.11).
        """
        self._in_order = Batches.of(self.samples, self.batch_size, None)

    def n_batches(self) -> int:
        """Return the number of minibatches of an epoch."""
        return len(self._in_order)

    def position(self, number: int) -> Position:
        """Return how far this epoch has come, at any moment: the compiled core keeps count."""
        if self._begun is not None and self._begun[0] == number:
            epoch = self._begun[1]
            return Position(number, epoch.batches_done, epoch.loss)
        return self.start if self.start.epoch == number else Position(number)

    def run_epoch(
        self, number: int, order: npt.NDArray[np.int64] | None, on_progress: Callable[[float], bool]
    ) -> float:
        """Update once for each minibatch, taken in ``order``; return the mean loss.

        ``on_progress`` is called about every 50 ms with the finished share of the epoch, and says
        whether the parameters may have changed meanwhile. Whatever interrupts the epoch, parameters
        and state are those after the last finished minibatch.
        """
        batches = self._batches(order)
        losses = squares = None
        if self.objective is not None:
            losses, squares = np.empty(len(batches)), np.empty(len(batches))
        epoch = self._prepare(batches, losses, squares, self.position(number))
        if self.tracks:
            self._begun = (number, epoch)
        while not epoch.run(_SLICE):
            if on_progress(epoch.batches_done / len(batches)):
                epoch.parameters_changed()
        if epoch.status != "ok":
            batch = epoch.batches_done + (epoch.status == "loss")  # then its update was not made
            raise _diverged(f"the {epoch.status}", f"epoch {number}, minibatch {batch}")
        if self.objective is None or losses is None or squares is None:
            loss = epoch.loss / self.samples.total_weight()
        else:
            loss = self.objective(losses, squares, batches)
        if not np.isfinite(loss):  # each minibatch's was, but not the sum or a penalty
            raise _diverged("the mean loss", f"epoch {number}")
        return loss

    def _batches(self, order: npt.NDArray[np.int64] | None) -> Batches:
        """Cut the samples, in this order, into minibatches."""
        if self.samples.weight is not None:
            return Batches.of(self.samples, self.batch_size, order)
        same = self._in_order
        return Batches(order, same.starts, same.rows, same.scales)

    def _prepare(
        self,
        batches: Batches,
        losses: Float64 | None,
        squares: Float64 | None,
        start: Position,
    ) -> _engine.Epoch:
        state, samples = self.state, self.samples
        return _engine.Epoch(
            self.network,
            self.parameters,
            self.gradient,
            state.m,
            state.v,
            samples.x,
            samples.y,
            samples.weight,
            batches.order,
            self.batch_size,
            state.rates(len(batches)),
            batches.scales,
            state.steps + 1,
            l2=self.l2,
            batch_losses=losses,
            squares=squares,
            bf16=self.bf16,
            dropout_seed=None if self.draw_seed is None else self.draw_seed(),
            batches_done=start.batches,
            loss=start.loss,
            clock=state,
            **state.optimizer.engine_settings(),
        )
