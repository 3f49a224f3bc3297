"""fastbp, by what a user calls: `Model.fit` on NumPy arrays."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

import fastbp
from fastbp import _kernels

from .problem import LEARNING_RATE, SEED, Problem


class Fit:
    """Epochs of `Model.fit`."""

    modes = ("fit",)

    def __init__(self, problem: Problem, threads: int) -> None:
        fastbp.set_num_threads(threads)
        self.problem = problem
        self.optimizer = fastbp.Adam(learning_rate=LEARNING_RATE)

    def start(self, mode: str) -> None:
        net = list(self.problem.cell.net)
        self.model = fastbp.Model(
            net, loss="softmax_cross_entropy", initializer="he_uniform", seed=SEED
        )
        first, _ = self.problem.start()
        if not all(map(np.array_equal, self.parameters(), first)):
            # the orders of the rows would differ as well
            raise RuntimeError("fastbp draws other first weights than Problem.start")

    def train(self, rows: int, epochs: int) -> None:
        self.model.fit(
            self.problem.X[:rows],
            self.problem.y[:rows],
            epochs=epochs,
            batch_size=self.problem.cell.batch,
            optimizer=self.optimizer,
        )

    def parameters(self) -> list[np.ndarray]:
        layers = zip(self.model.weights, self.model.biases, strict=True)
        return [p for layer in layers for p in layer]


class Ceiling:
    """What fused multiply-adds on registers alone reach, on one core and on all at once."""

    modes = ()

    def __init__(self, problem: Problem, threads: int) -> None:
        self.isa = fastbp.get_config()["isas"][0]  # the widest
        self.cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.threads = threads
        self.ready = Barrier(threads)

    def rate(self, index: int, seconds: float) -> float:
        """Operations per second of one thread, on a core of its own where that can be asked for."""
        if self.cpus:
            os.sched_setaffinity(0, {self.cpus[index]})
        if self.threads > 1:
            self.ready.wait()
        return _kernels.fma_ceiling(self.isa, "float32", seconds)

    def rates(self, seconds: float) -> dict[str, float]:
        """GFLOP/s of one core, and of all cores together."""
        one = _kernels.fma_ceiling(self.isa, "float32", seconds)
        with ThreadPoolExecutor(self.threads) as pool:  # one worker for each, kept by the barrier
            every = sum(pool.map(self.rate, range(self.threads), [seconds] * self.threads))
        return {"one": one / 1e9, "all": every / 1e9}
