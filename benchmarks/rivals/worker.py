"""A process for each variant, with a runtime and an environment of its own.

The driver sends a method's name and its arguments through a pipe and waits for the result, so
that one process at a time is busy.
"""

import importlib
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .problem import Cell, Problem
from .variants import Variant


class WorkerError(Exception):
    """A worker could not do what it was asked for."""


class Session:
    """The side of the worker: a runner and its epochs."""

    def __init__(self, variant: Variant) -> None:
        if variant.pinned:  # before the library looks how many CPUs there are
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        module, _, name = variant.runner.partition(":")
        self.runner_class = getattr(importlib.import_module(f".{module}", __package__), name)
        self.threads = variant.threads

    def prepare(self, cell: Cell) -> tuple[str, ...]:
        """Draw the data of a cell. Return in which ways its epochs can be done."""
        self.problem = Problem(cell)
        self.runner = self.runner_class(self.problem, self.threads)
        return self.runner.modes

    def check(self, mode: str) -> list[np.ndarray]:
        """Train from the start; return the parameters. The epochs after it go on from there."""
        self.runner.start(mode)
        self.runner.train(self.problem.cell.checked_rows, self.problem.cell.checked_epochs)
        return [np.array(p) for p in self.runner.parameters()]

    def measure(self, epochs: int) -> float:
        """Seconds of an epoch: the mean of some in one go, after another that is not counted."""
        rows = self.problem.cell.rows
        self.runner.train(rows, 1)
        start = time.perf_counter()
        self.runner.train(rows, epochs)
        return (time.perf_counter() - start) / epochs

    def rates(self, seconds: float) -> dict[str, float]:
        return self.runner.rates(seconds)


def serve(pipe: Connection, variant: Variant) -> None:
    """Answer the driver until it hangs up."""
    session = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            session = session or Session(variant)
            pipe.send((True, getattr(session, method)(*arguments)))
        except Exception as error:  # whatever a library raises is a notice for the driver
            last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
            pipe.send((False, last))


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables for the processes that start in here."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Worker:
    """The side of the driver."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, variant), daemon=True)
        with environment(variant.environment):
            self.process.start()
        other.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Have a method of `Session` run.

        Raises
        ------
        WorkerError
            The method raised an exception, or the process is gone.
        """
        try:
            self.pipe.send((method, arguments))
            done, result = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerError("its process has ended") from error
        if not done:
            raise WorkerError(result)
        return result

    def close(self) -> None:
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()
