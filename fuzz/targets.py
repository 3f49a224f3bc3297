"""What each fuzzer does with an input: read it as the package would, and use what was read.

A target returns if the input was read or refused as documented. Anything else that it raises is a
finding; so are more than a second, and more than 512 MiB (`run.py` sees to both).
"""

import gzip
import io
import json
import os
import tempfile
import warnings
import zipfile
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
import typer
from edits import Choices, edit_tree, edited_model, model_file

import fastbp
from fastbp import datasets
from fastbp._preprocessing import Preprocessing, decide_task, fit_target
from fastbp._tables import DataError, read_table
from fastbp.cli import predict as prediction
from fastbp.cli.trained import load_trained

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = (X[:, 0] > 0).astype(int)
REFUSED = (OSError, MemoryError)
EPOCHS = 3


@cache
def folder():
    """Return a folder for the files of this process, in memory where that can be."""
    memory = "/dev/shm"
    return Path(tempfile.mkdtemp(prefix="fuzz", dir=memory if os.path.isdir(memory) else None))


def written(data, name):
    """Return the path of a file with these bytes."""
    path = folder() / name
    path.write_bytes(data)
    return path


def new_model():
    """Return the network that the good files hold."""
    return fastbp.Model([3, 4, 2], loss="softmax_cross_entropy", seed=1)


@cache
def good_model():
    """Return the bytes of a model file."""
    new_model().save(folder() / "good")
    return (folder() / "good").read_bytes()


@cache
def good_checkpoint():
    """Return the bytes of a checkpoint, in the middle of a training."""
    path = folder() / "run"
    callbacks = [fastbp.ModelCheckpoint(path), fastbp.EarlyStopping("loss")]
    new_model().fit(X, Y, epochs=EPOCHS - 1, batch_size=8, callbacks=callbacks)
    return path.read_bytes()


# ------------------------------------------------------------------------------ models, checkpoints


def model(data):
    """`Model.load` of any bytes."""
    try:
        loaded = fastbp.Model.load(written(data, "model"))
    except (fastbp.ModelFormatError, *REFUSED):
        return
    _use(loaded)


def model_edits(data):
    """`Model.load` of a changed model or checkpoint with the right checksum."""
    choices = Choices(data)
    good = good_checkpoint() if choices.byte() & 1 else good_model()
    model(edited_model(choices, good))


def checkpoint_edits(data):
    """``fit(resume=...)`` from a changed checkpoint with the right checksum."""
    path = written(edited_model(Choices(data), good_checkpoint()), "checkpoint")
    resumed = new_model()
    before = resumed.parameters.copy()
    options = {"epochs": EPOCHS, "batch_size": 8, "callbacks": [fastbp.EarlyStopping("loss")]}
    try:
        resumed.fit(X, Y, resume=path, **options)
    except (fastbp.CheckpointError, *REFUSED):
        assert np.array_equal(resumed.parameters, before), "a refused checkpoint changed the model"
    except fastbp.DivergenceError:
        pass  # parameters may be as large as float32 holds
    assert np.isfinite(resumed.parameters).all()


def _use(loaded):
    loaded.predict(np.zeros((2, loaded.layers[0].n_in)))
    loaded.save(folder() / "again")
    again = fastbp.Model.load(folder() / "again")
    assert repr(again) == repr(loaded)
    assert np.array_equal(again.parameters, loaded.parameters)
    assert again.metadata == loaded.metadata


# ------------------------------------------------------------------------------------------- tables


def table(name, data):
    """`read_table`, and what a training asks of a table."""
    try:
        _learn(read_table(str(written(data, name))))
    except (DataError, *REFUSED):
        pass


def _learn(read):
    rows = np.arange(read.n_rows)
    for column in list(read.columns.values())[:20]:
        for get in (column.numbers, column.categories):
            with suppress(DataError):
                get()
    column = next(reversed(read.columns.values()))
    target = fit_target(column, decide_task(column), rows)
    preprocessing = Preprocessing.fit(read, target, rows, categorical=(), ignored=())
    assert np.isfinite(preprocessing.inputs(read)).all()
    assert np.isfinite(target.encode(column)).all()
    plain = preprocessing.to_dict()
    assert Preprocessing.from_dict(json.loads(json.dumps(plain))) == preprocessing


def csv(data):
    """A CSV file; one in gzip if the first byte is odd."""
    odd = bool(data) and data[0] & 1
    table("t.csv", gzip.compress(data[1:], 1, mtime=0) if odd else data[1:])


def npz(data):
    """A zip archive of any bytes, or, if the first byte is odd, a good one of any two arrays."""
    if not data or not data[0] & 1:
        table("t.npz", data[1:])
        return
    x, _, y = data[1:].partition(b"|y|")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("X.npy", x)
        if y:
            file.writestr("y.npy", y)
    table("t.npz", archive.getvalue())


def idx(data):
    """An IDX file of one or three dimensions, in gzip or not, as the first byte says."""
    kind = data[0] if data else 0
    packed = gzip.compress(data[1:], 1, mtime=0) if kind & 1 else data[1:]
    suffix = ".gz" if kind & 3 else ""  # 2: bytes that claim to be gzip
    try:
        datasets._read_idx(written(packed, f"idx{suffix}"), 3 if kind & 4 else 1)
    except (ValueError, *REFUSED):
        pass


# ------------------------------------------------------------------------------------ preprocessing


@cache
def good_metadata():
    """Return what ``fastbp train`` keeps with a model."""
    path = written(b"a,b,c,k\n1,x,2,red\n2,y,2,blue\n3,x,2,green\n", "good.csv")
    read = read_table(str(path))
    target = fit_target(read.columns["k"], "classification", np.arange(3))
    learnt = Preprocessing.fit(read, target, np.arange(3), categorical=(), ignored=())
    value = {"kind": "value", "name": "k", "mean": 1.0, "scale": 2.0}
    facts = {"fastbp": "1", "rows": 3, "epochs": 2, "loss": 0.5}
    return json.dumps([{"preprocessing": learnt.to_dict(), "training": facts}, value])


def preprocessing(data):
    """``fastbp predict`` with a model whose own metadata are JSON text or edits of good ones."""
    choices = Choices(data)
    metadata, value = json.loads(good_metadata())
    if choices.byte() & 1:
        metadata["preprocessing"]["target"] = value
    for _ in range(1 + choices.below(4)):
        edit_tree(choices, metadata)
    try:
        trained = load_trained(str(_model_with(metadata)))
    except (fastbp.ModelFormatError, typer.BadParameter, *REFUSED):
        return
    if trained.preprocessing is None:
        return
    try:
        read = read_table(str(written(b"a,b,c,k\n1,x,2,red\n2,y,2,blue\n", "rows.csv")))
        outputs = prediction._outputs(trained.model, trained.preprocessing, read)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prediction._as_csv(trained.preprocessing.target, outputs, excel_safe=False).encode()
    except (DataError, *REFUSED):
        pass


def _model_with(metadata):
    """Write a model of the widths that the metadata ask for, if they are good; else of others."""
    try:
        learnt = Preprocessing.from_dict(metadata["preprocessing"])
        widths = [max(learnt.n_inputs, 1), learnt.target.n_outputs]
    except (ValueError, TypeError, KeyError):
        widths = [3, 3]
    network = fastbp.Model(widths, loss="squared_error", seed=0)
    network.save(folder() / "trained")
    data = (folder() / "trained").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header.pop("__metadata__")["fastbp"]) | {"metadata": metadata}
    return written(model_file(config, header, data[8 + length :]), "trained")


TARGETS = {
    "model": model,
    "model_edits": model_edits,
    "checkpoint_edits": checkpoint_edits,
    "csv": csv,
    "parquet": partial(table, "t.parquet"),
    "npz": npz,
    "idx": idx,
    "preprocessing": preprocessing,
}
