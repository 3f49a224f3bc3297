"""Write the first inputs of each corpus: good files, and those that once made trouble elsewhere."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import targets  # noqa: E402 -- it lies beside this file, which is a script


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy_of(shape, dtype="|u1", rest=b""):
    """An array file that claims a shape, whatever comes then."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + rest


def bzip2_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", npy_of((1 << 30, 1), rest=bytes(1 << 26)))
    return file.getvalue()


def parquet(columns, **options):
    file = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue().to_pybytes()


def idx(*sizes, kind=8, data=b""):
    head = bytes([0, 0, kind, len(sizes)]) + b"".join(s.to_bytes(4, "big") for s in sizes)
    return head + data


COLUMNS = {"a": [1, 2, 3], "b": [1.5, None, 2.5], "c": ["x", "y", "x"], "d": [True, False, True]}
IMAGES, LABELS = idx(2, 2, 2, data=bytes(range(8))), idx(3, data=b"\1\2\3")

SEEDS = {
    "model": {
        "good": targets.good_model(),
        "checkpoint": targets.good_checkpoint(),
        "deep": (100_000).to_bytes(8, "little") + b"[" * 100_000,
        "length": (1 << 63).to_bytes(8, "little") + b"{}" * 9,
        "pickle": b"\x80\x04N.",
    },
    "model_edits": {
        "none": b"",
        "model": bytes(range(32)),
        "checkpoint": bytes(range(1, 33)),
    },
    "checkpoint_edits": {"none": b"", "some": bytes(range(32))},
    "csv": {
        "plain": b"\0a,b,k\n1,x,red\n2,y,blue\n3,x,red\n",
        "gzip": b"\1a,b\n1,2\n3,4\n5,6\n",
        "quotes": b'\0a,"b"\n"1",", x"\n2,"y\ny"\n3,"x""x"\n',
        "bom": b"\0\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4.5\r\n",
        "regression": b"\0a,b\n1,1e5\n-.5,-2.25\n+3.,7e-3\n4,1e400\n",
        "digits": b"\0a,b\n" + b"1" * 10_000 + b"x,1\n2,2\n3,3\n",
        "commas": b"\0" + b"," * 15_000 + b"\n",
        "bytes": b"\0a,b\n\xff,\0\n1,2\n",
    },
    "parquet": {
        "plain": parquet(COLUMNS),
        "zstd": parquet(COLUMNS, compression="zstd"),
        "simple": parquet(COLUMNS, compression="none", use_dictionary=False, store_schema=False),
        "nested": parquet({"l": [[1], [2, 3], []], "s": [{"x": 1}, {"x": 2}, None]}),
        "pages": parquet({"i": list(range(200)), "t": ["ab"] * 200}, data_page_size=64),
        "digits": parquet({"t": ["1" * 10_000 + "x", "1", "2"], "y": [1, 2, 3]}),
    },
    "npz": {
        "plain": b"\0" + npz(X=np.arange(6.0).reshape(3, 2), y=np.array(["a", "b", "a"])),
        "arrays": b"\1" + npy(np.eye(3)) + b"|y|" + npy(np.arange(3)),
        "no-rows": b"\1" + npy_of((0, 1 << 40)),
        "wide": b"\1" + npy_of((1, 1 << 17), rest=bytes(1 << 13)),
        "huge": b"\1" + npy_of((1 << 40, 2)),
        "objects": b"\1" + npy_of((2, 2), "|O"),
        "bzip2": b"\0" + bzip2_bomb(),
    },
    "idx": {
        "labels": b"\0" + LABELS,
        "images": b"\4" + IMAGES,
        "gzip": b"\5" + IMAGES,
        "no-gzip": b"\2" + LABELS,
        "forged": b"\0" + idx((1 << 31) - 1),
        "forged-gzip": b"\5" + idx(1 << 10, 1 << 10, 1 << 10),
        "overflow": b"\4" + idx((1 << 32) - 1, (1 << 32) - 1, (1 << 32) - 1),
    },
    "preprocessing": {"none": b"", "some": bytes(range(64)), "value": b"\1\2\3\4\5\6\7"},
}

if __name__ == "__main__":
    for name, inputs in SEEDS.items():
        folder = HERE / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        for title, data in inputs.items():
            (folder / title).write_bytes(data)
