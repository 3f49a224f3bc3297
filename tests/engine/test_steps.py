"""Epochs of updates: against the oracle, cut anywhere, and without allocating."""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import tracemalloc
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from nets import cast, make_case, network
from tolerances import TOLERANCES, largest_error

from fastbp import _engine
from fastbp._reference import Update, train

UPDATES = {
    "sgd": Update("sgd"),
    "momentum": Update("sgd", beta1=0.9, weight_decay=0.03),
    "nesterov": Update("sgd", beta1=0.9, nesterov=True, l2=0.4),
    "adam": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3),
    "adam, decays": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3, weight_decay=0.1, l2=0.4),
    "adamw": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3, decoupled_decay=0.1),
    # a gradient below eps would move parameters by its sign, and so by its rounding in float32
    "rmsprop": Update("rmsprop", beta2=0.9, eps=0.1),
    "rmsprop, momentum": Update("rmsprop", beta1=0.5, beta2=0.9, eps=0.1, weight_decay=0.03),
    "adagrad": Update("adagrad", eps=1e-3, weight_decay=0.03),
    "clipped": Update("sgd", beta1=0.9, clip_norm=0.05, weight_decay=0.03, l2=0.4),
    "adam, clipped": Update("adam", beta1=0.9, beta2=0.99, eps=1e-3, clip_norm=0.05, l2=0.4),
}
# More than 4096 parameters are a second chunk of the norm, more than 192 KiB of weights a second
# chunk of the update; 400 rows of the widest are a second block.
SHAPES = {
    "small": ([3, 5, 2], 40, 7),
    "many parameters": ([70, 65, 9], 70, 33),
    "single samples": ([150, 130, 3], 5, 1),
    "weights in chunks": ([300, 400, 3], 16, 8),
    "slabs": ([90, 40, 30, 4], 1500, 1100),
    "blocks": ([300, 300, 5], 400, 400),
}
every_update = pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)


class Training:
    """A case with an optimizer's state, ready for `_engine.Epoch`."""

    def __init__(self, case, update, dtype, batch_size, *, order=None):
        self.net = network(case.net, dtype)
        self.p, self.x, self.y, self.weight = cast(case, dtype)
        self.g, self.m, self.v = (np.zeros_like(self.p) for _ in range(3))
        self.update, self.batch_size = update, batch_size
        self.order = np.arange(len(self.x)) if order is None else order
        starts = np.arange(0, len(self.x), batch_size)
        self.scales = 1 / np.add.reduceat(self.weight[self.order], starts)
        self.rates = 0.05 / (1 + np.arange(len(starts)))

    def epoch(self, first_step=1):
        """Return an epoch over all samples."""
        settings = self.update._asdict()
        settings["optimizer"] = _engine.OPTIMIZERS.index(self.update.optimizer)
        if settings["clip_norm"] == np.inf:
            settings["clip_norm"] = 0.0
        return _engine.Epoch(
            self.net,
            *(self.p, self.g, self.m, self.v),
            *(self.x, self.y, self.weight, self.order),
            *(self.batch_size, self.rates, self.scales, first_step),
            **settings,
        )

    def batches(self):
        """Rows and learning rates for the oracle."""
        starts = range(0, len(self.x), self.batch_size)
        rows = [self.order[begin : begin + self.batch_size] for begin in starts]
        return list(zip(rows, self.rates, strict=True))


def shuffled(update, shape, dtype=np.float64):
    """Training of a case whose rows come in another order."""
    widths, n, batch_size = SHAPES[shape]
    case = make_case(widths, "tanh", "squared_error", batch=n, seed=1)
    return case, Training(
        case, update, dtype, batch_size, order=np.random.default_rng(2).permutation(n)
    )


@cache
def oracle(update, shape):
    """Loss, and parameters after it, of two epochs in turn; for all tables, dtypes and teams."""
    case, training = shuffled(update, shape)
    batches = training.batches()
    steps = list(train(case.net, update, case.parameters, case[2:], batches * 2))
    halves = (steps[: len(batches)], steps[len(batches) :])
    return [(sum(loss for loss, _, _ in half), half[-1][2]) for half in halves]


@every_update
@pytest.mark.parametrize("shape", SHAPES)
def test_epochs_follow_the_oracle(update, shape, isa, dtype, threads):
    _, training = shuffled(update, shape, dtype)
    n_batches = len(training.rates)
    tolerance = TOLERANCES[dtype].trajectory
    for done, (loss, parameters) in enumerate(oracle(update, shape)):
        # the second epoch goes on with the moments, and the rates start again
        epoch = training.epoch(done * n_batches + 1)
        assert epoch.run(60.0)
        assert (epoch.status, epoch.batches_done) == ("ok", n_batches)
        assert epoch.loss == pytest.approx(loss, rel=tolerance)
        assert largest_error(training.p, parameters) <= tolerance


@pytest.mark.parametrize(
    ("widths", "batch_size", "blocks"), [([300, 300, 5], 400, 2), ([2, 3, 1], 35_000, 2)]
)
@every_update
def test_an_epoch_cut_at_every_block_gives_the_same_bits(
    update, widths, batch_size, blocks, isa, dtype, threads
):
    case = make_case(widths, "silu", "squared_error", batch=batch_size * 2, seed=1)
    whole, cut = (Training(case, update, dtype, batch_size) for _ in range(2))
    assert whole.epoch().run(60.0)
    epoch, runs = cut.epoch(), 1
    while not epoch.run(0.0):
        runs += 1
    assert runs >= 2 * blocks
    assert cut.p.tobytes() == whole.p.tobytes()


# Allocations. The end of an epoch may put its arena back into a list; steps may do nothing.

END_OF_EPOCH = 1


class Kind(NamedTuple):
    """What an epoch is made of."""

    dtype: str
    x: str  # rows of another dtype are converted
    batch_size: int = 30
    widths: tuple[int, ...] = (20, 40, 30, 5)
    few: int = 10
    many: int = 100  # batches


KINDS = {
    "float32": Kind("float32", "float32"),
    "float64": Kind("float64", "float64"),
    "uint8": Kind("float32", "uint8"),
    "uint8 to float64": Kind("float64", "uint8"),
    "blocks": Kind("float32", "float32", 400, (300, 300, 5), few=2, many=6),
    "slabs": Kind("float32", "float32", 200),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def training_for_allocations(n_batches, kind):
    dtype, x, batch_size, widths, *_ = KINDS[kind]
    n = n_batches * batch_size
    case = make_case(list(widths), "gelu", "softmax_cross_entropy", batch=n, seed=0)
    training = Training(case, UPDATES["adam, clipped"], dtype, batch_size)
    training.x = np.abs(training.x).astype(x)
    return training


def test_a_large_batch_has_several_blocks():
    epoch, runs = training_for_allocations(1, "blocks").epoch(), 1
    while not epoch.run(0.0):  # a block each
        runs += 1
    assert runs > 1


def python_memory_of_an_epoch(n_batches, kind):
    training = training_for_allocations(n_batches, kind)
    training.epoch().run(60.0)
    epoch = training.epoch()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        done = epoch.run(60.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done
    assert epoch.batches_done == n_batches
    return peak - before


@every_kind
def test_steps_allocate_no_python_memory(kind, isa, threads):
    # the least of a few: tracemalloc counts what any other thread of the process allocates, too
    counts = KINDS[kind].few, KINDS[kind].many
    few, many = (min(python_memory_of_an_epoch(n, kind) for _ in range(3)) for n in counts)
    assert few == many < 100 * END_OF_EPOCH


COUNTER = r"""
#include <errno.h>
#include <stddef.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static int counting;
static long calls;

static void count(void)
{
    if (__atomic_load_n(&counting, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    }
}

void *malloc(size_t n) { count(); return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { count(); return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { count(); return __libc_realloc(p, n); }
void *memalign(size_t unit, size_t n) { count(); return __libc_memalign(unit, n); }
void *aligned_alloc(size_t unit, size_t n) { count(); return __libc_memalign(unit, n); }
int posix_memalign(void **p, size_t unit, size_t n)
{
    count();
    *p = __libc_memalign(unit, n);
    return *p ? 0 : ENOMEM;
}

void counter_start(void) { calls = 0; counting = 1; }
long counter_stop(void) { counting = 0; return calls; }
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """Library to preload, which counts what is asked of the C library's allocator."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler or not shutil.which(compiler.split()[0]):
        pytest.skip("needs a C compiler")
    if "gnu" not in sysconfig.get_config_var("MULTIARCH"):
        pytest.skip("counts the calls of glibc's allocator")
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER)
    command = [*compiler.split(), "-shared", "-fPIC", "-O1", "-fno-builtin", str(source)]
    subprocess.run([*command, "-o", str(library)], check=True)
    return library


def calls_of_an_epoch(n_batches, kind):
    """In the preloaded process: calls of the allocator while an epoch runs, and for its set-up."""
    library = ctypes.CDLL(None)
    start, stop = library.counter_start, library.counter_stop
    stop.restype = ctypes.c_long
    training = training_for_allocations(n_batches, kind)
    start()
    first = training.epoch()
    control = stop()
    first.run(60.0)
    epoch = training.epoch()
    start()
    done = epoch.run(60.0)
    calls = stop()
    assert done
    assert epoch.batches_done == n_batches
    return calls, control


def report_allocations(isa, n_threads):
    """In the preloaded process: write, a line a kind, the calls for few and for many batches."""
    _engine.use_isa(isa)
    _engine.set_num_threads(n_threads)
    _engine.set_thread_grain(0)
    for name, kind in KINDS.items():
        calls = calls_of_an_epoch(kind.few, name) + calls_of_an_epoch(kind.many, name)
        sys.stdout.write(" ".join(map(str, calls)) + "\n")


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_steps_allocate_no_c_memory(n_threads, isa, counter):
    code = f"import test_steps; test_steps.report_allocations({isa!r}, {n_threads})"
    folders = [str(Path(__file__).parent), *sys.path]
    env = os.environ | {"LD_PRELOAD": str(counter), "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    for kind, line in zip(KINDS, done.stdout.splitlines(), strict=True):
        few, few_control, many, many_control = map(int, line.split())
        assert min(few_control, many_control) > 0, "the counter does not count"
        assert few == many <= END_OF_EPOCH, kind
