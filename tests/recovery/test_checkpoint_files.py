"""Checkpoints as files: what is refused, what a failing disk or another process leaves."""

import errno
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from model_files import read_parts, write_parts

import fastbp
from fastbp import _files, _serialization

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
NEW = partial(fastbp.Model, [3, 4, 2], loss="softmax_cross_entropy", seed=1)
FIT = {"epochs": 2, "batch_size": 16, "validation_data": (X[:9], Y[:9])}


def stopping():
    return fastbp.EarlyStopping(patience=9)


@pytest.fixture
def path(tmp_path):
    """A checkpoint after two epochs, in a folder of its own."""
    file = tmp_path / "run.safetensors"
    NEW().fit(X, Y, callbacks=[fastbp.ModelCheckpoint(file), stopping()], **FIT)
    assert os.listdir(tmp_path) == [file.name]
    return file


def refused(path, X=X, Y=Y, make=NEW, callbacks=None, **options):
    """Return the message of a fit that cannot go on, and has changed nothing."""
    model = make()
    before = model.parameters.copy(), model._rng.bit_generator.state, model._state
    callbacks = [stopping()] if callbacks is None else callbacks
    with pytest.raises(fastbp.CheckpointError) as caught:
        model.fit(X, Y, callbacks=callbacks, resume=path, **FIT | options)
    np.testing.assert_array_equal(model.parameters, before[0])
    assert (model._rng.bit_generator.state, model._state) == before[1:]
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_is_a_model_too(path):
    model = NEW()
    model.fit(X, Y, **FIT)
    np.testing.assert_array_equal(fastbp.Model.load(path).parameters, model.parameters)


OTHER_FITS = {
    "layers": ({"make": partial(fastbp.Model, [3, 5, 2], loss="softmax_cross_entropy")}, "layers"),
    "activation": ({"make": partial(NEW, activation="tanh")}, "layers"),
    "dtype": ({"make": partial(NEW, dtype="float64")}, "dtype: the checkpoint has 'float32'"),
    "batch_size": ({"batch_size": 8}, "batch_size: the checkpoint has 16, this fit 8"),
    "shuffle": ({"shuffle": False}, "shuffle: the checkpoint has True, this fit False"),
    "l2": ({"l2": 0.5}, "l2: the checkpoint has 0.0, this fit 0.5"),
    "optimizer": ({"optimizer": fastbp.Adam(0.1)}, "optimizer: the checkpoint has 'Adam"),
    "callbacks": ({"callbacks": []}, r"callbacks: the checkpoint has \['EarlyStopping'\], this"),
    "validation": ({"validation_data": (X[:8], Y[:8])}, "validation_data: the checkpoint is of ot"),
    "rows": ({"X": X[:-1], "Y": Y[:-1]}, "training_data: the checkpoint is of other data"),
    "one value": ({"X": np.where(X[7, 1] == X, 0, X)}, "training_data: the checkpoint is of oth"),
    "one label": ({"Y": np.where(np.arange(60) == 5, 1 - Y, Y)}, "training_data"),
    "weights": ({"sample_weight": np.ones(60)}, "training_data"),
}


@pytest.mark.parametrize("case", OTHER_FITS)
def test_other_fits_are_refused(path, case):
    options, message = OTHER_FITS[case]
    assert re.search(message, refused(path, **options))


def test_other_data_if_the_caller_wants_them(path):
    model = NEW()
    options = {"resume": path, "allow_other_data": True, "callbacks": [stopping()]}
    model.fit(X + 1, Y, **FIT | options | {"epochs": 3})
    assert len(model.history) == 3
    with pytest.raises(TypeError, match="allow_other_data: expected True or False, got 1"):
        model.fit(X, Y, resume=path, allow_other_data=1)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: x.astype("f4"), np.ndarray.tolist])
def test_the_same_data_in_another_layout(path, layout):
    model = NEW()
    model.fit(layout(X), Y, callbacks=[stopping()], resume=path, **FIT)
    assert len(model.history) == 2


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        NEW().fit(X, Y, resume=tmp_path / "none")


def test_a_plain_model(tmp_path):
    NEW().save(tmp_path / "model")
    assert "it is a model without its training" in refused(tmp_path / "model")


# --------------------------------------------------------------------------------- damaged contents


def rewritten(path, change):
    """Change the training's part of a checkpoint."""
    parts = read_parts(path)
    change(parts.config["training"], parts.tensors)
    write_parts(path, parts)


def config(*names, to):
    def change(training, tensors):
        place = training
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = to

    return change


def tensor(name, to):
    def change(training, tensors):
        name_in_file = f"training.{name}"
        if to is None:
            del tensors[name_in_file]
        else:
            tensors[name_in_file] = to

    return change


DAMAGED = {
    "no settings": (lambda training, _: training.pop("settings"), "training: missing"),
    "settings": (config("settings", to=[]), "settings: expected a mapping"),
    "setting": (config("settings", "x", to=1), "settings: missing"),
    "epoch": (config("epoch", to=0), "epoch: expected an integer"),
    "another epoch": (config("epoch", to=2), "history.*expected float64 of shape"),
    "many epochs": (config("epoch", to=10**15), "history.*expected float64 of shape"),
    "epoch text": (config("epoch", to="3"), "epoch: expected an integer"),
    "steps": (config("steps", to=-1), "steps: expected an integer"),
    "steps float": (config("steps", to=8.0), "steps: expected an integer"),
    "epochs": (config("epochs", to=-2.0), "epochs: expected"),
    "stopped": (config("stopped", to=1), "stopped: expected True or False"),
    "batches": (config("batches", to=5), "batches: expected an integer from 0 to 4"),
    "loss": (config("loss", to="0"), "loss: expected a finite number"),
    "rng": (config("rng", to=None), "rng: expected the state of a random generator"),
    "rng name": (config("rng", "bit_generator", to="MT19937"), "rng: expected PCG64"),
    "rng state": (config("rng", "state", "state", to=1 << 128), "state of rng: expected"),
    "rng inc": (config("rng", "state", "inc", to=-1), "inc of rng: expected"),
    "rng uint": (config("rng", "uinteger", to=1 << 32), "uinteger of rng: expected"),
    "rng keys": (config("rng", "state", to={}), "state of rng: missing"),
    "callbacks": (config("callbacks", to="EarlyStopping"), "callbacks: the checkpoint has"),
    "m": (tensor("m", None), "m: expected float32 of shape .*, got none"),
    "m shape": (tensor("m", np.zeros(3, "f4")), "m: expected float32 of shape"),
    "m dtype": (tensor("m", np.zeros(26)), "m: expected float32 of shape"),
    "v": (tensor("v", np.full(26, np.nan, "f4")), "moment v has values that are not finite"),
    "history": (tensor("history.loss", np.zeros(5)), r"history.loss: expected float64 of shape"),
    "other": (tensor("other", np.zeros(5)), r"tensors of the training: missing \[\], unknown"),
    "dtype": (tensor("other", np.zeros(5, "u1")), r"training.other: expected one of F32"),
    "waited": (tensor("callbacks.0.waited", np.array(-1)), "state of EarlyStopping: waited"),
    "not waited": (tensor("callbacks.0.waited", None), "state of EarlyStopping: 'waited'"),
    "waited much": (tensor("callbacks.0.waited", np.zeros(2)), "state of EarlyStopping: waited"),
    "best": (tensor("callbacks.0.parameters", np.zeros(3)), "state of EarlyStopping: parameters"),
    "best nan": (
        tensor("callbacks.0.parameters", np.full(26, np.nan, "f4")),
        "state of EarlyStopping: parameters",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_checkpoints(path, case):
    change, message = DAMAGED[case]
    rewritten(path, change)
    assert re.search(message, refused(path))


def test_a_rewritten_checkpoint_is_read(path):
    """What the damaged ones are made with leaves a file whole."""
    rewritten(path, lambda training, tensors: None)
    NEW().fit(X, Y, callbacks=[stopping()], resume=path, **FIT)


def test_every_byte_counts(path):
    """A checkpoint with one byte changed is refused, or it is equal in all that is read of it."""
    data = path.read_bytes()
    expected = _serialization.load(path)
    for at in range(0, len(data), 7):
        for flip in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= flip
            path.write_bytes(changed)
            try:
                loaded = _serialization.load(path)
            except fastbp.ModelFormatError:
                continue
            assert repr(loaded) == repr(expected)


# --------------------------------------------------------------------------- disks and processes


def fit_with(saver, model=None, **options):
    model = model or NEW()
    model.fit(X, Y, callbacks=[saver], **FIT | options)
    return model


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("function", ["write", "fsync", "replace", "read back"])
def test_a_disk_that_fails(path, monkeypatch, function):
    before = path.read_bytes()
    if function == "write":
        monkeypatch.setattr(_files, "_write_beside", full)
    elif function == "read back":
        monkeypatch.setattr(_files, "_read_back", full)
    else:
        monkeypatch.setattr(_files.os, function, full)
    with pytest.raises(OSError, match="No space left"):
        fit_with(fastbp.ModelCheckpoint(path))
    with pytest.warns(RuntimeWarning, match="checkpoint not saved: .*No space left"):
        model = fit_with(fastbp.ModelCheckpoint(path, on_error="warn"))
    assert len(model.history) == 2
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_what_cannot_be_read_back(path, monkeypatch):
    before, real = path.read_bytes(), os.fsync

    def spoil(descriptor):
        real(descriptor)
        if os.path.isfile(f"/proc/self/fd/{descriptor}"):
            os.pwrite(descriptor, b"\0" * 8, 100)

    monkeypatch.setattr(_files.os, "fsync", spoil)
    with pytest.raises(OSError, match="cannot be read back"):
        fit_with(fastbp.ModelCheckpoint(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", ["stop", None, 1])
def test_what_to_do_on_errors(value):
    with pytest.raises(ValueError, match="on_error: expected 'raise' or 'warn', got"):
        fastbp.ModelCheckpoint("a", on_error=value)


def test_two_fits_with_one_file(path):
    class Second(fastbp.Callback):
        def on_epoch_end(self, model, history):
            with pytest.raises(BlockingIOError, match="another fit, here or in another process"):
                fit_with(fastbp.ModelCheckpoint(path))

    NEW().fit(X, Y, callbacks=[fastbp.ModelCheckpoint(path), Second()], **FIT)
    fit_with(fastbp.ModelCheckpoint(path))
    assert os.listdir(path.parent) == [path.name]


def test_another_process_with_the_file(path):
    code = f"""
from fastbp._files import FileLock
lock = FileLock({str(path)!r})
print("locked", flush=True)
input()
"""
    home = str(Path(fastbp.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": home},
    )
    with process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(BlockingIOError, match=re.escape(str(path))):
            fit_with(fastbp.ModelCheckpoint(path))
        process.kill()
        process.wait()
        fit_with(fastbp.ModelCheckpoint(path))  # the lock ends with its process
    assert os.listdir(path.parent) == [path.name]


def test_leftovers_of_killed_processes(path):
    mine = path.with_name(f".{path.name}.{'0' * 16}.tmp")
    others = path.with_name(f".other.{'0' * 16}.tmp")
    mine.write_bytes(b"")
    others.write_bytes(b"")
    fit_with(fastbp.ModelCheckpoint(path))
    assert sorted(os.listdir(path.parent)) == sorted([path.name, others.name])


def test_seconds_between_saves(tmp_path, monkeypatch):
    saves = []
    monkeypatch.setattr(fastbp.Model, "_save_checkpoint", lambda *_: saves.append(1))
    fit_with(fastbp.ModelCheckpoint(tmp_path / "a"), epochs=7)
    assert len(saves) == 7
    saves.clear()
    fit_with(fastbp.ModelCheckpoint(tmp_path / "a", every_seconds=1e6), epochs=7)
    assert len(saves) == 1  # when it ends


def test_of_an_estimator_the_model_alone_is_saved(tmp_path):
    pytest.importorskip("sklearn")
    path = tmp_path / "a"
    estimator = fastbp.MLPClassifier((4,), callbacks=[fastbp.ModelCheckpoint(path)], max_iter=2)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(X, Y)
    model = fastbp.Model.load(path)
    np.testing.assert_allclose(model.predict(X)[:, 0], estimator.predict_proba(X)[:, 1], rtol=1e-12)
