"""Use models from many Python threads at once.

Eight threads ask one model for predictions, losses and gradients: the same bits in each call. And
fits of one model that are begun while another runs are refused, from a thread and from a callback,
and leave that one's bits alone.

Usage: ``python tools/threads.py [--long]``.
"""

import sys
import threading
from collections.abc import Callable

import numpy as np
from harness import Verdict, everything, options, parsed, use_threads

import fastbp

N_THREADS, FITS = 8, 20
RNG = np.random.default_rng(4)
X = RNG.standard_normal((400, 12), np.float32)
Y = RNG.integers(4, size=400)


def new() -> fastbp.Model:
    """Return a model, always the same."""
    return fastbp.Model([12, 40, 40, 4], loss="softmax_cross_entropy", seed=1)


def together(work: Callable[[int], None]) -> None:
    """Call `work` with its number in each of the threads."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def calls(n: int, verdict: Verdict) -> None:
    """Call one model n times, from all threads together, with batches of several sizes."""
    model = new()
    sizes = (1, 3, 100, 400)
    what: list[Callable[[int], bytes]] = [
        lambda size: model.predict(X[:size]).tobytes(),
        lambda size: model.loss(X[:size], Y[:size], reduction="none").tobytes(),
        lambda size: model.gradient(X[:size], Y[:size]).tobytes(),
    ]
    expected = {(k, size): call(size) for k, call in enumerate(what) for size in sizes}

    def work(thread: int) -> None:
        for i in range(thread, n, N_THREADS):
            k, size = i % len(what), sizes[i // len(what) % len(sizes)]
            if not verdict.expect(what[k](size) == expected[k, size], f"call {i}: other bits"):
                return

    together(work)


def fits_at_once(verdict: Verdict) -> int:
    """Fit one model from all threads together; return how many were refused."""
    alone = new()
    alone.fit(X, Y, epochs=FITS)
    refused, done = [], []
    model, begin = new(), threading.Barrier(N_THREADS)

    class Wait(fastbp.Callback):
        """Keeps the first fit going until the others have been refused."""

        def on_epoch_end(self, model: fastbp.Model, history: fastbp.History) -> None:
            if len(history) == 1:
                verdict.expect(others.wait(60), "the other fits were not refused")

    others = threading.Event()

    def work(_: int) -> None:
        begin.wait()
        try:
            model.fit(X, Y, epochs=FITS, callbacks=[Wait()])
            done.append(1)
        except RuntimeError as error:
            verdict.expect("being fitted already" in str(error), f"another error: {error}")
            refused.append(1)
            if len(refused) == N_THREADS - 1:
                others.set()

    together(work)
    verdict.expect(len(done) == 1, f"{len(done)} fits of one model at once")
    verdict.expect(everything(model) == everything(alone), "the fit that ran has other bits")
    return len(refused)


def main() -> int:
    """Call n times and fit at once; return the exit status."""
    arguments, verdict = parsed(options(__doc__, short=800, long=10_000)), Verdict("threads")
    use_threads(2)
    calls(arguments.n, verdict)
    refused = sum(fits_at_once(verdict) for _ in range(max(arguments.n // 400, 1)))
    return verdict.status(calls=arguments.n, threads=N_THREADS, fits_refused=refused)


if __name__ == "__main__":
    sys.exit(main())
