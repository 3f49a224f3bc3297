"""Trainings that are ended from outside and resumed: --checkpoint, --resume, SIGTERM."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from model_files import read_parts

import fastbp

TRAIN = ("train", "--hidden", "16", "--checkpoint", "run.ckpt")


def parameters(path):
    return fastbp.Model.load(path).parameters


def interrupted(spawn, number, *arguments):
    """Train without end, send a signal after a second; return status, errors and seconds."""
    process = spawn(*TRAIN, "--epochs", 1_000_000, *arguments)
    for line in process.stdout:
        if line.startswith("Network"):
            break
    time.sleep(1)
    process.send_signal(number)
    begun = time.monotonic()
    _, err = process.communicate(timeout=30)
    return process.returncode, err, time.monotonic() - begun


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_ended_training_is_resumed(spawn, run, tmp_path, number, status):
    got, err, seconds = interrupted(spawn, number)
    assert got == status, err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "fastbp: interrupted; what was trained so far is in digits.safetensors; --resume goes on "
        "with it"
    )
    np.testing.assert_array_equal(
        parameters(tmp_path / "run.ckpt"), parameters(tmp_path / "digits.safetensors")
    )
    epochs = read_parts(tmp_path / "run.ckpt").config["training"]["epoch"] + 3
    assert seconds < 20
    resumed = run(*TRAIN, "--epochs", epochs, "--resume")
    assert resumed.status == 0, resumed.err
    assert "Resumed from: run.ckpt" in resumed.out
    whole = run("train", "--hidden", "16", "--epochs", epochs, "--out", "whole.safetensors")
    assert whole.status == 0
    np.testing.assert_array_equal(
        parameters(tmp_path / "digits.safetensors"), parameters(tmp_path / "whole.safetensors")
    )


def test_a_killed_training_is_resumed(spawn, run, tmp_path, monkeypatch):
    seconds = "import fastbp.cli.train as t; t._SECONDS = 0.0; "
    process = spawn(
        *TRAIN,
        "--epochs",
        1_000_000,
        code=seconds + "import sys; from fastbp.cli import main; sys.exit(main())",
    )
    while not (tmp_path / "run.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    process.wait()
    epochs = read_parts(tmp_path / "run.ckpt").config["training"]["epoch"] + 2
    assert run(*TRAIN, "--epochs", epochs, "--resume").status == 0
    assert run("train", "--hidden", "16", "--epochs", epochs, "--out", "b.safetensors").status == 0
    np.testing.assert_array_equal(
        parameters(tmp_path / "digits.safetensors"), parameters(tmp_path / "b.safetensors")
    )
    assert not list(tmp_path.glob(".*"))


def test_nothing_to_resume_yet(run, tmp_path):
    outcome = run(*TRAIN, "--epochs", 2, "--resume")
    assert outcome.status == 0
    assert "Nothing to resume yet in: run.ckpt" in outcome.out
    assert (tmp_path / "run.ckpt").exists()


def test_other_options_are_refused(run, fails, tmp_path):
    assert run(*TRAIN, "--epochs", 1).status == 0
    before = (tmp_path / "run.ckpt").read_bytes()
    line = fails(2, *TRAIN, "--resume", "--batch-size", 8)
    assert line.endswith("cannot go on from it: batch_size: the checkpoint has 32, this fit 8")
    line = fails(2, *TRAIN, "--resume", "--seed", 1)
    assert "training_data: the checkpoint is of other data" in line
    assert (tmp_path / "run.ckpt").read_bytes() == before


def test_a_model_is_no_checkpoint(run, fails):
    assert run("train", "--hidden", "16", "--epochs", 1, "--out", "run.ckpt").status == 0
    line = fails(2, *TRAIN, "--resume")
    assert "it is a model without its training" in line


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("digits.safetensors", "--checkpoint: digits.safetensors is an input"),
        ("digits.png", "--checkpoint: digits.png is an input"),
        ("none/run.ckpt", "--checkpoint: there is no folder"),
        (".", "--checkpoint: . is not a file"),
    ],
)
def test_files_that_cannot_be(fails, path, message):
    assert message in fails(2, "train", "--checkpoint", path)


def test_resume_without_a_checkpoint(fails):
    assert "--resume needs --checkpoint" in fails(2, "train", "--resume")


def test_a_checkpoint_that_cannot_be_read(fails, tmp_path, monkeypatch):
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "run.ckpt":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    line = fails(2, *TRAIN, "--resume")
    assert line == "fastbp: run.ckpt: cannot be read: Permission denied"
