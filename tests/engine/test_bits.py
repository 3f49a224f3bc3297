"""The same weights bit for bit, whatever the threads, the kernel table and the layout of X."""

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
    "sgd clipped, weighted": {
        "optimizer": fastbp.SGD(0.02, momentum=0.9, nesterov=True, clip_norm=0.5),
        "sample_weight": WEIGHTS,
    },
    # more rows than go through the network at once
    "full batch": {"optimizer": fastbp.Adam(), "batch_size": 1797},
}

every_fit = pytest.mark.parametrize("name", FITS)


@lru_cache(maxsize=1)
def digits():
    return fastbp.datasets.load_digits()


def fitted(name, dtype, x):
    """Return the bits of the parameters after 3 epochs."""
    model = fastbp.Model(
        [64, 67, 33, 10], activation="silu", loss="softmax_cross_entropy", dtype=dtype, seed=0
    )
    model.fit(x, digits()[1], **({"epochs": 3, "batch_size": 60} | FITS[name]))
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
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("table", FMA_TABLES)
def test_threads_and_tables(name, n, table, dtype, one_thread):
    bits = expected(name, dtype)
    one_thread.use_isa(table)
    one_thread.set_num_threads(n)
    one_thread.set_thread_grain(0)
    assert fitted(name, dtype, digits()[0]) == bits


@pytest.mark.skipif("generic" not in isas(), reason="there is no generic table")
@every_fit
def test_threads_on_the_generic_table(name, dtype, one_thread):
    """Without FMA the bits may be others, but not with the number of threads."""
    one_thread.use_isa("generic")
    bits = fitted(name, dtype, digits()[0])
    one_thread.set_thread_grain(0)
    for n in (2, 3):
        one_thread.set_num_threads(n)
        assert fitted(name, dtype, digits()[0]) == bits


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
    model = fastbp.Model(
        [64, 67, 33, 10], activation="silu", loss="softmax_cross_entropy", dtype=dtype, seed=1
    )
    model.fit(*digits(), **({"epochs": 3, "batch_size": 60} | FITS[name]))
    assert model.parameters.tobytes() != expected(name, dtype)
