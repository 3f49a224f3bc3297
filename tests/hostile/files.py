"""Hostile inputs 16 to 29: tables, model files, checkpoints, the number of threads."""

import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
from hostile.common import X, Y, network, refused
from model_files import read_parts, write_parts

import fastbp
from fastbp._tables import DataError, read_table


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
