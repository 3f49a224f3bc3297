"""What every library is given: data, first parameters, orders of the rows.

All of it follows from the cell, so that each process draws its own and gets the same. Everything
is NumPy; nothing here belongs to one of the libraries.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, sqrt

import numpy as np

SEED = 0
LEARNING_RATE = 1e-3
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # everybody's defaults of Adam
SAMPLE_ROWS = 2048

# A rough machine, for nothing but a sensible length of an epoch.
EPOCH_SECONDS = 0.03
MOST_STEPS = 4000
LEAST_STEPS = 4
FLOPS = 2e11
BYTES_PER_SECOND = 2e10
BYTES_PER_PARAMETER = 28  # what Adam reads and writes of p, g, m and v in float32
STEP_OVERHEAD = 1e-6
# Losses are compared after few steps: in a thousand or so, rounding puts some unit on the other
# side of its ReLU, and from there on no two libraries agree to more than two digits.
MOST_CHECKED_STEPS = 64  # in an epoch
LEAST_CHECKED_STEPS = 16


@dataclass(frozen=True)
class Cell:
    """A net and a batch size: one cell of the grid."""

    net: tuple[int, ...]
    batch: int

    @property
    def name(self) -> str:
        return "-".join(map(str, self.net))

    @property
    def flop(self) -> int:
        """Operations of a step's products; dl/dx of the first layer is not needed."""
        products = [n_in * n_out for n_in, n_out in pairwise(self.net)]
        return 2 * self.batch * (3 * sum(products) - products[0])

    @property
    def steps(self) -> int:
        """Steps of an epoch: about 30 ms of fastbp's, but from 4 to 4000."""
        n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.net))
        traffic = BYTES_PER_PARAMETER * n_parameters / BYTES_PER_SECOND
        seconds = STEP_OVERHEAD + max(self.flop / FLOPS, traffic)
        return max(LEAST_STEPS, min(MOST_STEPS, round(EPOCH_SECONDS / seconds)))

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def checked_rows(self) -> int:
        """Rows of the epochs after which losses are compared."""
        return self.batch * min(self.steps, MOST_CHECKED_STEPS)

    @property
    def checked_epochs(self) -> int:
        """Number of these epochs: two, so that rows are shuffled anew, or 16 steps if more."""
        return max(2, ceil(LEAST_CHECKED_STEPS / self.steps))

    @property
    def checked_steps(self) -> int:
        return self.checked_epochs * self.checked_rows // self.batch


class Problem:
    """The data of a cell, and where its training starts."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        rng = np.random.default_rng([SEED, *cell.net])
        self.X = rng.standard_normal((cell.rows, cell.net[0]), dtype=np.float32)
        teacher = rng.standard_normal((cell.net[0], cell.net[-1]), dtype=np.float32)
        self.y = np.argmax(self.X @ teacher, axis=1)

    @cached_property
    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows on which losses are compared."""
        return self.X[:SAMPLE_ROWS].astype(np.float64), self.y[:SAMPLE_ROWS]

    def start(self) -> tuple[list[np.ndarray], np.random.Generator]:
        """First parameters w, b, w, b, ... (float32) and the generator of the epochs' orders.

        The draws are those of ``fastbp.Model(net, initializer="he_uniform", seed=SEED)``: weights
        layer by layer, then one permutation for each epoch. So all libraries can follow the order
        in which fastbp shuffles rows.
        """
        rng = np.random.default_rng(SEED)
        parameters = []
        for n_in, n_out in pairwise(self.cell.net):
            limit = sqrt(6 / n_in)
            parameters.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
            parameters.append(np.zeros(n_out, np.float32))
        return parameters, rng
