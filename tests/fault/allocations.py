"""Let Python's k-th allocation fail, for each k until an operation gets through; print what came.

    python allocations.py OPERATION {once,ever} STEP

A line of JSON: how often there was which outcome. Each k is a process of its own (a fork), which
afterwards does the same again, without faults.
"""

import _testcapi
import collections
import faulthandler
import json
import os
import sys
import tempfile

import numpy as np

import fastbp

fastbp.set_num_threads(1)
ENOUGH = 10  # operations in a row that got through: there is no allocation left to fail
X = np.random.default_rng(0).normal(size=(20, 3))
Y = (X[:, 0] > 0).astype(int)
FOLDER = tempfile.mkdtemp()
PATH = os.path.join(FOLDER, "net")


def new():
    return fastbp.Model([3, 4, 2], loss="softmax_cross_entropy", seed=1)


MODEL = new()
OPERATIONS = {
    "Model": new,
    "fit": lambda: MODEL.fit(X, Y, epochs=1, batch_size=8),
    "predict": lambda: MODEL.predict(X),
    "gradient": lambda: MODEL.gradient(X, Y),
    "save": lambda: MODEL.save(PATH),
    "load": lambda: fastbp.Model.load(PATH),
}
# What NumPy, CPython and safetensors raise where an allocation of theirs has failed and they do not
# say so.
THEIRS = (
    "SystemError: <ufunc",
    "SystemError: <class 'numpy",
    "SystemError: error return without exception set",
    "SystemError: NULL object passed to Py_BuildValue",
    "SystemError: <built-in",
    "RuntimeError: can't allocate ",
    # CPython takes no memory for no method __fspath__
    "TypeError: stat: path should be string, bytes, os.PathLike or integer, not PosixPath",
    "TypeError: open: path should be string, bytes or os.PathLike, not PosixPath",
    "TypeError: replace: src should be string, bytes or os.PathLike, not PosixPath",
    "TypeError: replace: dst should be string, bytes or os.PathLike, not PosixPath",
    "TypeError: expected str, bytes or os.PathLike object, not PosixPath",
    "PanicException: ",
)


def attempt(operation, k, for_ever):
    """Return what an operation comes to."""
    _testcapi.set_nomemory(k, 0 if for_ever else k + 1)
    try:
        operation()
        raised = None
    except BaseException as error:
        raised = error
    finally:
        _testcapi.remove_mem_hooks()
    if raised is None or isinstance(raised, MemoryError):
        return "done" if raised is None else "MemoryError"
    text = f"{type(raised).__name__}: {raised}"
    return "of a library" if text.startswith(THEIRS) else text


def aftermath(operation, for_ever):
    """Return what is wrong afterwards, or nothing."""
    names = [name for name in os.listdir(FOLDER) if name != "net"]
    if names and not for_ever:  # without any memory, a file cannot be removed
        return f"left {names}"
    if not np.isfinite(MODEL.parameters).all():
        return "parameters are not finite"
    fastbp.Model.load(PATH)
    operation()
    MODEL.predict(X)
    return ""


def in_child(operation, k, for_ever):
    """Attempt it in a process of its own."""
    end, begin = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.enable(begin)
        outcome = attempt(operation, k, for_ever)
        try:
            wrong = aftermath(operation, for_ever)
        except BaseException as error:
            wrong = f"afterwards {error!r}"
        os.write(begin, f"{outcome} {wrong}".strip().encode())
        os._exit(0)
    os.close(begin)
    with os.fdopen(end, errors="replace") as pipe:
        told = pipe.read()
    if os.waitpid(child, 0)[1] == 0:
        return told
    frames = [line for line in told.splitlines() if line.startswith("  File")]
    within = frames and "/fastbp/" not in frames[0]
    return "crash in a library" if within else f"crash: {told}"


def main(name, how, step):
    operation, k, passed = OPERATIONS[name], 1, 0
    MODEL.save(PATH)
    operation()
    outcomes = collections.Counter()
    while passed < ENOUGH:
        outcome = in_child(operation, k, how == "ever")
        outcomes[outcome] += 1
        passed = passed + 1 if outcome == "done" else 0
        k += step
    for file in os.listdir(FOLDER):
        os.unlink(os.path.join(FOLDER, file))
    os.rmdir(FOLDER)
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
