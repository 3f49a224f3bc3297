"""Fit, save, load and predict again and again; nothing may pile up.

Models of several kinds are trained, saved as models and as checkpoints, loaded, copied and asked
for predictions, and calls that fail are among them. Open files and threads must stay as many as
after the warm-up, and every cycle of one kind must give the same bits. With ``--long``, after the
warm-up, the memory of the process (RSS) may grow by 1 MiB, what of it is in use (glibc's malloc) by
64 KiB, and Python's objects by 500. Where only the first grows, nothing is lost: pages are touched
that allocators had already taken, or take for another order of requests.

Usage: ``python tools/soak.py [--long]``.
"""

import copy
import ctypes
import gc
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from harness import Verdict, options, parsed, use_threads

import fastbp

WARM_UP = 0.1  # of the cycles
MOST_GROWTH = 1 << 20  # bytes
MOST_IN_USE = 1 << 16
MOST_OBJECTS = 500
RNG = np.random.default_rng(2)
X = RNG.standard_normal((200, 6), np.float32)
Y = (X[:, 0] > 0).astype(int)
KINDS = (
    ([6, 8, 2], {"batch_size": 32}),
    ([6, 16, 16, 2], {"batch_size": 150, "optimizer": fastbp.SGD(0.1, 0.9)}),
    ([6, 8, 2], {"batch_size": 1, "shuffle": False, "sample_weight": np.ones(200)}),
    ([6, 64, 2], {"batch_size": 64, "validation_data": (X, Y)}),
)


def counted(folder: str) -> int:
    """Return how many entries a folder of /proc has."""
    return len(os.listdir(f"/proc/self/{folder}"))


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns; in_use is its uordblks, in bytes."""

    _fields_ = (
        ("before", ctypes.c_size_t * 7),
        ("in_use", ctypes.c_size_t),
        ("after", ctypes.c_size_t * 2),
    )


def in_use() -> int:
    """Return the bytes that malloc has given out; zero where it does not say."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = MallocInfo
    return int(mallinfo().in_use)


def refused(model: fastbp.Model, path: Path) -> None:
    """Make calls that fail on the way."""
    path.write_bytes(path.read_bytes()[:-1])
    with suppress(fastbp.ModelFormatError):
        fastbp.Model.load(path)
    with suppress(ValueError):
        model.fit(X[:, :5], Y)


def cycle(kind: int, folder: Path) -> bytes:
    """Do everything once; return the predictions."""
    widths, settings = KINDS[kind]
    use_threads(1 + kind % 2)
    model = fastbp.Model(widths, loss="softmax_cross_entropy", seed=kind)
    path, checkpoint = folder / "model", folder / "checkpoint"
    model.fit(X, Y, epochs=1, callbacks=[fastbp.ModelCheckpoint(checkpoint)], **settings)
    model.fit(X, Y, epochs=1, **settings)
    resumed = fastbp.Model(widths, loss="softmax_cross_entropy", seed=0)
    resumed.fit(X, Y, epochs=2, resume=checkpoint, **settings)
    model.save(path)
    loaded = fastbp.Model.load(path)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(loaded)))
    bits = b"".join(each.predict(X).tobytes() for each in (model, resumed, loaded, twin))
    refused(model, path)
    return bits


def main() -> int:
    """Go through n cycles; return the exit status."""
    arguments, verdict = parsed(options(__doc__, short=200, long=10_000)), Verdict("soak")
    expected: dict[int, bytes] = {}
    warm_up = max(len(KINDS), int(WARM_UP * arguments.n))
    files = threads = objects = bytes_in_use = 0
    memory: list[int] = []  # after the warm-up, and after each tenth of the cycles
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.n + warm_up):
            if i == warm_up:
                files, threads = counted("fd"), counted("task")
                gc.collect()
                objects, bytes_in_use = sys.getallocatedblocks(), in_use()
            if i >= warm_up and (i - warm_up) % max(1, arguments.n // 10) == 0:
                gc.collect()
                memory.append(resident())
            bits = cycle(i % len(KINDS), Path(folder))
            verdict.expect(expected.setdefault(i % len(KINDS), bits) == bits, f"cycle {i}: bits")
        left = sorted(os.listdir(folder))
    gc.collect()
    memory.append(resident())
    growth, more_in_use = memory[-1] - memory[0], in_use() - bytes_in_use
    more_objects = sys.getallocatedblocks() - objects
    verdict.expect(left == ["checkpoint", "model"], f"in the folder there is {left}")
    verdict.expect(counted("fd") == files, f"open files: {files}, then {counted('fd')}")
    verdict.expect(counted("task") == threads, f"threads: {threads}, then {counted('task')}")
    if arguments.long:
        verdict.expect(growth <= MOST_GROWTH, f"memory grew by {growth / 1024:.0f} KiB")
        verdict.expect(more_in_use <= MOST_IN_USE, f"{more_in_use} bytes more in use")
        verdict.expect(more_objects <= MOST_OBJECTS, f"{more_objects} objects more")
    tenths = " ".join(str((later - memory[0]) // 1024) for later in memory)
    return verdict.status(
        cycles=arguments.n,
        KiB_grown_by_tenths=tenths,
        bytes_more_in_use=more_in_use,
        objects_more=more_objects,
        open_files=files,
        threads=threads,
    )


if __name__ == "__main__":
    sys.exit(main())
