"""What the reliability harnesses share: options, children with a time limit, bits, the verdict."""

import argparse
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastbp
from fastbp import _engine

HUNG = 60  # seconds after which a child counts as hung


def options(doc: str, short: int, long: int) -> argparse.ArgumentParser:
    """Return a parser of --n, --long and --seed, whose n is `short` or `long` if not given."""
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument("--n", type=int, help=f"how many; by default {short}, {long} with --long")
    parser.add_argument("--long", action="store_true", help="the long profile, limits included")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(profiles=(short, long))
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, with the profile's n."""
    arguments = parser.parse_args()
    if arguments.n is None:
        arguments.n = arguments.profiles[arguments.long]
    return arguments


class Verdict:
    """Collects what failed, and ends with one line of figures and the exit status."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures: list[str] = []

    def expect(self, holds: bool, text: str) -> bool:
        """Take note of what does not hold."""
        if not holds:
            self.failures.append(text)
        return holds

    def status(self, **figures: object) -> int:
        """Print the failures, then the figures; return 1 if anything failed."""
        for text in self.failures[:20]:
            print(f"{self.name}: FAILED: {text}", file=sys.stderr)
        facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())
        print(f"{self.name}: {facts}, failures {len(self.failures)}", flush=True)
        return 1 if self.failures else 0


# ---------------------------------------------------------------------------------------- children


@contextmanager
def heeded(*numbers: int) -> Iterator[None]:
    """Let children that start meanwhile heed signals that a shell or nohup has ignored here."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fork(work: Callable[[], object], seconds: int = HUNG) -> int:
    """Have a forked child do the work; an alarm ends it if it hangs. Return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        work()
        status = 0
    except BaseException:  # nothing may get past: it would run the parent's code a second time
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """Wait for a child; return its exit status, or -signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def answer_of_fork(work: Callable[[], object], seconds: int = HUNG) -> tuple[int, Any]:
    """Return the exit status of a forked child, and what `work` returned there (None: failed)."""
    reading, writing = os.pipe()

    def send() -> None:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(work(), pipe)

    child = fork(send, seconds)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    status = ended(child)
    return status, pickle.loads(data) if status == 0 else None


# -------------------------------------------------------------------------------------------- bits


def everything(model: fastbp.Model) -> tuple[Any, ...]:
    """Return all that the bits of later fits depend on, and the history."""
    state, history = model._state, model.history.to_dict()
    history.pop("seconds")
    moments = [m if m is None else m.tobytes() for m in (state.m, state.v)]
    clock = (state.steps, state.epochs)
    return model.parameters.tobytes(), moments, clock, history, model._rng.bit_generator.state


def use_threads(n: int) -> None:
    """Let teams have n threads, however small the work is."""
    fastbp.set_num_threads(n)
    _engine.set_thread_grain(0)
