"""The same weights bit for bit, whatever the threads, the kernel table and the layout of X."""

import os
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest

import fastbp
from fastbp._engine import isas

FMA_TABLES = [isa for isa in isas() if isa != "generic"]
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, 1797)
FITS = {
    "adam": {"optimizer": fastbp.Adam()},
    "adam clipped, weighted": {
        "optimizer": fastbp.Adam(clip_norm=0.5, weight_decay=1e-3),
        "sample_weight": WEIGHTS,
        "l2": 0.1,
    },
    "sgd": {"optimizer": fastbp.SGD(0.02)},
    "single samples": {"optimizer": fastbp.Adam(1e-4), "batch_size": 1, "epochs": 1},
    # layers so large that z is summed in parts, but for the last
    "in parts": {"widths": [64, 520, 70, 10], "batch_size": 1, "epochs": 1},
    "in parts, several samples": {"widths": [64, 70, 520, 70, 10], "batch_size": 4, "epochs": 1},
    "sgd clipped, weighted": {
        "optimizer": fastbp.SGD(0.02, momentum=0.9, nesterov=True, clip_norm=0.5),
        "sample_weight": WEIGHTS,
    },
    # the ways to share a batch: those above are small enough to be shared by weights
    "by rows": {"optimizer": fastbp.Adam(), "batch_size": 80},
    "two slabs": {"optimizer": fastbp.SGD(0.02, momentum=0.9, clip_norm=1.0), "batch_size": 130},
    "eight slabs": {"optimizer": fastbp.Adam(), "batch_size": 1797},
}

needs_two_tables = pytest.mark.skipif(
    len(FMA_TABLES) < 2, reason="needs two kernel tables with FMA to compare"
)
every_fit = pytest.mark.parametrize("name", FITS)


@lru_cache(maxsize=1)
def digits():
    return fastbp.datasets.load_digits()


def fitted(name, dtype, x, seed=0):
    """Return the bits of the parameters after a fit."""
    options = {"widths": [64, 67, 33, 10], "epochs": 3, "batch_size": 60} | FITS[name]
    widths = options.pop("widths")
    model = fastbp.Model(
        widths, activation="silu", loss="softmax_cross_entropy", dtype=dtype, seed=seed
    )
    model.fit(x, digits()[1], **options)
    assert np.isfinite(model.parameters).all()
    return model.parameters.tobytes()


@lru_cache(maxsize=len(FITS) * 2)
def expected(name, dtype):
    """Return those of one thread with the best kernel table."""
    return fitted(name, dtype, digits()[0])


@pytest.fixture
def one_thread(engine):
    """Where the expected bits come from."""
    engine.set_num_threads(1)
    engine.use_isa(isas()[0])
    return engine


@every_fit
@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_threads(name, n, dtype, one_thread):
    bits = expected(name, dtype)
    one_thread.set_num_threads(n)
    one_thread.set_thread_grain(0)
    assert fitted(name, dtype, digits()[0]) == bits


@needs_two_tables
@every_fit
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_tables(name, n, dtype, one_thread):
    bits = expected(name, dtype)
    one_thread.set_num_threads(n)
    one_thread.set_thread_grain(0)
    for table in FMA_TABLES[1:]:
        one_thread.use_isa(table)
        assert fitted(name, dtype, digits()[0]) == bits, table


@every_fit
def test_threads_on_the_generic_table(name, dtype, one_thread):
    """Without FMA the bits may be others, but not with the number of threads."""
    one_thread.use_isa("generic")
    bits = fitted(name, dtype, digits()[0])
    one_thread.set_thread_grain(0)
    for n in (2, 3):
        one_thread.set_num_threads(n)
        assert fitted(name, dtype, digits()[0]) == bits


REPORT = """
import hashlib
import fastbp
from fastbp import _engine

X, y = fastbp.datasets.load_digits()
model = fastbp.Model([64, 20, 10], loss="softmax_cross_entropy", seed=0)
model.fit(X, y, epochs=1)
print(_engine.get_isa(), hashlib.sha256(model.parameters.tobytes()).hexdigest())
"""


def with_environment(isa, code):
    """Run Python with FASTBP_ISA set."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"FASTBP_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


def digest(isa):
    """Of the parameters trained with the table that FASTBP_ISA names; it must be in use."""
    done = with_environment(isa, REPORT)
    assert done.returncode == 0, done.stderr
    in_use, bits = done.stdout.split()
    assert in_use == isa
    return bits


@needs_two_tables
def test_tables_of_the_environment_give_the_same_bits():
    assert len({digest(isa) for isa in FMA_TABLES}) == 1


def test_the_generic_table_can_be_had_by_the_environment():
    digest("generic")


@pytest.mark.parametrize("name", ["neon9", *({"avx2", "avx512"} - set(isas()))])
def test_a_table_that_the_machine_lacks_is_refused_when_first_needed(name):
    code = "from fastbp import _engine\nprint('imported')\n_engine.get_isa()"
    done = with_environment(name, code)
    assert done.stdout.strip() == "imported"
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("ValueError: ")
    assert all(word in error for word in (*isas(), repr(name), "FASTBP_ISA"))
    done = with_environment(name, REPORT)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == error


def contiguous(x, _):
    return np.ascontiguousarray(x)


def fortran(x, _):
    return np.asfortranarray(x)


def strided(x, _):
    spread = np.zeros((2 * len(x), 3 * x.shape[1]), x.dtype)
    spread[::2, ::3] = x
    return spread[::2, ::3]


def backwards(x, _):
    return x[::-1, ::-1].copy()[::-1, ::-1]


def read_only(x, _):
    x = x.copy()
    x.flags.writeable = False
    return x


def memory_mapped(x, folder):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


@every_fit
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "int16"])
@pytest.mark.parametrize(
    "layout", [contiguous, fortran, strided, backwards, read_only, memory_mapped]
)
def test_layouts_and_dtypes_of_x(name, layout, kind, dtype, one_thread, tmp_path):
    bits = expected(name, dtype)
    x = layout(digits()[0].astype(kind), tmp_path)
    before = x.tobytes()
    assert fitted(name, dtype, x) == bits
    assert x.tobytes() == before


@every_fit
def test_another_seed_gives_other_bits(name, dtype, one_thread):
    """What is compared above does depend on what is computed."""
    assert fitted(name, dtype, digits()[0], seed=1) != expected(name, dtype)
