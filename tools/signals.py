"""Interrupt `Model.fit` and the command at random moments, and look at what is left.

SIGINT in ``fit``: KeyboardInterrupt must come soon; the parameters must be those of a finished
minibatch, bit for bit what a fit up to there gives; the history must hold the finished epochs; and
the model must train on as one that stopped there by itself. With ``--long`` 99 % must come within
100 ms, and all within 250 ms.

The command: SIGTERM must end it with status 143 (2 s with ``--long``) and a checkpoint that loads;
SIGHUP, and a reader of its output that goes away, without a traceback or half a file.

Usage: ``python tools/signals.py [--long]``.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from harness import HUNG, Verdict, heeded, options, parsed

import fastbp
from fastbp import _serialization

SOON, LATEST, ENDED = 0.1, 0.25, 2.0  # seconds
RNG = np.random.default_rng(5)
FLAT = fastbp.SGD(1e-4, 0.9)


def samples(n: int, n_in: int) -> tuple[Any, Any]:
    """Return inputs and a target."""
    x = RNG.standard_normal((n, n_in), np.float32)
    return x, x[:, :1].astype(np.float64)


@dataclass
class Case:
    """A net, its data and how it is fitted."""

    widths: list[int]
    n: int
    batch_size: int
    share: float  # of the signals
    longest: float  # seconds into the fit
    checks_bits: bool = True
    optimizer: fastbp.Optimizer = field(default_factory=lambda: fastbp.Adam(1e-4))
    n_validation: int = 0

    def __post_init__(self) -> None:
        """Draw the data."""
        self.data = samples(self.n, self.widths[0])
        self.options: dict[str, Any] = {"batch_size": self.batch_size, "optimizer": self.optimizer}
        self.validation: dict[str, Any] = {}
        if self.n_validation:
            self.validation["validation_data"] = samples(self.n_validation, self.widths[0])

    def model(self) -> fastbp.Model:
        """Return a new model, always the same."""
        return fastbp.Model(self.widths, loss="squared_error", seed=1)


def cases(long: bool) -> dict[str, Case]:
    """Return the nets; those with data of hundreds of MB only in the long profile."""
    nets = {
        "narrow": Case([16, 32, 1], 4000, 32, 0.2, 0.3),
        "short epochs": Case([8, 16, 1], 64, 16, 0.2, 0.3),
        "slabs": Case([16, 32, 1], 20_000, 1024, 0.15, 0.3),
        "single samples": Case([64, 64, 1], 2000, 1, 0.15, 0.3, n_validation=2000),
        "wide": Case([256, 512, 512, 1], 4000, 128, 0.1, 0.5, optimizer=FLAT),
    }
    if long:
        nets["one batch of 400 MB"] = Case([1000, 256, 1], 100_000, 100_000, 0.1, 3.0, False)
        nets["400 MB to validate"] = Case(
            [1000, 256, 1], 2000, 100, 0.1, 3.0, False, n_validation=100_000
        )
    return nets


def interrupted(model: fastbp.Model, case: Case, wait: float) -> float | None:
    """Fit, and send SIGINT after `wait` seconds; return the seconds until it was caught."""
    sent = [0.0]

    def send() -> None:
        time.sleep(wait)
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    try:
        thread.start()
        model.fit(*case.data, epochs=10**9, **case.options, **case.validation)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - sent[0]
        thread.join()
        return seconds
    return None


def check_state(model: fastbp.Model, case: Case) -> str:
    """Compare with a model that has stopped there by itself; return what is wrong."""
    if model._state is None:  # interrupted before it began
        same = np.array_equal(model.parameters, case.model().parameters)
        return "" if same else "the parameters have changed before the fit began"
    n_batches = -(-case.n // case.batch_size)
    epochs, batches = divmod(model._state.steps, n_batches)
    finished = len(model.history)
    if finished != epochs and (finished, batches) != (epochs - 1, 0):
        return f"{finished} epochs in the history, but {epochs} and {batches} minibatches done"
    if not case.checks_bits:
        return "" if np.isfinite(model.parameters).all() else "parameters that are not finite"
    twin = case.model()
    if epochs:
        twin.fit(*case.data, epochs=epochs, **case.options, **case.validation)
        if twin.history.loss[:finished] != model.history.loss:
            return "other losses in the history"
    if batches:
        order = twin._rng.permutation(case.n)[: batches * case.batch_size]
        part = [values[order] for values in case.data]
        twin.fit(*part, epochs=1, shuffle=False, **case.options)
    if not np.array_equal(model.parameters, twin.parameters):
        return f"other parameters than those after {epochs} epochs and {batches} minibatches"
    for each in (model, twin):  # in order: between epochs the next order may have been drawn
        each.fit(*case.data, epochs=1, shuffle=False, **case.options)
    return "" if np.array_equal(model.parameters, twin.parameters) else "it trains on otherwise"


def sigints(
    n: int, long: bool, rng: np.random.Generator, verdict: Verdict
) -> list[tuple[float, str]]:
    """Interrupt n fits; return the seconds that each took, and the net's name."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    latencies = []
    nets = cases(long)
    weights = np.array([case.share for case in nets.values()])
    for name in rng.choice(list(nets), n, p=weights / weights.sum()):
        case, model = nets[name], nets[name].model()
        wait = rng.uniform(0, case.longest)
        seconds = interrupted(model, case, wait)
        if not verdict.expect(seconds is not None, f"{name}: no KeyboardInterrupt came"):
            continue
        latencies.append((seconds, str(name)))
        problem = check_state(model, case)
        verdict.expect(not problem, f"{name}, SIGINT after {wait:.4f} s: {problem}")
        limit = LATEST if long else HUNG / 10
        verdict.expect(seconds <= limit, f"{name}: {1e3 * seconds:.0f} ms until it was caught")
    if long:
        late = float(np.quantile([seconds for seconds, _ in latencies], 0.99))
        verdict.expect(late <= SOON, f"99 % of the signals are caught within {1e3 * late:.0f} ms")
    return latencies


# ------------------------------------------------------------------------------------ the command

TRAIN = ("train", "--hidden", "16", "--checkpoint", "run.ckpt")


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a folder."""
    with heeded(signal.SIGHUP):
        return subprocess.Popen(
            [sys.executable, "-m", "fastbp", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def check_files(folder: Path) -> str:
    """Return what is wrong with the files that a command has left."""
    left = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    if left:
        return f"it leaves {left}"
    for path in (folder / "run.ckpt", folder / "digits.safetensors"):
        try:
            if path.exists():
                _serialization.load(path)
        except fastbp.ModelFormatError as error:
            return f"half a file: {error}"
    return ""


def ended_by(number: int, folder: Path, wait: float) -> tuple[int, str, float]:
    """Send a signal `wait` seconds after training has begun; return status, errors and seconds."""
    with command(folder, *TRAIN, "--epochs", "1000000") as process:
        try:
            for line in process.stdout:
                if line.startswith("Network"):
                    break
            time.sleep(wait)
            begun = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=HUNG)
        finally:
            process.kill()
    return process.returncode, errors, time.monotonic() - begun


def reader_gone(folder: Path, _wait: float) -> tuple[int, str, float]:
    """Train with a reader that takes one line, as ``| head -1``; return the same."""
    begun = time.monotonic()
    with command(folder, *TRAIN, "--epochs", "2") as process:
        try:
            process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()
            process.wait(HUNG)
        finally:
            process.kill()
    return process.returncode, errors, time.monotonic() - begun


End = Callable[[Path, float], tuple[int, str, float]]
ENDS: dict[str, tuple[End, int]] = {
    "SIGTERM": (lambda folder, wait: ended_by(signal.SIGTERM, folder, wait), 128 + signal.SIGTERM),
    "SIGHUP": (lambda folder, wait: ended_by(signal.SIGHUP, folder, wait), -signal.SIGHUP),
    "reader gone": (reader_gone, 1),
}


def commands(n: int, long: bool, rng: np.random.Generator, verdict: Verdict) -> float:
    """End the command n times in each way; return the longest that SIGTERM took."""
    longest = 0.0
    for name, (end, status) in ENDS.items():
        for _ in range(n):
            wait = rng.uniform(0.1, 1.0)  # the command says what it does just before it trains
            with tempfile.TemporaryDirectory() as folder:
                got, errors, seconds = end(Path(folder), wait)
                problem = check_files(Path(folder))
            text = f"{name} after {wait:.3f} s: "
            verdict.expect(got == status, f"{text}status {got}: {errors[-300:]}")
            noise = "Traceback" in errors or "Exception ignored" in errors
            verdict.expect(not noise, f"{text}{errors[-600:]}")
            verdict.expect(not problem, f"{text}{problem}")
            if name == "SIGTERM":
                longest = max(longest, seconds)
    verdict.expect(longest <= (ENDED if long else HUNG), f"SIGTERM took {longest:.2f} s")
    return longest


def main() -> int:
    """Interrupt fits and commands; return the exit status."""
    parser = options(__doc__, short=20, long=300)
    parser.add_argument("--commands", type=int, help="how often the command is ended in each way")
    arguments = parsed(parser)
    n_commands = arguments.commands
    if n_commands is None:
        n_commands = 20 if arguments.long else 1
    rng, verdict = np.random.default_rng(arguments.seed), Verdict("signals")
    latencies = sigints(arguments.n, arguments.long, rng, verdict)
    longest = commands(n_commands, arguments.long, rng, verdict)
    middle, late = np.quantile([seconds for seconds, _ in latencies] or [0.0], (0.5, 0.99))
    longest_wait, slowest = max(latencies, default=(0.0, "none"))
    return verdict.status(
        SIGINTs=len(latencies),
        ms_median=round(1e3 * middle, 1),
        ms_p99=round(1e3 * late, 1),
        ms_max=f"{1e3 * longest_wait:.1f} ({slowest})",
        commands=n_commands * len(ENDS),
        SIGTERM_seconds_max=round(longest, 2),
    )


if __name__ == "__main__":
    sys.exit(main())
