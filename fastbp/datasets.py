"""Real data: handwritten digits inside the package, MNIST from a folder.

Both are in the IDX format: a big-endian header with the element type and the sizes, then bytes.
"""

import gzip
import math
import os
import zlib
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_UNSIGNED_BYTE = 8
_LARGEST = 1 << 31  # bytes; no hostile header makes us ask for more
_PIECE = 1 << 20  # nor, at once, for more than there is


def load_digits() -> tuple[Images, Labels]:
    """Return the UCI handwritten digits: 1,797 real images of 8 x 8 pixels.

    Returns
    -------
    X : ndarray of uint8, shape (1797, 64)
        Rows of pixels from 0 (white) to 16.
    y : ndarray of int64, shape (1797,)
        The digits.

    Notes
    -----
    The test part of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
    Machine Learning Repository (1998), https://doi.org/10.24432/C50P49, licence CC BY 4.0.
    """
    with as_file(files("fastbp") / "data") as folder:
        return _load_pair(Path(folder), "digits")


def load_mnist(folder: str | os.PathLike[str]) -> tuple[tuple[Images, Labels], ...]:
    """Read MNIST, or a set of the same make, from its four IDX files, gzipped or not.

    Parameters
    ----------
    folder : str or path
        Where ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two ``t10k-`` files
        are; ``.gz`` is appended and ``-idx`` may be spelled ``.idx``.

    Returns
    -------
    (X_train, y_train), (X_test, y_test)
        Images as uint8 ``(n, 784)`` and labels as int64 ``(n,)``.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        A file is damaged, or the numbers of images and labels differ.
    """
    return _load_pair(Path(folder), "train"), _load_pair(Path(folder), "t10k")


def _load_pair(folder: Path, name: str) -> tuple[Images, Labels]:
    images = _read_idx(_find(folder, name, "images-idx3-ubyte"), 3)
    labels = _read_idx(_find(folder, name, "labels-idx1-ubyte"), 1)
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} {name} images but {len(labels)} labels")
    return images.reshape(len(images), -1), labels.astype(np.int64)


def _find(folder: Path, name: str, kind: str) -> Path:
    for spelling in (kind, kind.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = folder / f"{name}-{spelling}{suffix}"
            if path.is_file():
                return path
    raise FileNotFoundError(f"{folder}: expected {name}-{kind} or {name}-{kind}.gz in this folder")


def _read_idx(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file, which must fill it exactly."""
    head_size = 4 + 4 * ndim
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(head_size)
            if len(head) < head_size or head[:4] != bytes([0, 0, _UNSIGNED_BYTE, ndim]):
                raise ValueError(f"{path}: expected an IDX file of {ndim}-d bytes, got {head!r}")
            shape = [int.from_bytes(head[i : i + 4], "big") for i in range(4, head_size, 4)]
            size = math.prod(shape)
            if not 0 < size < _LARGEST:
                raise ValueError(f"{path}: expected 1 to {_LARGEST} bytes, got the sizes {shape}")
            data = _read(file, size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error})") from error
    if len(data) != size:
        given = "more" if len(data) > size else f"{len(data)}: it is truncated"
        raise ValueError(f"{path}: expected {size} bytes after the header, got {given}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read(file: Any, size: int) -> bytes:
    """Return the next bytes of a file, `size` or all there are, in memory for those alone."""
    pieces = []
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
