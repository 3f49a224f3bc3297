"""Thirty hostile inputs, by number: what each gets, in one short case.

Most have many cases elsewhere; here they stand together, so that none is forgotten. In each row: no
signal, no hang, no partial file, and an error of a documented kind. Ranks of MPI (part of row 29)
do not exist here.
"""

import gzip
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from model_files import read_parts, write_parts

import fastbp

pytest.importorskip("typer", reason="needs the extra: pip install 'fastbp[cli]'")
pytest.importorskip("sklearn", reason="needs the extra: pip install 'fastbp[sklearn]'")

from fastbp._tables import DataError, read_table
from fastbp.cli import main

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
REAL = RNG.normal(size=30)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def classifier(**options):
    return fastbp.MLPClassifier(hidden_layer_sizes=(5,), max_iter=3, random_state=0, **options)


def regressor(**options):
    return fastbp.MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0, **options)


def network():
    return fastbp.Model([4, 5, 3], loss="softmax_cross_entropy", seed=0)


def refused(call, error=(ValueError, TypeError), match=None):
    """Return the message of a call that is refused."""
    with pytest.raises(error, match=match) as caught:
        call()
    return str(caught.value)


def csv(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def numbers(folder, content):
    """Numbers of the first column of a table."""
    return next(iter(read_table(csv(folder, content)).columns.values())).numbers().tolist()


def rewritten(path, change):
    """Change a model file, whose checksum is then right."""
    parts = read_parts(path)
    change(parts)
    write_parts(path, parts)


# --------------------------------------------------------------------------- arguments, estimators


def row_1_not_finite(folder):
    for value in (np.nan, np.inf):
        bad = X.copy()
        bad[17, 2] = value
        refused(lambda bad=bad: network().fit(bad, Y), match="row 17, column 2")
        refused(lambda bad=bad: classifier().fit(bad, Y))


def row_2_beyond_range(folder):
    estimator = regressor(solver="sgd")
    refused(lambda: estimator.fit(X, REAL * 1e300), fastbp.DivergenceError)
    assert all(np.isfinite(coefficients).all() for coefficients in estimator.coefs_)


def row_3_learning_rate(folder):
    model = fastbp.Model([4, 5, 1], loss="squared_error", seed=0)
    options = {"optimizer": fastbp.SGD(1e6), "epochs": 50}
    refused(lambda: model.fit(X, REAL, **options), fastbp.DivergenceError, "learning_rate")
    assert np.isfinite(model.parameters).all()


def row_4_parameters(folder):
    for value in (np.nan, np.inf, -1.0, "0.1", True):
        refused(lambda value=value: fastbp.SGD(value))
    for value in (np.nan, -1.0, "0.1"):
        refused(lambda value=value: classifier(alpha=value).fit(X, Y))


def row_5_sizes(folder):
    for sizes in (0, -5, (10**9, 10**9), 1.5):
        estimator = fastbp.MLPClassifier(sizes, max_iter=1)
        refused(lambda estimator=estimator: estimator.fit(X, Y), (ValueError, MemoryError))
    refused(lambda: fastbp.Model([10**9, 10**9], loss="squared_error"), MemoryError)


def row_6_shapes(folder):
    for bad in (X[:0], X[:, :0], X[0], X[None]):
        refused(lambda bad=bad: network().fit(bad, Y))
        refused(lambda bad=bad: classifier().fit(bad, Y))
    regressor().fit(X[:1], REAL[:1])
    regressor().fit(X[:, :1], REAL)


def row_7_one_class(folder):
    estimator = classifier().fit(X, np.zeros(30, int))
    assert set(estimator.predict(X)) == {0}
    alone = np.where(np.arange(30) == 4, 1, 0)
    refused(lambda: classifier(early_stopping=True).fit(X, alone), match="class")


def row_8_labels(folder):
    for labels in (np.array(["a", "b", "c"])[Y], Y > 0):
        classifier(early_stopping=True).fit(X, labels)
    mixed = Y.astype(object)
    mixed[3] = None
    refused(lambda: classifier().fit(X, mixed))


def row_9_partial_fit(folder):
    estimator = classifier().fit(X, Y)
    before = pickle.dumps(estimator.coefs_)
    refused(lambda: estimator.partial_fit(X, Y + 1))
    refused(lambda: estimator.partial_fit(X[:, :3], Y))
    assert pickle.dumps(estimator.coefs_) == before


def row_10_weights(folder):
    for weight in (-np.ones(30), np.full(30, np.nan), np.zeros(30), np.ones(29)):
        refused(lambda weight=weight: network().fit(X, Y, sample_weight=weight))
        refused(lambda weight=weight: classifier().fit(X, Y, sample_weight=weight))


def row_11_layouts(folder):
    expected = network().predict(X)
    frozen = np.asfortranarray(X)
    frozen.flags.writeable = False
    wide = np.repeat(X, 2, axis=1)
    for view in (frozen, X[::-1][::-1], wide[:, ::2]):
        np.testing.assert_array_equal(network().predict(view), expected)
    row = np.broadcast_to(X[0], X.shape)
    np.testing.assert_array_equal(network().predict(row), network().predict(row.copy()))


def row_12_dtypes(folder):
    expected = network().predict(X)
    swapped = X.astype(X.dtype.newbyteorder())
    raw = np.zeros(X.nbytes + 1, "u1")
    raw[1:] = np.frombuffer(X.tobytes(), "u1")
    misaligned = raw[1:].view(X.dtype).reshape(X.shape)
    for array in (swapped, misaligned, X.astype("g"), X.astype(object)):
        np.testing.assert_array_equal(network().predict(array), expected)
    for bad in (X + 1j, X.astype("M8[s]"), np.ma.masked_greater(X, 0), [[1.0], [1.0, 2.0]]):
        refused(lambda bad=bad: network().predict(bad))


# ----------------------------------------------------------------------------- large, shared, ended


def row_13_many_elements(folder):
    """Row 2^31 + 7 of a matrix without memory of its own: no index wraps."""
    rows = (1 << 31) + 8
    many = np.lib.stride_tricks.as_strided(np.ones(1, "u1"), (rows, 1), (0, 0), writeable=False)
    model = fastbp.Model([1, 1], loss="squared_error", seed=0)
    tail = many[rows - 3 :]
    np.testing.assert_array_equal(model.predict(tail), model.predict(np.ones((3, 1))))
    refused(lambda: fastbp.Model([1 << 60, 1], loss="squared_error"), MemoryError)


def row_14_other_threads(folder):
    model, inside, problems = network(), threading.Event(), []

    class Waiting(fastbp.Callback):
        def on_epoch_end(self, model, history):
            inside.set()
            other.join(20)

    def fit_again():
        inside.wait(20)
        data = X.copy()
        try:
            model.fit(data, Y)
        except RuntimeError as error:
            problems.append(str(error))

    other = threading.Thread(target=fit_again)
    other.start()
    model.fit(X, Y, epochs=1, callbacks=[Waiting()])
    assert len(problems) == 1
    assert "being fitted already" in problems[0]


def row_15_callbacks(folder):
    class Raising(fastbp.Callback):
        def __init__(self, answer):
            self.answer = answer

        def on_epoch_end(self, model, history):
            if isinstance(self.answer, BaseException):
                raise self.answer
            return model.fit(X, Y) if self.answer is None else self.answer

    cases = ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(), OSError))
    for answer, error in (*cases, ("junk", TypeError), (None, RuntimeError)):
        model = network()
        refused(lambda m=model, a=answer: m.fit(X, Y, callbacks=[Raising(a)]), error)
        model.fit(X, Y, epochs=1)


# ------------------------------------------------------------------------------------------- tables


def row_16_encodings(folder):
    for bad in (b"", b"a,b\n", b"\n\n", "a\n1\n".encode("utf-16"), b"a\nx\xe9\n", b"a\n\0\n"):
        refused(lambda bad=bad: numbers(folder, bad), DataError, "t.csv")
    for good in (b"\xef\xbb\xbfa\n1\n", b"a\r1\r", b"a\r\n1\r\n"):
        assert numbers(folder, good) == [1]


def row_17_ragged(folder):
    long = '"' + "x" * (1 << 25)
    for bad in ("a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n', f"a\n{long}", "a," * 70_000 + "b\n1\n"):
        refused(lambda bad=bad: numbers(folder, bad), DataError, "line")


def row_18_numbers(folder):
    for cell in ("1e400", "1_000", "٣", "0x10", "nan", "inf", '"1,5"', "1" * 100_000 + "x"):
        refused(
            lambda cell=cell: numbers(folder, f"a\n1\n{cell}\n"), DataError, "line 3, column 'a'"
        )
    assert numbers(folder, f"a\n 1 \n{'1' * 300}\n") == [1, float("1" * 300)]


def row_19_columns(folder):
    refused(lambda: read_table(csv(folder, "a,a\n1,2\n")), DataError, "'a' names column 1 too")
    refused(lambda: read_table(csv(folder, "a\n1\n")).column("b"), DataError, "no column 'b'")


def row_20_files_that_are_none(folder):
    (folder / "folder.csv").mkdir()
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "zero.csv").symlink_to("/dev/zero")
    for name in ("folder", "loop", "zero", "nowhere"):
        path = str(folder / f"{name}.csv")
        refused(lambda path=path: read_table(path), DataError, f"{name}.csv")
    packed = gzip.compress(b"a\n1\n")[:-9]
    refused(lambda: read_table(csv(folder, packed, "cut.csv.gz")), DataError, "cut.csv.gz")


def row_21_labels_that_command(folder):
    table = read_table(csv(folder, "k\n=cmd|x\n\x1b[31m\n@SUM\n"))
    assert table.columns["k"].categories()[0] == ["=cmd|x", "\x1b[31m", "@SUM"]
    refused(lambda: read_table(csv(folder, "\x1b[31m\n1\n")).column("x"), DataError, r"\\x1b\[31m")


def row_22_parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert int(pa.__version__.split(".")[0]) >= 18
    path = folder / "t.parquet"
    pq.write_table(pa.table({"l": [[1], [2]]}), path)
    whole = path.read_bytes()
    refused(read_table(str(path)).columns["l"].numbers, DataError, "cannot be used")
    for bad in (whole[:-1], whole[:40] + whole[44:], b"PAR1" * 9):
        path.write_bytes(bad)
        refused(lambda: read_table(str(path)), DataError, "t.parquet")


# -------------------------------------------------------------------------------------- model files


def container(header, rest=b""):
    return len(header).to_bytes(8, "little") + header + rest


def saved(folder):
    path = folder / "net"
    network().save(path)
    return path


def loads(path, data):
    path.write_bytes(data)
    return refused(lambda: fastbp.Model.load(path), fastbp.ModelFormatError)


def row_23_foreign_files(folder):
    path = saved(folder)
    for bad in (b"", b"\1" * 7, b"text", b"PK\3\4" + bytes(9), path.read_bytes() + b"x"):
        assert "not a fastbp model" in loads(path, bad)
    assert "a pickle, which fastbp never loads" in loads(path, pickle.dumps(list(range(99))))


def row_24_headers(folder):
    path = folder / "net"
    deep, digits = b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"
    many = json.dumps({f"t{i}": 0 for i in range(100_000)}).encode()
    for bad in (b"\xff" * 16, container(deep), container(digits), container(many)):
        loads(path, bad)
    for text in (b'{"a":1,"a":2}', b'{"a":NaN}', b'{"\\ud800":1}', b'{"\\u0000":1,"../../x":2}'):
        loads(path, container(text))


def row_25_shapes_of_tensors(folder):
    path = saved(folder)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    for shape in ([4194305, 4194305, 211106198978564], [-4, 5], [0], [4, 5, 1]):
        header = json.loads(data[8 : 8 + length])
        header["layers.0.weights"]["shape"] = shape
        assert "layers.0.weights" in loads(
            path, container(json.dumps(header).encode(), data[8 + length :])
        )


def row_26_contents(folder):
    def not_finite(parts):
        parts.tensors["layers.0.biases"][0] = np.nan

    def unchained(parts):
        parts.config["layers"][1]["n_in"] = 6

    def unknown(parts):
        parts.config["layers"][0]["activation"]["name"] = "sin"

    for change in (not_finite, unchained, unknown):
        path = saved(folder)
        rewritten(path, change)
        refused(lambda path=path: fastbp.Model.load(path), fastbp.ModelFormatError)


def row_27_bits_and_versions(folder):
    path = saved(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    assert "checksum" in loads(path, data)
    saved(folder)
    rewritten(path, lambda parts: parts.config.update(format=7))
    refused(lambda: fastbp.Model.load(path), fastbp.ModelFormatError, "reads 1 to 2")


def row_28_checkpoints(folder):
    path = folder / "run"
    saver = fastbp.ModelCheckpoint(path)
    network().fit(X, Y, epochs=1, callbacks=[saver])
    refused(lambda: network().fit(X + 1, Y, resume=path), fastbp.CheckpointError, "other data")
    other = {"optimizer": fastbp.SGD(0.1), "resume": path}
    refused(lambda: network().fit(X, Y, **other), fastbp.CheckpointError, "optimizer")

    class Second(fastbp.Callback):
        def on_epoch_end(self, model, history):
            network().fit(X, Y, callbacks=[fastbp.ModelCheckpoint(path)])

    refused(lambda: network().fit(X, Y, callbacks=[saver, Second()]), BlockingIOError)


FEW_THREADS = """
import resource
import numpy as np
import fastbp
from fastbp import _engine

assert 1 <= fastbp.get_num_threads() <= 1024
fastbp.set_num_threads(1000)
_engine.set_thread_grain(0)
model = fastbp.Model([4, 64, 2], loss="softmax_cross_entropy", seed=0)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
model.fit(np.zeros((2000, 4), np.float32), np.zeros(2000, int), epochs=1)
"""


def row_29_threads(folder):
    for number in (0, -1, 10**9):
        refused(lambda number=number: fastbp.set_num_threads(number), match="from 1 to 1024")
    home = str(Path(fastbp.__file__).parents[1])
    for value in ("0", "abc", "1000000"):
        environment = os.environ | {"OMP_NUM_THREADS": value, "PYTHONPATH": home}
        subprocess.run([sys.executable, "-c", FEW_THREADS], env=environment, check=True)


def row_30_pickles(folder):
    estimator = classifier().fit(X, Y)
    estimator.coefs_ = [estimator.coefs_[0][:-1], estimator.coefs_[1]]
    tampered = pickle.loads(pickle.dumps(estimator))
    refused(lambda: tampered.predict(X), ValueError)
    refused(lambda: tampered.partial_fit(X, Y), ValueError)


ROWS = {
    name.split("_")[1]: function
    for name, function in list(globals().items())
    if name.startswith("row_")
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row, tmp_path):
    ROWS[row](tmp_path)


def test_no_row_is_missing():
    assert list(ROWS) == [str(number) for number in range(1, 31)]


def test_of_tables_the_command_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1\n")
    assert main(["train", "t.csv"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
