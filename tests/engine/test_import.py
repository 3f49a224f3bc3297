"""Importing fastbp, and training, leaves the process as it was."""

import json
import subprocess
import sys

import pytest

STATE = r"""
import ctypes, json, locale, os, platform, random, signal, sys, warnings

import numpy as np


def floating_point_mode():
    "Control bits of x86's MXCSR (its low six bits are flags), at the end of glibc's fenv_t."
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        return None
    environment = (ctypes.c_uint32 * 8)()
    assert ctypes.CDLL(None).fegetenv(environment) == 0
    return environment[7] & ~0x3F


def rounding():
    "Of sums and products (up, down, to even), as their results show it."
    one, half = float(os.environ.get("NO_SUCH_NAME", 1)), 2.0**-53
    return [(one + half).hex(), (-one - half).hex(), (one / 3).hex()]


def denormals():
    "Do they survive in float64, float32 and Python's own arithmetic?"
    tiny = np.array([5e-324]), np.array([1e-45], np.float32)
    return [bool((x * 1).sum() > 0) for x in tiny] + [5e-324 * len(tiny) > 0]


def handlers():
    with_handlers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    return [str(signal.getsignal(number)) for number in with_handlers]


def kernel_view():
    "Signals caught, blocked and ignored, as the kernel has them; and the number of threads."
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status") as status:
        wanted = ("SigCgt", "SigBlk", "SigIgn", "Threads")
        return [line.split() for line in status if line.startswith(wanted)]


def state():
    before_umask = os.umask(0o77)
    os.umask(before_umask)
    random_state = np.random.get_state()
    return {
        "mode": floating_point_mode(),
        "rounding": rounding(),
        "denormals": denormals(),
        "errors": np.geterr(),
        "environment": dict(os.environ),
        "handlers": handlers(),
        "kernel": kernel_view(),
        "numpy": [random_state[1].tolist(), random_state[2:]],
        "random": repr(random.getstate()),
        "warnings": [repr(entry) for entry in warnings.filters],
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "directory": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": before_umask,
        "hooks": [repr(hook) for hook in (sys.excepthook, sys.unraisablehook, sys.displayhook)],
        "path": list(sys.path),
    }
"""
TRAINING = """
fastbp.set_num_threads({threads})
_engine.set_thread_grain(0)
for dtype in ("float32", "float64"):
    model = fastbp.Model([64, 20, 10], loss="softmax_cross_entropy", seed=0, dtype=dtype)
    X, y = fastbp.datasets.load_digits()
    model.fit(X, y, epochs=1)
    model.predict(X), model.loss_and_gradient(X, y), model.per_sample_gradient(X[:5], y[:5])
"""


def states(code):
    """State of a fresh process before and after some code."""
    script = f"{STATE}\nbefore = state()\n{code}\nprint(json.dumps([before, state()]))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def differing(code):
    """Names of what the code changes."""
    before, after = states(code)
    assert before["denormals"] == [True, True, True]
    return [name for name in before if before[name] != after[name]]


def test_import_changes_nothing():
    assert differing("import fastbp, fastbp._engine, fastbp._kernels") == []


@pytest.mark.parametrize("threads", [1, 2])
def test_training_changes_nothing(threads):
    """But for the threads that OpenMP keeps."""
    code = f"import fastbp\nfrom fastbp import _engine\n{TRAINING.format(threads=threads)}"
    assert set(differing(code)) <= ({"kernel"} if threads > 1 else set())


def test_exceptions_change_nothing():
    code = """
import fastbp
from fastbp import _engine

fastbp.set_num_threads(1)

class Raising(fastbp.Callback):
    def on_epoch_end(self, model, history):
        raise KeyboardInterrupt

model = fastbp.Model([4, 8, 1], loss="squared_error", seed=0)
X, y = np.ones((20, 4)), np.full(20, 1e30)
for call in (
    lambda: model.fit(X * np.nan, y),
    lambda: model.fit(X, y, optimizer=fastbp.SGD(1e9), epochs=9),
    lambda: model.fit(X, y * 0, callbacks=[Raising()]),
    lambda: fastbp.Model.load("no such file"),
    lambda: model.save("/no/such/folder/net"),
):
    try:
        call()
    except BaseException as error:
        assert isinstance(error, (ValueError, KeyboardInterrupt, OSError)), error
    else:
        raise AssertionError
"""
    assert differing(code) == []


def test_an_error_of_the_system_is_not_forgotten():
    """Training leaves `errno` as C code that asks for it later would find it."""
    code = """
import ctypes
import fastbp
from fastbp import _engine

libc = ctypes.CDLL(None, use_errno=False)
libc.__errno_location.restype = ctypes.POINTER(ctypes.c_int)
fastbp.set_num_threads(2)
_engine.set_thread_grain(0)
model = fastbp.Model([4, 8, 1], loss="squared_error", seed=0)
X, y = np.ones((200, 4)), np.ones(200)
model.fit(X, y, epochs=1)
where = libc.__errno_location()
where[0] = 0
model.fit(X, y, epochs=1)
print(where[0], flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import numpy as np\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0\n"


CHANGES = {
    "denormals": "libc, mode = ctypes.CDLL(None), (ctypes.c_uint32 * 8)()\n"
    "libc.fegetenv(mode)\nmode[7] |= 0x8040\nlibc.fesetenv(mode)",
    "rounding": "libc = ctypes.CDLL(None)\nlibc.fesetround(0x800)",
    "locale": "locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "umask": "os.umask(0o12)",
    "path": "sys.path.append('x')",
    "environment": "os.environ['ONE'] = '1.0'",
    "handlers": "signal.signal(signal.SIGUSR1, lambda *_: None)",
    "kernel": "import threading, time\nthreading.Thread(target=time.sleep, args=(1,)).start()",
    "numpy": "np.random.random()",
    "warnings": "warnings.simplefilter('ignore')",
}


@pytest.mark.parametrize(("name", "code"), CHANGES.items(), ids=CHANGES)
def test_a_change_is_seen(name, code):
    if name == "denormals" and states("")[0]["mode"] is None:
        pytest.skip("reads x86's MXCSR through glibc")
    assert name in differing(code)
    assert name != "denormals" or "mode" in differing(code)
