"""Fork while other threads train, and train in child processes of every kind.

Forks: four Python threads train on two threads each, and the main one forks again and again; each
child trains, and so does the parent afterwards, to the same bits. A child that hangs is ended by
its alarm. Then children of multiprocessing (fork, forkserver, spawn) and of loky, where joblib is
there; a process that may run on one CPU must use one thread, and one whose CPU time is limited (a
cgroup, with ``--long``, where this user may make one) must end with the same bits.

Usage: ``python tools/forks.py [--long]``.
"""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from harness import HUNG, Verdict, ended, fork, options, parsed, use_threads

import fastbp

N_TRAINING, HANG, WORKERS = 4, 20, 4
CGROUPS = Path("/sys/fs/cgroup/cpu")  # version 1, where a quota needs no delegation
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 8)), RNG.integers(0, 3, 300)


def trained(_: int = 0) -> str:
    """Train on two threads, by slabs and by weights; return the SHA-256 of the parameters."""
    use_threads(2)
    digest = hashlib.sha256()
    for batch_size in (100, 20):
        model = fastbp.Model([8, 16, 3], loss="softmax_cross_entropy", seed=0)
        model.fit(X, Y, epochs=2, batch_size=batch_size)
        digest.update(model.parameters.tobytes())
    return digest.hexdigest()


def check_child(expected: str) -> None:
    """Train in a forked child."""
    if trained() != expected:
        raise AssertionError("other bits in the child")


@contextmanager
def training_threads(expected: str, verdict: Verdict) -> Iterator[list[int]]:
    """Have four threads train; yield how many fits each has done."""
    stop, counts = threading.Event(), [0] * N_TRAINING

    def work(i: int) -> None:
        while not stop.is_set():
            if not verdict.expect(trained() == expected, "other bits in a thread of the parent"):
                return
            counts[i] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(N_TRAINING)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def forks(n: int, expected: str, verdict: Verdict) -> int:
    """Fork n times; return how many fits the threads did meanwhile."""
    with training_threads(expected, verdict) as counts:
        for i in range(n):
            status = ended(fork(lambda: check_child(expected), HANG))
            verdict.expect(status == 0, f"fork {i}: status {status} (-14: hung)")
            if i % 10 == 0:
                verdict.expect(trained() == expected, f"other bits in the parent after fork {i}")
    return sum(counts)


def pools(expected: str, verdict: Verdict) -> list[str]:
    """Train in the children of every pool; return which there are."""
    names = []
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            try:
                bits = pool.map_async(trained, range(WORKERS)).get(HUNG)
            except multiprocessing.TimeoutError:
                bits = ["hung"]
        verdict.expect(set(bits) == {expected}, f"{method}: {bits}")
        names.append(method)
    try:
        from joblib import Parallel, delayed  # noqa: PLC0415 -- optional
    except ImportError:
        return names
    bits = Parallel(2, backend="loky", timeout=HUNG)(delayed(trained)(i) for i in range(WORKERS))
    verdict.expect(set(bits) == {expected}, f"loky: {bits}")
    return [*names, "loky"]


def answer(code: str) -> str:
    """Return what a new process prints."""
    command = [sys.executable, "-c", code]
    environment = {name: v for name, v in os.environ.items() if not name.startswith("OMP_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment["PYTHONSAFEPATH"] = "1"  # this package, not the folder of its sources
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=HUNG
    )
    return done.stdout.strip() or done.stderr[-300:]


def affinity(verdict: Verdict) -> None:
    """Let a process run on one CPU, and on all."""
    cpus = sorted(os.sched_getaffinity(0))
    for some in ({cpus[0]}, set(cpus)):
        said = answer(
            f"import os; os.sched_setaffinity(0, {some}); import fastbp; "
            "print(fastbp.get_num_threads())"
        )
        verdict.expect(said == str(len(some)), f"{len(some)} CPUs: {said} threads")


def quota(expected: str, verdict: Verdict) -> str:
    """Train in half a CPU; return whether that could be had."""
    group = CGROUPS / f"fastbp-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return "no cgroup to be had"
    try:
        (group / "cpu.cfs_quota_us").write_text("50000")
        code = (
            f"open({str(group / 'tasks')!r}, 'w').write('0'); import forks; print(forks.trained())"
        )
        said = answer(code)
    except OSError as error:
        return f"no quota to be had: {error.strerror}"
    finally:
        group.rmdir()
    verdict.expect(said == expected, f"half a CPU: {said}")
    return "half a CPU"


def main() -> int:
    """Fork n times and try all pools; return the exit status."""
    arguments, verdict = parsed(options(__doc__, short=30, long=1000)), Verdict("forks")
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    expected = trained()
    names = pools(expected, verdict)
    fits = forks(arguments.n, expected, verdict)
    affinity(verdict)
    limited = quota(expected, verdict) if arguments.long else "not tried"
    return verdict.status(
        forks=arguments.n, fits_beside_them=fits, pools=" ".join(names), quota=limited
    )


if __name__ == "__main__":
    sys.exit(main())
