"""Each call of the system fails, one after the other, until an operation gets through.

Then it has raised an error with the system's reason and the file's name, old files are what they
were or new and whole, nothing lies beside them, and the same objects do the same work again.
"""

import gzip
import os
from functools import partial
from itertools import count

import numpy as np
import pytest
from faults import CODES, Faults

import fastbp

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)
MOST = 60  # calls of a kind that an operation makes; more is a loop without end
MODES = pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])


def new_model(seed=1):
    return fastbp.Model([3, 4, 2], loss="softmax_cross_entropy", seed=seed)


def each_fault(folder, monkeypatch, kind, for_ever, operation, prepare=lambda: None):
    """Let call 1, 2, ... of a kind fail; yield the faults and what the operation raised or gave."""
    for k in count(1):
        assert k < MOST
        prepare()
        faults = Faults(folder, kind, k, for_ever)
        with monkeypatch.context() as patch:
            faults.install(patch)
            try:
                outcome = operation()
            except (OSError, ValueError) as error:
                outcome = error
        if not faults.fired:
            assert not isinstance(outcome, Exception)
            return
        yield faults, outcome


def told(outcome, kind, path):
    """Assert that an error has the reason and the file's name."""
    assert isinstance(outcome, OSError), outcome
    assert outcome.errno == CODES[kind]
    assert os.fspath(path) in str(outcome)


KINDS_OF_SAVE = ("open", "write", "short write", "fsync", "close", "replace", "read")


@MODES
@pytest.mark.parametrize("kind", KINDS_OF_SAVE)
def test_save(tmp_path, monkeypatch, kind, for_ever):
    path, model = tmp_path / "net", new_model()
    new_model(2).save(path)
    before, parameters = path.read_bytes(), model.parameters.copy()
    n = 0
    save = partial(model.save, path)
    for faults, outcome in each_fault(tmp_path, monkeypatch, kind, for_ever, save):
        told(outcome, kind, path)
        if faults.replaced:  # only the folder could not be synced
            assert np.array_equal(fastbp.Model.load(path).parameters, parameters)
        else:
            assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [path.name]
        np.testing.assert_array_equal(model.parameters, parameters)
        path.write_bytes(before)
        n += 1
    assert n > 0
    np.testing.assert_array_equal(fastbp.Model.load(path).parameters, parameters)


@MODES
@pytest.mark.parametrize("kind", [*KINDS_OF_SAVE, "flock", "unlink"])
def test_checkpoint(tmp_path, monkeypatch, kind, for_ever):
    path, models = tmp_path / "run", []
    left = tmp_path / f".{path.name}.{'0' * 16}.tmp"  # by a process that was killed

    def fit():
        models.append(new_model())
        return models[-1].fit(X, Y, epochs=2, callbacks=[fastbp.ModelCheckpoint(path)])

    fit()
    left.touch()
    n = 0
    for _, outcome in each_fault(tmp_path, monkeypatch, kind, for_ever, fit):
        told(outcome, kind, path.name)
        assert np.isfinite(models[-1].parameters).all()
        fastbp.Model.load(path)
        # the name of a lock may stay; it keeps nobody out
        assert set(os.listdir(tmp_path)) - {path.name, left.name, f".{path.name}.lock"} == set()
        models[-1].fit(X, Y, epochs=3, callbacks=[fastbp.ModelCheckpoint(path)], resume=path)
        assert os.listdir(tmp_path) == [path.name]
        left.touch()
        n += 1
    assert n > 0


@MODES
@pytest.mark.parametrize("kind", ["open", "read", "close"])
def test_load(tmp_path, monkeypatch, kind, for_ever):
    path, model = tmp_path / "net", new_model()
    model.save(path)
    load = partial(fastbp.Model.load, path)
    faults = list(each_fault(tmp_path, monkeypatch, kind, for_ever, load))
    for _, outcome in faults:
        told(outcome, kind, path)
    assert faults
    np.testing.assert_array_equal(load().parameters, model.parameters)


@MODES
@pytest.mark.parametrize("kind", ["open", "read", "close"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.npz"])
def test_tables(tmp_path, monkeypatch, kind, for_ever, name):
    tables = pytest.importorskip("fastbp._tables")
    path = tmp_path / name
    write_table(path)
    read = partial(tables.read_table, str(path))
    faults = list(each_fault(tmp_path, monkeypatch, kind, for_ever, read))
    for _, outcome in faults:
        assert isinstance(outcome, tables.DataError)
        assert str(path) in str(outcome)
        assert os.strerror(CODES[kind]) in str(outcome)
    assert faults
    assert read().n_rows == len(X)


def write_table(path):
    """The data in the format of the path."""
    if path.suffix == ".npz":
        np.savez(path, X=X, y=Y)
        return
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"a": X[:, 0], "y": Y}), path)
        return
    text = "a,y\n" + "".join(f"{a},{y}\n" for a, y in zip(X[:, 0], Y, strict=True))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@MODES
@pytest.mark.parametrize("kind", [*KINDS_OF_SAVE, "flock", "unlink"])
@pytest.mark.parametrize("command", ["train", "predict"])
def test_command(tmp_path, monkeypatch, capsys, command, kind, for_ever):
    """A status, one line that says which file, and outputs that are old or new and whole."""
    main = pytest.importorskip("fastbp.cli.app").run
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv")
    train = ["train", "t.csv", "--epochs", "2", "--hidden", "3", "--checkpoint", "run", "--resume"]
    predict = ["predict", "t.safetensors", "t.csv", "--out", "p.csv"]
    assert main(train) == main(predict) == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    old = whole | dict.fromkeys(("p.csv",) if command == "predict" else ("t.png",), b"old")
    n = 0

    def prepare():
        for path in tmp_path.iterdir():
            path.unlink()
        for name, data in old.items():
            (tmp_path / name).write_bytes(data)
        capsys.readouterr()

    def start():
        status = main(train if command == "train" else predict)
        return OSError(capsys.readouterr().err) if status else status

    for faults, outcome in each_fault(tmp_path, monkeypatch, kind, for_ever, start, prepare):
        n += 1
        if outcome == 0:  # the file that tries a folder is opened in another way, if one fails
            assert kind == "open"
            continue
        line = str(outcome).splitlines()[-1]
        assert line.startswith("fastbp: ")
        assert os.strerror(CODES[kind]) in line
        assert any(name in line for name in old)
        for name, data in old.items():
            if not any(target.endswith(name) for target in faults.replaced):
                assert (tmp_path / name).read_bytes() == data
        assert set(os.listdir(tmp_path)) - set(old) - {".run.lock"} == set()
    assert n > 0 or (command == "predict" and kind in ("flock", "unlink"))


def test_the_first_failure_is_told(tmp_path, monkeypatch):
    """Not that of clearing up after it."""
    path = tmp_path / "net"
    full, kept = Faults(tmp_path, "fsync", 1, True), Faults(tmp_path, "unlink", 1, True)
    with monkeypatch.context() as patch:
        full.install(patch)
        patch.setattr(os, "unlink", kept._os_unlink)
        with pytest.raises(OSError, match=os.strerror(CODES["fsync"])):
            new_model().save(path)
    assert kept.fired
