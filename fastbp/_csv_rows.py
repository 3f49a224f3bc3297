"""The cells of a CSV file, gzipped or not, with the line on which every row begins.

The standard library's reader cuts the cells, because it alone knows the line it is on; Arrow
holds them, because a Python string for each would take twenty times the memory of the file.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_GZIP_MAGIC = b"\x1f\x8b"
_BLANKS = " \t"
_LONGEST_ROW = 1 << 24  # characters, on one line or on several
_MOST_COLUMNS = 1 << 16
_LONGEST_QUOTE = 40
# Few enough that their Python strings stay small, many enough that a column's share is not.
_ROWS_AT_A_TIME, _CELLS_AT_A_TIME = 2000, 1 << 22


class DataError(ValueError):
    """Data that cannot be used; names the file and, where known, the line and the column."""


def printable(text: str) -> str:
    """Return ``text`` with its control characters escaped, safe for terminals and of one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """Return ``text`` in quotes, short and `printable`."""
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 3] + "..."
    return f"'{printable(text)}'"


def expect_columns(place: str, number: int) -> None:
    """Raise DataError if there are more columns than memory should be taken for."""
    if number > _MOST_COLUMNS:
        hint = "store a table of numbers the other way round, or in several files"
        raise DataError(f"{place}: {number} columns are too many (at most {_MOST_COLUMNS}); {hint}")


@dataclass(frozen=True)
class CsvCells:
    """Names of the columns, their cells (empty ones are null), the lines of names and rows."""

    names: list[str]
    names_line: int
    columns: list[pa.ChunkedArray]
    lines: npt.NDArray[np.int64]


class _Lines:
    """Lines of a text; `suspicious` is set by one that needs a closer look.

    Those of one row, between two calls of `begin_row`, have no more characters than a row may have.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._number = 0
        self._left = _LONGEST_ROW
        self.suspicious = False

    def begin_row(self) -> None:
        self._left = _LONGEST_ROW

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(self._left):
            self._number += 1
            self._left -= len(line)
            if not self._left:
                problem = f"the row is longer than {_LONGEST_ROW} characters"
                raise DataError(f"{self._name}, line {self._number}: {problem}")
            if not line.isascii() or "\0" in line:
                self.suspicious = True
            yield line


class _Rows:
    """Rows of a CSV text, each as wide as the header, and the line on which the last one began."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._name = name
        self._lines = _Lines(stream, name)
        self._reader = csv.reader(self._lines, strict=True)
        self.line = 0
        self.names = self._header()

    def __iter__(self) -> Iterator[list[str]]:
        while row := self._next():
            if len(row) != len(self.names):
                raise self._ragged(len(row))
            yield row

    def _next(self) -> list[str]:
        """Return the next row that is not a blank line; an empty list at the end."""
        while True:
            self.line = self._reader.line_num + 1
            self._lines.begin_row()
            try:
                row = next(self._reader)
            except StopIteration:
                return []
            except csv.Error as error:
                raise DataError(f"{self._name}, line {self.line}: not CSV: {error}") from error
            if self._lines.suspicious:
                self._check_characters(row)
                self._lines.suspicious = False
            if row:
                return row

    def _header(self) -> list[str]:
        cells = self._next()
        expect_columns(f"{self._name}, line {self.line}", len(cells))
        names = [name.strip(_BLANKS) or f"column_{i}" for i, name in enumerate(cells, 1)]
        if not names:
            raise DataError(f"{self._name}: the file is empty; its first line must name columns")
        first: dict[str, int] = {}
        for number, name in enumerate(names, 1):
            if name in first:
                where = f"{self._name}, line {self.line}, column {number}"
                hint = "the first line must give every column a name of its own"
                raise DataError(f"{where}: {quoted(name)} names column {first[name]} too; {hint}")
            first[name] = number
        return names

    def _ragged(self, width: int) -> DataError:
        expected = len(self.names)
        if width < expected:
            column = f"column {width + 1} ({quoted(self.names[width])}) is missing"
        else:
            column = f"column {expected + 1} has no name"
        problem = f"{column}: {width} cells where the header has {expected}"
        return DataError(f"{self._name}, line {self.line}: {problem}")

    def _check_characters(self, row: list[str]) -> None:
        for number, cell in enumerate(row, 1):
            problem = "a NUL byte" if "\0" in cell else ""
            try:
                cell.encode()
            except UnicodeEncodeError:
                problem = "not UTF-8; save the file in that encoding"
            if problem:
                where = f"{self._name}, line {self.line}, column {number}"
                raise DataError(f"{where}: {problem} (the cell is {quoted(cell)})")


def read_csv(path: Path, name: str) -> CsvCells:
    """Read a CSV file whose first line names the columns.

    Blank lines and blanks around cells do not count.

    Raises
    ------
    DataError
        The file cannot be read, is not UTF-8 or not CSV, is ragged, has no rows or repeats a name.
    """
    with _open_text(path, name) as stream:
        rows = _Rows(stream, name)
        names_line = rows.line
        chunks: list[list[pa.Array]] = [[] for _ in rows.names]
        lines: list[int] = []
        rows_at_a_time = min(_ROWS_AT_A_TIME, _CELLS_AT_A_TIME // len(rows.names))
        while block := [(rows.line, row) for row in islice(rows, rows_at_a_time)]:
            lines.extend(line for line, _ in block)
            columns = zip(*(row for _, row in block), strict=True)
            for chunk, cells in zip(chunks, columns, strict=True):
                chunk.append(_cells(cells))
    if not lines:
        raise DataError(f"{name}: the file has a header but no rows")
    columns_of_cells = [pa.chunked_array(c) for c in chunks]
    return CsvCells(rows.names, names_line, columns_of_cells, np.array(lines, np.int64))


def _cells(texts: tuple[str, ...]) -> pa.Array:
    trimmed = pc.ascii_trim(pa.array(texts, pa.string()), _BLANKS)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


@contextmanager
def _open_text(path: Path, name: str) -> Iterator[TextIO]:
    """Open a text file, gzipped or not; what goes wrong while it is read becomes a DataError."""
    # Bytes that are not UTF-8 become lone surrogates, which the rows look for: a decoding error
    # would not say in which line it occurred.
    decoded = partial(io.TextIOWrapper, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        with path.open("rb") as file, decoded(_decompressed(file)) as text:
            yield text
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name}: cannot be read: {reason}") from error


def _decompressed(file: io.BufferedReader) -> BinaryIO:
    if file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    return file
