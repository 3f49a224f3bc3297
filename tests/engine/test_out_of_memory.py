"""Where memory runs out in the compiled core: MemoryError, and the model can be used again.

Each of the core's allocations is made to fail in turn, in a process of its own, by functions that
stand before those of the C library (failing_allocations.c).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastbp import _engine

COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(
    not (COMPILER and sys.platform.startswith("linux")), reason="needs a C compiler, and glibc"
)

FIT = "model.fit(X, y, epochs=1, shuffle=False, batch_size={})"
CALLS = {
    "build": "fastbp.Model([64, 32, 10], loss='huber').n_parameters",
    "predict": "model.predict(X)",
    "loss": "model.loss(X, y)",
    "gradient": "model.gradient(X, y)",
    "per-sample gradient": "model.per_sample_gradient(X, y)",
    "fit by weights": FIT.format(16),
    "fit by rows": "wide" + FIT.format(256).removeprefix("model"),
    "fit by slabs": FIT.format(512),
}
if _engine.bf16_isas():
    CALLS["fit in bf16"] = FIT.format("16, precision='bf16'")

SCRIPT = """
import ctypes
import numpy as np
import fastbp
from fastbp import _engine

shim = ctypes.CDLL(None)
_engine.set_num_threads(2)
_engine.set_thread_grain(0)
X, y = fastbp.datasets.load_digits()


def models():
    kinds = [64, 32, 10], [64, 300, 300, 10]
    return [fastbp.Model(k, loss="softmax_cross_entropy", seed=0) for k in kinds]


def result():
    "What the call returns, and the parameters after it, bit for bit."
    returned = {call}
    bits = b"" if isinstance(returned, fastbp.History) else np.asarray(returned).tobytes()
    return bits + model.parameters.tobytes() + wide.parameters.tobytes()


model, wide = models()
result()  # what is found out once (how many threads the system lets us have) is known now
model, wide = models()
shim.fail_allocation(-1)
expected = result()
count = shim.allocations()
assert count > 0
for k in range(count):
    model, wide = models()
    before = model.parameters.tobytes() + wide.parameters.tobytes()
    shim.fail_allocation(k)
    try:
        result()
    except MemoryError:
        pass
    else:
        raise AssertionError(f"allocation {k} of {count} failed, and nobody was told")
    finally:
        shim.fail_allocation(-1)
    assert model.parameters.tobytes() + wide.parameters.tobytes() == before
    assert result() == expected, f"after allocation {k} of {count} failed"
"""


@pytest.fixture(scope="module")
def failing_allocations(tmp_path_factory):
    """The shared library that is preloaded."""
    library = tmp_path_factory.mktemp("shim") / "failing_allocations.so"
    source = Path(__file__).with_name("failing_allocations.c")
    command = [COMPILER, "-O1", "-shared", "-fPIC", source, "-o", library]
    subprocess.run(command, check=True)
    return library


def run(script, library):
    """Run Python with the library preloaded; what it raises is shown."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CALLS)
def test_each_allocation_that_fails_is_a_memory_error(name, failing_allocations):
    """Nothing has changed then, and the same call gives the same bits afterwards."""
    run(SCRIPT.replace("{call}", CALLS[name]), failing_allocations)


ONE_THREAD = """
import ctypes
import warnings
import fastbp
from fastbp import _engine

fastbp.set_num_threads(2)
_engine.set_thread_grain(0)
model = fastbp.Model([64, 32, 10], loss="softmax_cross_entropy", seed=0)
X, _ = fastbp.datasets.load_digits()
ctypes.CDLL(None).fail_allocation(0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    alone = model.predict(X)
assert "1 of 2 threads" in str(caught[0].message)
assert alone.tobytes() == model.predict(X).tobytes()
"""


@pytest.mark.skipif(not _engine.build_info()["openmp"], reason="has one thread only")
def test_without_memory_for_the_table_of_threads_there_is_one(failing_allocations):
    run(ONE_THREAD, failing_allocations)
