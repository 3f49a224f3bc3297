"""Disks that are full, limited or read-only: a real one for each kind."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fastbp


def model(width):
    return fastbp.Model([8, width, 2], loss="squared_error", seed=0)


def refused(net, path, code):
    """Assert that saving fails for this reason, tells the file and leaves the folder as it was."""
    before, files = path.read_bytes(), os.listdir(path.parent)
    with pytest.raises(OSError, match=path.name) as caught:
        net.save(path)
    assert caught.value.errno == code
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == files


@contextmanager
def mounted(folder, options):
    """A file system in memory."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs the right to mount")
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("cannot mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full(tmp_path):
    """A disk of 1 MB: there is room for the old file, not for a second one."""
    with mounted(tmp_path, "size=1m"):
        path, small, large = tmp_path / "net", model(4), model(24_000)
        small.save(path)
        refused(large, path, errno.ENOSPC)
        small.parameters[:] = 1
        small.save(path)
        assert np.all(fastbp.Model.load(path).parameters == 1)
        options = {"epochs": 2, "batch_size": 4}
        x, y = np.zeros((8, 8)), np.zeros((8, 2))
        saver = fastbp.ModelCheckpoint(path, on_error="warn")
        with pytest.warns(RuntimeWarning, match="checkpoint not saved: .*No space left"):
            large.fit(x, y, callbacks=[saver], **options)
        assert np.all(fastbp.Model.load(path).parameters == 1)
        assert os.listdir(tmp_path) == [path.name]


def test_read_only(tmp_path):
    with mounted(tmp_path, "size=1m"):
        path, net = tmp_path / "net", model(4)
        net.save(path)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        refused(net, path, errno.EROFS)
        fastbp.Model.load(path)
        with pytest.raises(OSError, match="Read-only file system"):
            net.fit(np.zeros((2, 8)), np.zeros((2, 2)), callbacks=[fastbp.ModelCheckpoint(path)])


def test_device_that_is_full(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="not a regular file"):
        model(4).save("/dev/full")
    pytest.importorskip("typer")
    code = "import sys; from fastbp.cli import main; sys.exit(main(sys.argv[1:]))"
    home = str(Path(fastbp.__file__).parents[1])
    common = {"env": os.environ | {"PYTHONPATH": home}, "cwd": tmp_path}
    run = [sys.executable, "-c", code]
    train = [*run, "train", "--epochs", "1", "--hidden", "2"]
    assert subprocess.run(train, check=False, capture_output=True, **common).returncode == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*run, "predict", "digits.safetensors", "digits"],
            stdout=full,
            check=False,
            stderr=subprocess.PIPE,
            text=True,
            **common,
        )
    assert done.returncode == 1
    assert done.stderr == "fastbp: standard output: cannot be written: No space left on device\n"


def test_limited_size(tmp_path):
    resource = pytest.importorskip("resource")
    path, net = tmp_path / "net", model(4000)
    model(4).save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        refused(net, path, errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    net.save(path)
    np.testing.assert_array_equal(fastbp.Model.load(path).parameters, net.parameters)
