"""The reliability harnesses of tools/ in their short profiles; docs/reliability.md has the long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp

TOOLS = Path(__file__).parents[2] / "tools"
HOME = str(Path(fastbp.__file__).parents[1])

pytestmark = pytest.mark.skipif(not TOOLS.exists(), reason="needs the source tree")


@pytest.mark.parametrize(
    "command",
    [
        "crash.py --n 12",
        "crash.py --n 2 --fresh",
        "signals.py",
        "determinism.py --n 30",
        "forks.py",
        "soak.py",
        "threads.py",
    ],
)
def test_nothing_fails(command):
    """Each in a process of its own, as they fork and take signals."""
    script, *options = command.split()
    environment = os.environ | {"PYTHONPATH": HOME}
    environment.pop("PYTHONSAFEPATH", None)  # they import tools/harness.py
    done = subprocess.run(
        [sys.executable, TOOLS / script, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("failures 0\n")
