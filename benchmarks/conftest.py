"""Floating-point work of each benchmark, as GFLOP/s and as a share of what the machine can do.

The ceiling is what fused multiply-adds on registers alone reach, with the widest kernel table, on
one core: the best of many measurements in the same run, some right before each benchmark. A
benchmark on n threads is held against n times that, by its median time.
`pytest benchmarks/ --benchmark-json=FILE` keeps the figures (extra_info).
"""

import os

import numpy as np
import pytest

import fastbp
from fastbp import _engine, _kernels

NETS = ([4, 32, 32, 3], [32, 64, 64, 10], [784, 128, 10], [784, 512, 512, 10], [1024] * 4 + [10])
ROWS = pytest.StashKey[list]()
CEILINGS = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[ROWS] = []
    config.stash[CEILINGS] = {}


def ceiling_of(config, dtype):
    """Operations per second of one core: the best so far, after some more measurements."""
    ceilings = config.stash[CEILINGS]
    n = 5 if dtype in ceilings else 100
    rates = [_kernels.fma_ceiling(_engine.isas()[0], dtype, 0.005) for _ in range(n)]
    ceilings[dtype] = max(*rates, ceilings.get(dtype, 0.0))
    return ceilings[dtype]


def net_id(widths):
    return "-".join(map(str, widths))


@pytest.fixture(params=NETS, ids=net_id)
def net(request):
    """Widths of the layers, from inputs to outputs."""
    return request.param


@pytest.fixture
def model(net):
    return fastbp.Model(net, loss="softmax_cross_entropy", seed=0)


@pytest.fixture
def make_samples(net):
    """Function that draws n random samples for the net."""

    def draw(n):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, net[0]), dtype=np.float32)
        return X, rng.integers(net[-1], size=n)

    return draw


@pytest.fixture
def measure(benchmark, request):
    """Function that measures a call and notes its GFLOP/s and its share of the ceiling.

    ``flop``: floating-point operations of a call; ``steps``: how many steps it consists of.
    """

    def run(function, *, flop, steps=1, dtype="float32", threads=1):
        ceiling = ceiling_of(request.config, dtype)
        benchmark(function)
        if benchmark.stats is None:  # --benchmark-disable
            return
        seconds = benchmark.stats.stats.median
        figures = {
            "us_per_step": 1e6 * seconds / steps,
            "gflops": flop / seconds / 1e9,
            "share": flop / seconds / (ceiling * threads),
            "ceiling_gflops": ceiling * threads / 1e9,
        }
        benchmark.extra_info.update(figures)
        request.config.stash[ROWS].append((request.node.name, figures))

    return run


@pytest.fixture
def n_threads():
    """Threads that fastbp may use, as far as there are cores for them."""
    return min(fastbp.get_num_threads(), os.cpu_count())


def pytest_terminal_summary(terminalreporter, config):
    if not config.stash[ROWS]:
        return
    terminalreporter.section("share of the FMA ceiling (median times)")
    width = max(len(name) for name, _ in config.stash[ROWS])
    head = f"{'':{width}} {'us/step':>10} {'GFLOP/s':>8} {'ceiling':>8} {'share':>6}"
    terminalreporter.write_line(head)
    for name, row in config.stash[ROWS]:
        terminalreporter.write_line(
            f"{name:{width}} {row['us_per_step']:10.2f} {row['gflops']:8.1f} "
            f"{row['ceiling_gflops']:8.0f} {row['share']:6.1%}"
        )
