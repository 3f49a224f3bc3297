"""The bundled digits, and IDX files whole and damaged."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fastbp.datasets import load_digits, load_mnist


def test_digits():
    X, y = load_digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.uint8, (1797,), np.int64)
    assert (X.min(), X.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # the first image, as printed in scikit-learn's documentation of the same data
    assert X[0, :24].tolist() == [
        0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0,
    ]  # fmt: skip


def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    X, y = load_digits()
    theirs = sklearn.load_digits()
    np.testing.assert_array_equal(X, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def write(folder: Path, separator="-", suffix="", **files):
    """Write the four files; ``train_images=b"..."`` and the like replace one."""
    for part in ("train", "t10k"):
        for kind, dims, array in (("images", 3, IMAGES), ("labels", 1, LABELS)):
            data = idx(array)
            data = gzip.compress(data) if suffix else data
            data = files.get(f"{part}_{kind}", data)
            (folder / f"{part}-{kind}{separator}idx{dims}-ubyte{suffix}").write_bytes(data)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_mnist(tmp_path, separator, suffix):
    train, test = load_mnist(write(tmp_path, separator, suffix))
    for X, y in (train, test):
        np.testing.assert_array_equal(X, IMAGES.reshape(5, 12))
        np.testing.assert_array_equal(y, LABELS)
        assert (X.dtype, y.dtype) == (np.uint8, np.int64)


GOOD = idx(IMAGES)
DAMAGED = {
    "empty": (b"", "expected an IDX file of 3-d bytes, got b''"),
    "short header": (GOOD[:10], "expected an IDX file of 3-d bytes"),
    "labels for images": (idx(LABELS), "expected an IDX file of 3-d bytes"),
    "float elements": (b"\0\0\x0d\x03" + GOOD[4:], "expected an IDX file of 3-d bytes"),
    "truncated": (GOOD[:-1], "expected 60 bytes after the header, got 59: it is truncated"),
    "too long": (GOOD + b"x", "expected 60 bytes after the header, got more"),
    "no images": (idx(IMAGES[:0]), "expected 1 to 2147483648 bytes"),
    "forged sizes": (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "expected 1 to 2147483648 bytes"),
    "fewer images": (idx(IMAGES[:4]), "4 train images but 5 labels"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_mnist(tmp_path, case, suffix):
    data, message = DAMAGED[case]
    data = gzip.compress(data) if suffix else data
    with pytest.raises(ValueError, match=message):
        load_mnist(write(tmp_path, suffix=suffix, train_images=data))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_memory_is_taken_for_what_is_there(tmp_path, suffix):
    """Not for what the header claims."""
    sizes = b"".join(size.to_bytes(4, "big") for size in (1 << 10, 1 << 10, 1 << 10))
    data = b"\0\0\x08\x03" + sizes + bytes(1000)
    folder = write(tmp_path, suffix=suffix, train_images=gzip.compress(data) if suffix else data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"got 1000: it is truncated"):
            load_mnist(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(GOOD)[:-9],
        b"no gzip at all",
        gzip.compress(GOOD)[:-8] + bytes(8),
        gzip.compress(GOOD)[:10] + b"\x07" * 50,
    ],
    ids=["truncated", "foreign", "checksum", "no block"],
)
def test_damaged_gzip(tmp_path, data):
    with pytest.raises(ValueError, match=r"train-images.*damaged gzip file"):
        load_mnist(write(tmp_path, suffix=".gz", train_images=data))


def test_missing_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected train-images-idx3-ubyte or .*gz"):
        load_mnist(tmp_path)
