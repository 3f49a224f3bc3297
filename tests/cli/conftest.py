"""A runner for the command, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import heeded

import fastbp

pytest.importorskip("typer", reason="needs the extra: pip install 'fastbp[cli]'")

from fastbp.cli import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: run("train", "digits") -> (status, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        capsys.readouterr()
        status = main(list(map(str, arguments)))
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def fails(run):
    """Run the command, which must end with a status and one clear line; return that line."""

    def fails(status, *arguments):
        outcome = run(*arguments)
        assert outcome.status == status, outcome
        *before, line = outcome.err.splitlines()
        assert not any("Traceback" in text for text in before)
        assert line.startswith("fastbp: ")
        assert len(outcome.err.splitlines()) == 1 or status == 1  # after a progress bar
        assert line.isprintable()
        return line

    return fails


@pytest.fixture
def spawn(tmp_path):
    """Start the command as a process in an empty folder."""
    home = str(Path(fastbp.__file__).parents[1])
    command = "import sys; from fastbp.cli import main; sys.exit(main())"

    with ExitStack() as processes:

        def spawn(*arguments, code=command):
            with heeded(signal.SIGINT):
                process = subprocess.Popen(
                    [sys.executable, "-c", code, *map(str, arguments)],
                    cwd=tmp_path,
                    env=os.environ | {"PYTHONPATH": home, "COLUMNS": "200"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield spawn


@pytest.fixture
def houses(tmp_path):
    """A CSV file of 400 rows: price = 1000 size + 50000 (if red) + 3000, and a useless column."""
    lines = ["id,size,colour,constant,price"]
    for i in range(400):
        size, colour = (i * 37 % 101) / 2, ("red", "green", "blue")[i * 7 % 3]
        price = 1000 * size + 50_000 * (colour == "red") + 3000
        lines.append(f"{i},{size},{colour},5,{price}")
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
