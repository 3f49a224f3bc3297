"""Signatures of the compiled core: loops over layers and row blocks on NumPy buffers.

Nothing here validates; `fastbp.model` does, before it calls. "real" is float32 or float64 by the
network's ``itemsize``; flat vectors, ``y``, ``out`` and the like are C-contiguous, aligned, native.
``x`` is 2-d, aligned and native with any strides and any dtype of `X_DTYPES`; it is only read.
``y`` is int32 ``(n,)`` (class labels) or real ``(n, n_out)``.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

MOST_THREADS: Final[int]
"""What `set_num_threads` may be given."""
ACTIVATIONS: Final[tuple[str, ...]]
LOSSES: Final[tuple[str, ...]]
OPTIMIZERS: Final[tuple[str, ...]]
X_DTYPES: Final[tuple[str, ...]]

def isas() -> tuple[str, ...]:
    """Names of the kernel tables that this machine can run, best first."""

def get_isa() -> str:
    """Name of the kernel table in use; ValueError (as in every pass) if ``FASTBP_ISA`` is wrong."""

def use_isa(name: str | None) -> None:
    """Choose a kernel table; None takes ``FASTBP_ISA`` or else the best. ValueError otherwise."""

def bf16_isas() -> tuple[str, ...]:
    """Names of the kinds of bf16 products that this machine can run, fastest first."""

def build_info() -> dict[str, Any]:
    """``compiler`` (str) and ``openmp`` (int: the _OPENMP date, 0 in a serial build)."""

def get_num_threads() -> int:
    """How many threads a pass may use: as set, or fewer where OpenMP has been limited since."""

def set_num_threads(n: int) -> None: ...
def get_thread_grain() -> float:
    """Floating-point operations between two barriers that pay for a thread."""

def set_thread_grain(flops: float) -> None:
    """Set that number; 0: always the full team, to test it."""

@dataclass(frozen=True)
class CSR:
    """A sparse x of ``shape`` (n, n_in): compressed rows, each with ascending columns.

    ``indptr`` is int64 (n + 1,), ``indices`` int32, ``values`` real. It takes the place of a dense
    x, but not where gradients of single samples or products of bf16 are asked for.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: Array
    shape: tuple[int, int]

    def __len__(self) -> int: ...

def useful_team(threads: int, now: float) -> int:
    """How many of these threads to use at this time (in seconds), as other processes let us."""

def judge_team(
    n_parameters: int, batch: int, rows: float, seconds: float, waited: float, now: float
) -> None:
    """Take note that as many threads as were useful took so many seconds for so many rows.

    ``waited``: of these, what the first thread of a team has spent at barriers.
    """

def first_nonfinite(x: Array, single: bool = False) -> tuple[int, int] | None:
    """Row and column of the first NaN or infinity of a 2-d ``x``, or of it as float32."""

def sum_float64(values: Float64) -> float:
    """Sum in a fixed order: the same bits everywhere."""

class Network:
    """Layer sizes, activations and loss of one net, with a pool of arenas for its passes.

    Passes may be called from several threads at once.
    """

    n_parameters: int
    max_threads: int
    """Most threads of its passes; 0: as `get_num_threads` says."""

    def __init__(
        self,
        widths: tuple[int, ...],
        activations: tuple[int, ...],
        alphas: tuple[float, ...],
        loss: int,
        loss_parameters: Float64,
        itemsize: int,
        dropouts: tuple[float, ...] | None = None,
    ) -> None:
        """``loss_parameters`` has one value per output, ``dropouts`` one rate per layer.

        OverflowError when a size does not fit.
        """

    def offsets(self) -> list[tuple[int, int]]:
        """Where each layer's weights and biases start in the flat parameter vector."""

    def predict(self, parameters: Array, x: Array | CSR, out: Array, link: bool) -> None:
        """Last layer's output into ``out`` (n, n_out); ``link``: through the loss's link."""

    def losses(
        self, parameters: Array, x: Array | CSR, y: Array, weight: Float64 | None, out: Float64
    ) -> None:
        """Weighted loss of each sample into ``out`` (n,)."""

    def gradient(
        self, parameters: Array, x: Array | CSR, y: Array, weight: Float64 | None, out: Array
    ) -> float:
        """Gradient of the summed loss into ``out`` (n_parameters,); returns the summed loss."""

    def per_sample_gradient(
        self, parameters: Array, x: Array | CSR, y: Array, weight: Float64 | None, out: Array
    ) -> None:
        """Gradient of each sample's loss into ``out`` (n, n_parameters)."""

class Epoch:
    """One pass over the samples in minibatches, which can be interrupted at any row block."""

    batches_done: int
    """Minibatches whose update is finished."""
    loss: float
    """Sum of the weighted losses over the finished minibatches, each before its update."""
    status: str
    """``"ok"``, or what stopped being finite: ``"loss"`` (nothing was updated with it) or
    ``"parameters"`` (those that would not have stayed finite kept their last value; the minibatch
    counts as done)."""

    def __init__(
        self,
        network: Network,
        parameters: Array,
        gradient: Array,
        m: Array | None,
        v: Array | None,
        x: Array | CSR,
        y: Array,
        weight: Float64 | None,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        rates: Float64,
        scales: Float64,
        first_step: int,
        *,
        optimizer: int,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decoupled_decay: float = 0.0,
        beta1: float = 0.0,
        beta2: float = 0.0,
        eps: float = 0.0,
        l2: float = 0.0,
        clip_norm: float = 0.0,
        eps_hat: bool = False,
        batch_losses: Float64 | None = None,
        squares: Float64 | None = None,
        bf16: str = "",
        dropout_seed: int | None = None,
        batches_done: int = 0,
        loss: float = 0.0,
        clock: Any = None,
    ) -> None:
        """Prepare an epoch.

        ``rates`` and ``scales`` hold, for each of its minibatches, the learning rate and what the
        summed gradient is multiplied by (1 / total weight). ``first_step`` is the 1-based number of
        the first update (Adam's t). ``l2`` adds ``l2 * w`` to the summed gradient of the weights
        (not the biases); ``clip_norm`` > 0 scales the scaled gradient down to that norm, before
        ``weight_decay`` and ``l2`` are added. ``eps_hat``: Adam's eps is added to the root of v
        before its bias is corrected. ``batch_losses`` and ``squares``, one element for each
        minibatch, receive its summed loss and the sum of squares of all weights before it.
        ``bf16``: one of `bf16_isas`, whose products are taken (float32 only). ``dropout_seed``, of
        64 bits: outputs are dropped (not with bf16); which ones depends on it alone. An epoch that
        was interrupted goes on with its ``batches_done`` and ``loss``, and all else as it was.
        ``steps`` and ``epochs`` of ``clock``, which do not count this epoch yet, are set by `run`,
        also where it is interrupted.
        """

    def run(self, seconds: float) -> bool:
        """Go on for about ``seconds``; True when the epoch is finished or not finite."""

    def parameters_changed(self) -> None:
        """Let the next `run` see what the caller has done to the parameters since the last."""
