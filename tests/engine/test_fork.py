"""A process that has trained on several threads can fork, and parent and child train on."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# In a process of its own, for a team that waits for threads which the child does not have waits for
# ever. The alarm ends such a child.
FORKS = """
import os, signal
import numpy as np
from fastbp import Model, _engine

_engine.set_num_threads(2)
_engine.set_thread_grain(0)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(90, 8)), rng.integers(0, 3, 90)


def fitted():
    model = Model([8, 16, 3], loss="softmax_cross_entropy", seed=0)
    model.fit(X, y, epochs=2)
    return model.parameters.tobytes()


child = os.fork()  # before any team
if child == 0:
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, f"the first child: {status}"
expected = fitted()
for fork in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if fitted() == expected else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"child {fork}: {status} (1: other bits, -{signal.SIGALRM}: hung)"
    assert fitted() == expected, f"the parent after fork {fork}"
"""


def fork_with(**environment):
    """Run the above; the environment is that of Python, and more."""
    command = [sys.executable, "-c", FORKS]
    environment = os.environ | environment
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_forks_train_on():
    """Twenty children and their parent have the bits from before the fork."""
    done = fork_with()
    assert done.returncode == 0, done.stderr
