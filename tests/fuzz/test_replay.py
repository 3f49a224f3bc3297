"""What the fuzzers keep is read or refused as documented, in a second and 512 MiB each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp

pytest.importorskip("pyarrow", reason="needs the extra: pip install 'fastbp[cli]'")

FUZZ = Path(__file__).parents[2] / "fuzz"
TARGETS = sorted(path.name for path in (FUZZ / "corpus").iterdir())
SLOW = 5  # times slower than where the fuzzers ran: shared machines pause


def replayed(name, *options):
    home = str(Path(fastbp.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *options, str(FUZZ / "run.py"), name, "--replay"],
        env=os.environ | {"PYTHONPATH": home},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name):
    done = replayed(name)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["inputs"] == len(list((FUZZ / "corpus" / name).iterdir())) > 0
    assert found["seconds"] < SLOW
    assert found["MiB"] < 512


def test_a_finding_fails():
    """An exception that is not documented is seen, with the name of the input."""
    target = "import sys, runpy; sys.path.insert(0, sys.argv[1]); import targets; "
    spoil = "targets.TARGETS['csv'] = lambda data: data and 1 / 0; sys.argv = sys.argv[2:]; "
    code = target + spoil + "runpy.run_path(sys.argv[0], run_name='__main__')"
    home = str(Path(fastbp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(FUZZ), str(FUZZ / "run.py"), "csv", "--replay"],
        env=os.environ | {"PYTHONPATH": home},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert "by " in done.stderr
