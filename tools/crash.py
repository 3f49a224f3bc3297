"""Kill a training with SIGKILL at random moments; what is on disk must go on to the same bits.

A child trains and saves after every minibatch. Some time after its first checkpoint it is killed.
Then the checkpoint must load, be the last that the child has reported or the one after, and lie
beside at most one temporary file; a fit that resumes must clear that away and end with the
parameters, moments and history of a fit that was never cut. Every third run is killed once more
after it has resumed.

Usage: ``python tools/crash.py [--long] [--fresh]``. With ``--fresh`` each child is a new process
instead of a fork. A kill loses nothing that has been handed to the kernel, so this does not test
what fsync is for.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
from harness import Verdict, ended, everything, fork, options, parsed

import fastbp
from fastbp import _serialization, _training

EPOCHS, BATCHES = 100, 10
CHECKPOINT, REPORTS = "run.ckpt", "reports"
RNG = np.random.default_rng(3)
X = RNG.normal(size=(16 * BATCHES, 5))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
DROPOUT = [fastbp.Dense(5, 8, "tanh", dropout=0.3), fastbp.Dense(8, 2, "identity")]
FITS = (
    ([5, 8, 2], {"optimizer": fastbp.Adam(fastbp.Cosine(0.02, EPOCHS))}),
    ([5, 64, 64, 2], {"validation_data": (X[:40] + 0.1, Y[:40])}),
    (DROPOUT, {"optimizer": fastbp.SGD(0.1, 0.9), "shuffle": False}),
)


class Reporting(fastbp.ModelCheckpoint):
    """Writes into a file which checkpoints are finished, and what was left when it began."""

    def __init__(self, folder: Path, every_seconds: float) -> None:
        super().__init__(folder / CHECKPOINT, every_seconds=every_seconds)
        self._folder = folder
        self.left_over: list[str] = []

    def on_fit_begin(self, model: fastbp.Model, history: fastbp.History, epochs: int) -> None:
        """Look what is there after the clearing."""
        super().on_fit_begin(model, history, epochs)
        self.left_over = temporaries(self._folder)

    def _save(self, model: fastbp.Model) -> None:
        super()._save(model)
        report(self._folder, self._saved)


def temporaries(folder: Path) -> list[str]:
    """Return the names of the temporary files in a folder."""
    return sorted(path.name for path in folder.glob(".*.tmp"))


def report(folder: Path, position: tuple[int, int]) -> None:
    """Add the epoch and minibatch of a checkpoint that is on disk."""
    with open(folder / REPORTS, "a", encoding="ascii") as file:
        file.write("{} {}\n".format(*position))


def last_report(folder: Path) -> tuple[int, int] | None:
    """Return the last whole line of the reports; None: there is none."""
    if not (folder / REPORTS).exists():
        return None
    lines = (folder / REPORTS).read_text().split("\n")[:-1]
    return tuple(map(int, lines[-1].split())) if lines else None


def on_disk(folder: Path) -> tuple[int, int]:
    """Return the epoch and minibatch of the checkpoint."""
    config = _serialization.load(folder / CHECKPOINT).training.config
    return config["epoch"], config["batches"]


def after(position: tuple[int, int] | None) -> tuple[int, int]:
    """Return the position of the checkpoint after this one."""
    epoch, batch = position or (1, 0)
    return (epoch, batch + 1) if batch + 1 < BATCHES else (epoch + 1, 0)


def train(which: int, saver: Reporting | None, resume: Path | None) -> fastbp.Model:
    """Fit one of the nets to its end."""
    layers, settings = FITS[which]
    model = fastbp.Model(layers, loss="softmax_cross_entropy", seed=1)
    hooks = [] if saver is None else [saver]
    model.fit(X, Y, epochs=EPOCHS, batch_size=16, callbacks=hooks, resume=resume, **settings)
    return model


def train_and_save(folder: Path, which: int) -> None:
    """Save after every minibatch, as the child does; go on if there is a checkpoint."""
    _training._SLICE = 0.0
    file = folder / CHECKPOINT
    train(which, Reporting(folder, 0.0), file if file.exists() else None)


@cache
def expected(which: int) -> tuple[object, ...]:
    """Return what a fit that is never cut ends with."""
    return everything(train(which, None, None))


class Child:
    """A training in a process of its own."""

    def __init__(self, folder: Path, which: int, fresh: bool) -> None:
        self._process = None
        if fresh:
            command = [sys.executable, __file__, "--train", str(folder), str(which)]
            self._process = subprocess.Popen(command)
        else:
            self._id = fork(lambda: train_and_save(folder, which))

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        else:
            os.kill(self._id, 9)
            ended(self._id)


def kill_one(folder: Path, which: int, fresh: bool, wait: float) -> bool:
    """Train, and kill when a checkpoint and then `wait` seconds have passed; False: none came."""
    child = Child(folder, which, fresh)
    try:
        limit = time.monotonic() + 60
        while not (folder / CHECKPOINT).exists():
            if time.monotonic() > limit:
                return False
            time.sleep(0.0002)
        time.sleep(wait)
    finally:
        child.kill()
    return True


def check_killed(folder: Path, verdict: Verdict, run: str) -> bool:
    """Check what a killed process has left."""
    try:
        found = on_disk(folder)
    except (fastbp.ModelFormatError, OSError) as error:
        return verdict.expect(False, f"{run}: the checkpoint does not load: {error}")
    last = last_report(folder)
    verdict.expect(found in (last, after(last)), f"{run}: on disk is {found}, reported was {last}")
    left = temporaries(folder)
    verdict.expect(len(left) <= 1, f"{run}: left are {left}")
    report(folder, found)
    return True


def crash(folder: Path, which: int, waits: list[float], fresh: bool, verdict: Verdict) -> int:
    """Kill once for each of the waits, then finish; return how many temporary files were left."""
    run, left = f"fit {which}, killed after {[round(wait, 4) for wait in waits]} s", 0
    for wait in waits:
        if not verdict.expect(kill_one(folder, which, fresh, wait), f"{run}: no checkpoint came"):
            return left
        if not check_killed(folder, verdict, run):
            return left
        left += len(temporaries(folder))
    saver = Reporting(folder, 1e9)
    try:
        bits = everything(train(which, saver, folder / CHECKPOINT))
    except (fastbp.CheckpointError, OSError) as error:
        verdict.expect(False, f"{run}: does not resume: {error}")
        return left
    verdict.expect(bits == expected(which), f"{run}: other bits after resuming")
    verdict.expect(not saver.left_over, f"{run}: still there is {saver.left_over}")
    names = sorted(path.name for path in folder.iterdir())
    verdict.expect(names == sorted([REPORTS, CHECKPOINT]), f"{run}: in the end there is {names}")
    return left


def main() -> int:
    """Kill and resume n times; return the exit status."""
    parser = options(__doc__, short=25, long=1000)
    parser.add_argument("--fresh", action="store_true", help="new processes instead of forks")
    parser.add_argument("--train", nargs=2, metavar=("FOLDER", "FIT"), help="be such a process")
    arguments = parsed(parser)
    if arguments.train:
        train_and_save(Path(arguments.train[0]), int(arguments.train[1]))
        return 0
    rng, verdict = np.random.default_rng(arguments.seed), Verdict("crash")
    kills = left = 0
    for i in range(arguments.n):
        waits = rng.uniform(0, 0.3, size=2 if i % 3 == 2 else 1).tolist()
        kills += len(waits)
        with tempfile.TemporaryDirectory() as folder:
            left += crash(Path(folder), i % len(FITS), waits, arguments.fresh, verdict)
    return verdict.status(runs=arguments.n, kills=kills, temporary_files_left=left)


if __name__ == "__main__":
    sys.exit(main())
