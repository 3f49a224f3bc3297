"""Memory that runs out: MemoryError, and everything as usable as before.

Python's allocations fail one by one (`allocations.py`); those of arrays and of the compiled core by
a limit on the address space, in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp

pytest.importorskip("_testcapi", reason="needs CPython's own tests")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

OPERATIONS = ("Model", "fit", "predict", "gradient", "save", "load")
EXPECTED = {"MemoryError", "done", "of a library"}


def run(*command):
    home = str(Path(fastbp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": home},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def outcomes(operation, how, step):
    script = Path(__file__).parent / "allocations.py"
    return json.loads(run(script, operation, how, str(step)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_allocation_that_fails(operation):
    few = operation == "predict"  # some 15 allocations: each of them fails once
    found = outcomes(operation, "once", 1 if few else 7)
    assert set(found) <= EXPECTED, found
    assert found["MemoryError"] > 3


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_allocation_fails(operation):
    found = outcomes(operation, "once", 1)
    assert set(found) <= EXPECTED, found


@pytest.mark.parametrize("operation", ["predict", "gradient"])
def test_all_allocations_fail_from_one_on(operation):
    """Not for models and files: there NumPy and safetensors do not survive it."""
    assert set(outcomes(operation, "ever", 5)) <= EXPECTED


LIMITED = """
import resource
import numpy as np
import fastbp

fastbp.set_num_threads(1)
model = fastbp.Model([64, 256, 10], loss="softmax_cross_entropy", seed=0)
X = np.zeros((200_000, 64), np.float32)
y = np.zeros(200_000, int)
model.fit(X[:64], y[:64], epochs=1)
before = model.parameters.copy()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), hard))
refused = 0
for call in (
    lambda: model.predict(X),
    lambda: model.per_sample_gradient(X[:500], y[:500]),
    lambda: fastbp.Model([4096, 4096, 10], loss="squared_error"),
    lambda: fastbp.Model([10**6, 10**6], loss="squared_error"),
    lambda: model.gradient(np.zeros((100_000, 64)), y[:100_000]),
):
    try:
        call()
    except MemoryError:
        refused += 1
assert np.array_equal(model.parameters, before)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
model.fit(X[:64], y[:64], epochs=1)
assert model.predict(X).shape == (200_000, 10)
print(refused)
"""


def test_a_limited_address_space():
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    assert run("-c", LIMITED) == "5\n"


def test_a_million_million_weights_are_refused_before_memory_is_taken():
    code = """
import resource
import fastbp

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for widths in ([10**6, 10**6], [10**9, 10**9], [1 << 40, 1 << 40]):
    try:
        fastbp.Model(widths, loss="squared_error")
    except (MemoryError, ValueError) as error:
        print(type(error).__name__)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 16 << 10
"""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))"
    assert run("-c", f"{limit}\n{code}").split() == ["MemoryError", "MemoryError", "ValueError"]
