"""Tables of named columns, read from CSV, Parquet and NPZ files or the bundled data sets.

Cells stay as the file has them until a column is asked for numbers or for texts, so that a column
nobody uses may hold anything. Every complaint names the file, the line (or row) and the column.
"""

import difflib
import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fastbp import datasets
from fastbp._csv_rows import DataError, expect_columns, printable, quoted, read_csv

__all__ = ["Column", "DataError", "Table", "printable", "quoted", "read_table"]

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Place = Callable[[int], str]

# The texts that Arrow's cast takes for finite numbers: ASCII decimals, nothing else.
# Each character can be matched in one way only: of many digits, none is tried twice.
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_IS_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_IS_NUMBER = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_BUNDLED = {"digits": datasets.load_digits}
_MATRIX = 2
_ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Column:
    """A named column of texts, numbers or booleans; `place` says where in its file a row stands."""

    name: str
    cells: pa.ChunkedArray
    place: Place

    def error(self, row: int, problem: str) -> DataError:
        """Return the complaint about one cell."""
        return DataError(f"{self.place(row)}, column {quoted(self.name)}: {problem}")

    @cached_property
    def is_numeric(self) -> bool:
        """Whether at least half of the filled cells are numbers."""
        if not pa.types.is_string(self.cells.type):
            return any(is_kind(self.cells.type) for is_kind in _IS_NUMBER)
        if self._floats is not None:
            return True
        numbers = pc.sum(pc.match_substring_regex(self.cells, _NUMBER)).as_py() or 0
        filled = len(self.cells) - self.cells.null_count
        return filled > 0 and bool(2 * numbers >= filled)

    def numbers(self) -> Float64:
        """Return the cells as float64 (n_rows,).

        Raises
        ------
        DataError
            A cell is empty, not a number or not finite.
        """
        if self._floats is not None and not self._floats.null_count:
            values: Float64 = self._floats.to_numpy()
            if np.isfinite(values).all():
                return values
        raise self._first_bad_number()

    def categories(self) -> tuple[list[str], Int64]:
        """Return the distinct texts, and the index (n_rows,) of each cell's text among them.

        Raises
        ------
        DataError
            A cell is empty, or cells of this type have no text.
        """
        if self.cells.null_count:
            raise self._empty(pc.index(pc.is_null(self.cells), True).as_py())
        try:
            texts = self.cells.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self.error(0, self._unusable) from error
        encoded = texts.dictionary_encode().combine_chunks()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)

    @cached_property
    def _floats(self) -> pa.ChunkedArray | None:
        # Integers beyond 2^53 are rounded rather than refused.
        try:
            return pc.cast(self.cells, pa.float64(), safe=pa.types.is_string(self.cells.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None

    @property
    def _unusable(self) -> str:
        return f"cells of type {self.cells.type} cannot be used; leave it out with --ignore"

    def _empty(self, row: int) -> DataError:
        hint = "fill it in, remove it with its row, or leave the column out with --ignore"
        return self.error(row, f"the cell is empty; {hint}")

    def _first_bad_number(self) -> DataError:
        kinds = (*_IS_TEXT, *_IS_NUMBER, pa.types.is_boolean, pa.types.is_null)
        if not any(is_kind(self.cells.type) for is_kind in kinds):  # some have no Python value
            return self.error(0, self._unusable)
        for row, cell in enumerate(self.cells):
            value = cell.as_py()
            if value is None:
                return self._empty(row)
            text = str(value)
            if not re.fullmatch(_NUMBER, text):
                hint = "correct it, or name the column in --categorical"
                return self.error(row, f"{quoted(text)} is not a finite number; {hint}")
            if not math.isfinite(float(text)):
                return self.error(row, f"{quoted(text)} is out of the range of float64")
        return self.error(0, self._unusable)


@dataclass(frozen=True)
class Table:
    """Columns by name, all of `n_rows` cells, from a file or data set called `name`.

    `header` says where the columns are named: a line of a CSV file, or the name again.
    """

    name: str
    header: str
    columns: dict[str, Column]
    n_rows: int

    def column(self, name: str) -> Column:
        """Return the column of that name, or raise a DataError that lists what there is."""
        if name in self.columns:
            return self.columns[name]
        near = difflib.get_close_matches(name, self.columns, n=1)
        some = list(map(quoted, near or list(self.columns)[:10]))
        hint = f"did you mean {some[0]}?" if near else f"there are {', '.join(some)}"
        if not near and len(self.columns) > len(some):
            hint += ", ..."
        raise DataError(f"{self.header}: there is no column {quoted(name)}; {hint}")


def read_table(source: str) -> Table:
    """Read a table.

    Parameters
    ----------
    source : str
        A path that ends in .csv, .csv.gz, .parquet or .npz (arrays ``X`` and, for training, ``y``),
        or the name of a bundled data set. The first line of a CSV file names the columns; columns
        of arrays are called x0, x1, ... and y.

    Raises
    ------
    DataError
        The table cannot be read, has no rows or two columns of one name.
    """
    if source in _BUNDLED:
        return _array_table(source, *_BUNDLED[source]())
    name = printable(source)
    for ending, reader in _READERS.items():
        if source.lower().endswith(ending):
            return reader(Path(source), name)
    known = f"a file that ends in {', '.join(_READERS)}, or one of {', '.join(_BUNDLED)}"
    raise DataError(f"{name}: unknown kind of data; expected {known}")


def _read_csv(path: Path, name: str) -> Table:
    cells = read_csv(path, name)

    def place(row: int) -> str:
        return f"{name}, line {cells.lines[row]}"

    table = _table(name, cells.names, cells.columns, place)
    return replace(table, header=f"{name}, line {cells.names_line}")


def _read_parquet(path: Path, name: str) -> Table:
    try:
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            expect_columns(name, parquet.metadata.num_columns)
            # A forged number of rows takes no memory: there is some for those that are there.
            batches = parquet.iter_batches(_ROWS_AT_A_TIME)
            table = pa.Table.from_batches(batches, parquet.schema_arrow)
        if table.num_rows != parquet.metadata.num_rows:
            raise pa.ArrowInvalid(
                f"{parquet.metadata.num_rows} rows expected, {table.num_rows} found"
            )
        table.validate(full=True)  # reading does not look whether texts are UTF-8
        names = table.column_names
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a Parquet file: {error}") from error
    return _table(name, names, table.columns, _row_place(name))


def _read_npz(path: Path, name: str) -> Table:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            _expect_as_written(arrays)
            found = {key: np.asarray(arrays[key]) for key in ("X", "y") if key in arrays.files}
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    # A damaged archive makes zipfile and NumPy raise nearly anything, MemoryError included.
    except Exception as error:
        if isinstance(error.__context__, OSError):  # zipfile takes it for a damaged archive
            raise DataError(f"{name}: cannot be read: {error.__context__.strerror}") from error
        raise DataError(f"{name}: not an NPZ file of plain arrays: {error}") from error
    if "X" not in found:
        raise DataError(f"{name}: there is no array 'X' (and 'y', its targets)")
    return _array_table(name, found["X"], found.get("y"))


def _expect_as_written(arrays: Any) -> None:
    """Refuse what NumPy never writes: in bzip2 or LZMA, few bytes may stand for billions."""
    for entry in arrays.zip.infolist():
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is not compressed as np.savez_compressed does it")


def _array_table(name: str, x: Array, y: Array | None) -> Table:
    if x.ndim != _MATRIX or x.dtype.kind not in "biuf":
        raise DataError(f"{name}: X must be a matrix of numbers, not {x.dtype} {x.shape}")
    expect_columns(name, x.shape[1])
    if x.dtype.kind == "b":
        x = x.view(np.uint8)
    columns = {f"x{i}": _arrow(x[:, i]) for i in range(x.shape[1])}
    if y is not None:
        if y.shape not in ((len(x),), (len(x), 1)) or y.dtype.kind not in "biufU":
            given = f"not {y.dtype} {y.shape}"
            raise DataError(f"{name}: y must be {len(x)} labels or numbers, {given}")
        try:
            columns["y"] = _arrow(y.ravel())
        except UnicodeEncodeError as error:
            raise DataError(f"{name}: y: a label is not Unicode text: {error}") from error
    return _table(name, list(columns), list(columns.values()), _row_place(name))


def _arrow(values: Array) -> pa.ChunkedArray:
    if values.dtype.kind == "U":
        return pa.chunked_array([pa.array(values.tolist(), pa.string())])
    # Arrow knows native numbers of 8 to 64 bits only.
    dtype = np.dtype(np.float64) if values.dtype.kind == "f" else values.dtype.newbyteorder("=")
    return pa.chunked_array([pa.array(np.ascontiguousarray(values, dtype))])


def _row_place(name: str) -> Place:
    return lambda row: f"{name}, row {row + 1}"


def _table(name: str, names: list[str], cells: list[pa.ChunkedArray], place: Place) -> Table:
    if not cells or not len(cells[0]):
        raise DataError(f"{name}: the table has no rows")
    columns: dict[str, Column] = {}
    for column, content in zip(names, map(_plain, cells), strict=True):
        if column in columns:
            raise DataError(f"{name}: two columns are called {quoted(column)}")
        columns[column] = Column(column, content, place)
    return Table(name, name, columns, len(cells[0]))


def _plain(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts of any storage as Arrow's plain string; other cells unchanged."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    return cells.cast(pa.string()) if any(is_kind(cells.type) for is_kind in _IS_TEXT) else cells


_READERS = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
