"""A fit's peak of resident memory: beside the data, six times the parameters and an arena.

Each fit runs in a process of its own, which holds X and y before it begins to measure, and builds
the model and trains one epoch while it does.
"""

import json
import subprocess
import sys
from itertools import pairwise
from typing import NamedTuple

import pytest

from fastbp._engine import bf16_isas

MIB = 1 << 20
FLOAT32 = 4
THREADS = 2
SUM_ROWS = 96  # samples that a thread takes through a narrow net at a time
CLASSES = 10
# Bytes that follow from the data: order of the rows (int64) and labels (int32); for each minibatch
# where it starts, its weight, scale and learning rate, and what these are computed from.
A_ROW = 8 + 4
A_MINIBATCH = 100
# Eight huge pages: the arena, the parameters and each vector of their shape may end in a page that
# is not full. Then stacks of threads, Python's objects, and what allocators keep.
ALLOWANCE = 16 * MIB


class Case(NamedTuple):
    """Data, a network, and what a fit that kept too much would keep."""

    data: str
    rows: int
    widths: tuple[int, ...]
    fault: str
    fault_bytes: int
    batch_size: int = 128  # at most 192: never cut into blocks
    slabs: int = 2  # how many gradients a minibatch of a narrow net is summed in; others have none
    shuffle: bool = True
    precision: str | None = None

    @property
    def parameter_bytes(self):
        return FLOAT32 * sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.widths))

    @property
    def arena_bytes(self):
        """What the arena takes, and up to as much again.

        Every layer's a, slope, dz and dz in panels; its w in panels, and transposed in panels in
        all layers but the first; two tables of pointers to rows. The rows of X converted, their
        losses, and the slabs. A row is filled up to a panel, and has a cache line more. Operands
        in bf16 take less than those in panels.
        """
        rows = max(self.batch_size, THREADS * SUM_ROWS)
        elements = rows * filled_up(self.widths[0]) + self.slabs * self.parameter_bytes // FLOAT32
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            elements += 4 * rows * filled_up(n_out) + n_in * filled_up(n_out)
            elements += n_out * filled_up(n_in) if layer > 0 else 0
        pointers = 2 * (len(self.widths) - 1) * rows
        return FLOAT32 * elements + 8 * (pointers + rows)

    @property
    def bound(self):
        """What a fit may take beside the data."""
        minibatches = -(-self.rows // self.batch_size)
        of_data = A_ROW * self.rows + A_MINIBATCH * minibatches
        return 6 * self.parameter_bytes + self.arena_bytes + of_data + ALLOWANCE


def filled_up(n, panel=64, line=16):
    return -(-n // panel) * panel + line


NARROW = (1024, 32, CLASSES)
WIDE = (2048, 2048, 2048, CLASSES)
COPY, CONVERTED = "X.copy()", "X.astype(np.float32)"
CASES = {
    "float32": Case("rng.random(shape, np.float32)", 1 << 16, NARROW, COPY, 256 * MIB),
    "float64": Case("rng.random(shape)", 1 << 15, NARROW, CONVERTED, 128 * MIB),
    "uint8": Case("rng.integers(0, 256, shape, np.uint8)", 1 << 17, NARROW, COPY, 128 * MIB),
    "memory-mapped": Case("memory_mapped(shape)", 1 << 16, NARROW, COPY, 256 * MIB),
    "Fortran order": Case(
        "rng.random(shape[::-1], np.float32).T", 1 << 15, NARROW, COPY, 128 * MIB, shuffle=False
    ),
    "wide network": Case(
        *("rng.random(shape, np.float32)", 768, WIDE),
        *("[model.parameters.copy() for _ in range(4)]", 128 * MIB),
        batch_size=192,
        slabs=0,
    ),
}
if bf16_isas():
    CASES["bf16"] = CASES["float32"]._replace(precision="bf16")
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

# Where the peak cannot be reset it is that of the whole process so far (ru_maxrss: also of the
# process that started it). The data raise it to what is resident, unless something before them took
# more and would hide what follows.
MEASURE = """
import json, resource, sys, tempfile
import numpy as np
import fastbp


def peak():
    "Most bytes that were resident, as the kernel has it."
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak():
    "To what is resident now; False if the system does not let us."
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def memory_mapped(shape):
    "Random values in a file that has no name."
    with tempfile.TemporaryFile() as file:
        values = np.memmap(file, np.float32, "w+", shape=shape)
    rng.random(None, np.float32, out=values)
    return values


fastbp.set_num_threads({threads})
rng, shape = np.random.default_rng(0), ({case.rows}, {case.widths[0]})
without_data = peak()
X, y = {case.data}, rng.integers(0, {classes}, {case.rows})
seen = reset_peak() or peak() - without_data > max(0, X.nbytes - {hideable})
before = peak()

model = fastbp.Model({case.widths}, loss="softmax_cross_entropy", seed=0)
kept = {fault}
# two moments; and clipping needs the whole gradient in memory
optimizer = fastbp.Adam(clip_norm=1.0)
options = {{"shuffle": {case.shuffle}, "precision": {case.precision!r}}}
model.fit(X, y, epochs=1, batch_size={case.batch_size}, optimizer=optimizer, **options)
taken = peak() - before

assert model.n_parameters * model.dtype.itemsize == {case.parameter_bytes}
print(json.dumps([taken, seen]))
"""


def taken_by_a_fit(case, fault="None"):
    """Bytes at the peak of a fit, beside the data; the fault is kept meanwhile."""
    code = MEASURE.format(
        case=case, fault=fault, threads=THREADS, classes=CLASSES, hideable=ALLOWANCE
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    taken, seen = json.loads(done.stdout)
    if not seen:
        pytest.skip("needs a peak of its own: what ran before has taken more memory")
    return taken


@every_case
def test_a_fit_takes_six_times_the_parameters_and_an_arena(case):
    """However large the data are, and however they lie."""
    assert taken_by_a_fit(case) <= case.bound


@every_case
def test_a_fit_that_keeps_more_is_seen(case):
    """A copy of X, as it is or converted, or four of the parameters; the allowance hides none."""
    assert case.fault_bytes >= 8 * ALLOWANCE
    assert taken_by_a_fit(case, case.fault) > case.bound
