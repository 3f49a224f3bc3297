"""Where the system lets a process have few threads, training goes on with those."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, warnings
import numpy as np
import fastbp
from fastbp import _engine

rng = np.random.default_rng(0)
X, y = rng.normal(size=(1024, 256)), rng.integers(0, 2, 1024)

def results():
    model = fastbp.Model([256, 256, 2], loss="softmax_cross_entropy", seed=0)
    model.fit(X, y, epochs=2, batch_size=512)
    return model.parameters.tobytes(), model.predict(X).tobytes()

_engine.set_thread_grain(0)
expected = results()
address_space = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (address_space + (64 << 20),) * 2)
fastbp.set_num_threads({threads})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert results() == expected
message = str(caught[0].message) if caught else "no warning"
assert "of {threads} threads, which the system limits" in message, message
fastbp.set_num_threads(2)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert results() == expected
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
@pytest.mark.parametrize("threads", [64, 300])  # of a prediction at most as many as rows
def test_training_goes_on_with_the_threads_there_are(threads):
    code = SCRIPT.replace("{threads}", str(threads))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
