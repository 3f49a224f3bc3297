"""Measurements of a cell: every variant in turn, round after round."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from statistics import quantiles
from typing import Any

from . import reference
from .problem import Cell, Problem
from .variants import CEILING, FASTBP, FIT, VARIANTS, Variant
from .worker import Worker, WorkerError

logger = logging.getLogger(__name__)
MODE_TRIALS = 3
Ceilings = tuple[dict[str, float], dict[str, float]]  # before and after
LEAST_EPOCHS = 4  # in one go: what a fit does once is a part of it, as it is of a user's


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    rounds: int
    seconds: float
    pause: float
    slowest_step: float


def five_numbers(values: list[float]) -> dict[str, float]:
    """Minimum, quartiles and maximum."""
    q1, median, q3 = quantiles(values, method="inclusive") if values[1:] else values * 3
    return {"min": min(values), "q1": q1, "median": median, "q3": q3, "max": max(values)}


class Grid:
    """Processes of all variants, and what they measure."""

    def __init__(self, rivals: list[str], settings: Settings) -> None:
        self.settings = settings
        chosen = [v for v in VARIANTS if v.rival in {FASTBP, *rivals}]
        absent = {v.package: v for v in chosen if not v.installed}
        for package in absent:
            logger.warning("%s is not installed and skipped: pip install '.[bench]'", package)
        self.variants = [v for v in chosen if v.package not in absent]
        self.workers = {v: Worker(v) for v in (CEILING, *self.variants)}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def call(self, variant: Variant, method: str, *arguments: Any) -> Any:
        """Have a worker do something, a moment after the last one, whose threads may still spin."""
        time.sleep(self.settings.pause)
        return self.workers[variant].call(method, *arguments)

    @contextmanager
    def notice(self, variant: Variant, what: str) -> Iterator[None]:
        """Whatever fails in a rival is said and leaves it out; fastbp has to work."""
        try:
            yield
        except WorkerError as error:
            if variant.rival == FASTBP:
                raise
            logger.warning("%s, %s: %s", variant.name, what, error)
            if not self.workers[variant].process.is_alive():
                self.workers[variant].close()
                self.workers[variant] = Worker(variant)

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Return all figures of a cell."""
        logger.info("%s, batch %d: checks and compiles", cell.name, cell.batch)
        problem = Problem(cell)
        self.call(CEILING, "prepare", cell)
        results = {v: r for v in self.variants if (r := self.prepared(v, cell, problem))}
        times, ceilings = self.rounds(cell, results)
        rates = [rate for pair in ceilings for rate in pair]
        for variant, result in results.items():
            result["us_per_step"] = five_numbers(times[variant])
            result["rounds"] = times[variant]
        return {
            "net": cell.name,
            "batch": cell.batch,
            "steps": cell.steps,
            "rows": cell.rows,
            "flop": cell.flop,
            "checked_steps": cell.checked_steps,
            "first_loss": reference.mean_loss(problem.start()[0], problem),
            "reference_loss": reference.mean_loss(reference.trained(problem), problem),
            "ceiling": {key: five_numbers([r[key] for r in rates]) for key in ("one", "all")},
            "ceilings": [(before["all"] + after["all"]) / 2 for before, after in ceilings],
            "variants": list(results.values()),
        }

    def prepared(self, variant: Variant, cell: Cell, problem: Problem) -> dict[str, Any] | None:
        """Check each mode of a variant and stay in the fastest one. None: it is left out."""
        trials: dict[str, float] = {}
        losses: dict[str, float] = {}
        modes: tuple[str, ...] = ()
        with self.notice(variant, "data"):
            modes = self.call(variant, "prepare", cell)
        for mode in modes:
            if trials and variant.fallbacks:
                break
            with self.notice(variant, mode):
                parameters = self.call(variant, "check", mode)
                losses[mode] = reference.mean_loss(parameters, problem)
                self.call(variant, "measure", 1)  # of full length, for which JAX compiles anew
                trials[mode] = min(self.call(variant, "measure", 1) for _ in range(MODE_TRIALS))
        if not trials:
            return None
        best = min(trials, key=trials.__getitem__)
        step = trials[best] / cell.steps
        if step > self.settings.slowest_step and variant.rival != FASTBP:
            logger.warning("%s: %.0f ms a step, skipped", variant.name, 1e3 * step)
            return None
        if best != mode:
            self.call(variant, "check", best)
        return {
            "name": variant.name,
            "rival": variant.rival,
            "threads": variant.threads,
            "mode": best,
            "epochs": max(LEAST_EPOCHS, ceil(self.settings.seconds / trials[best])),
            "loss": losses[best],
            "trials_us_per_step": {m: 1e6 * t / cell.steps for m, t in trials.items()},
        }

    def rounds(
        self, cell: Cell, results: dict[Variant, dict[str, Any]]
    ) -> tuple[dict[Variant, list[float]], list[Ceilings]]:
        """Microseconds per step of every round, and the ceilings before and after fastbp's."""
        times: dict[Variant, list[float]] = {v: [] for v in results}
        ceilings: list[Ceilings] = []
        for number in range(self.settings.rounds):
            logger.info("round %d of %d", number + 1, self.settings.rounds)
            turn = list(results)
            first = number % len(turn)
            for variant in turn[first:] + turn[:first]:
                with self.notice(variant, "left out after a failure"):
                    seconds = self.timed(variant, results[variant]["epochs"], ceilings)
                    times[variant].append(1e6 * seconds / cell.steps)
                    continue
                del results[variant]
        return times, ceilings

    def timed(self, variant: Variant, epochs: int, ceilings: list[Ceilings]) -> float:
        """Seconds of an epoch; fastbp's with the ceilings before and after it."""
        if variant != FIT:
            return float(self.call(variant, "measure", epochs))
        before = self.call(CEILING, "rates", self.settings.seconds)
        seconds = float(self.call(variant, "measure", epochs))
        ceilings.append((before, self.call(CEILING, "rates", self.settings.seconds)))
        return seconds
