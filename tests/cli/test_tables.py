import gzip
import math
import re
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._tables import DataError, read_table
from fastbp.datasets import load_digits


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a CSV file of the given bytes."""
    monkeypatch.chdir(tmp_path)

    def read(content, name="t.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(name)

    return read


def values(table):
    """Every column as the training would see it."""
    return {
        name: column.numbers().tolist() if column.is_numeric else column.categories()[0]
        for name, column in table.columns.items()
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv: the file is empty"),
        ("\n \n\n"[::2], "t.csv: the file is empty"),
        ("a,b\n", "t.csv: the file has a header but no rows"),
        ("a,b,a\n1,2,3\n", "t.csv, line 1, column 3: 'a' names column 1 too"),
        ("a,b\n1,2\n3\n", r"t.csv, line 3: column 2 \('b'\) is missing: 1 cells where .* has 2"),
        ("a,b\n1,2\n3,4,5\n", "t.csv, line 3: column 3 has no name: 3 cells where .* has 2"),
        ("a,b\n1,2\n\n3,4,\n", "t.csv, line 4: column 3 has no name"),
        ('a,b\n"1\n1",2\n"3\n3",4\n5\n', r"t.csv, line 6: column 2 \('b'\) is missing"),
        ("a,b\n1,\0\n", r"t.csv, line 2, column 2: a NUL byte \(the cell is '\\x00'\)"),
        ("a\0,b\n1,2\n", "t.csv, line 1, column 1: a NUL byte"),
        (b"a,b\n1,2\n3,caf\xe9\n", r"t.csv, line 3, column 2: not UTF-8; .*'caf\\udce9'"),
        ("a,b\n1,2\n".encode("utf-16"), "t.csv, line 1, column 1: not UTF-8"),
        ('a,b\n1,2\n3,"4\n', "t.csv, line 3: not CSV: unexpected end of data"),
        ('a,b\n1,"2"3\n', "t.csv, line 2: not CSV: ',' expected after"),
        ("a,b\n1," + "9" * 200_000 + "\n", "t.csv, line 2: not CSV: field larger than"),
        ("a" * (1 << 24), "t.csv, line 1: the row is longer than 16777216 characters"),
        (
            'a\n"' + '","\n' * (1 << 22),
            "line .*: the row is longer than 16777216 characters",
        ),
        ("," * (1 << 16), "t.csv, line 1: 65537 columns are too many \\(at most 65536\\)"),
    ],
)
def test_bad_csv_is_refused_by_line_and_column(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "the cell is empty; fill it in, remove it"),
        ("x", "'x' is not a finite number; correct it"),
        ("nan", "'nan' is not a finite number"),
        ("-inf", "'-inf' is not a finite number"),
        ("1e400", "'1e400' is out of the range of float64"),
        ("1_000", "'1_000' is not"),
        ("0x10", "'0x10' is not"),
        ("٣", "'٣' is not"),
        ("1 2", "'1 2' is not"),
        ('"1,5"', "'1,5' is not"),
        ("\x1b[31m", r"'\\x1b\[31m' is not"),
    ],
)
def test_bad_cell_among_numbers_is_refused_by_line_and_column(read, cell, problem):
    table = read(f"a,b\n1,2\n3,4\n5,{cell}\n")
    with pytest.raises(DataError, match=f"^t.csv, line 4, column 'b': {problem}"):
        table.columns["b"].numbers()
    assert table.columns["a"].numbers().tolist() == [1, 3, 5]


def test_a_long_cell_is_refused_at_once(read):
    """Its digits are looked at once each, not once for each other."""
    begun = time.perf_counter()
    with pytest.raises(DataError, match="is not a finite number"):
        read("a\n1\n" + "1" * 100_000 + "x\n").columns["a"].numbers()
    assert time.perf_counter() - begun < 2
    with pytest.raises(DataError, match=r"line 3, column 'a': '1\\n' is not a finite number"):
        read('a\n1\n"1\n"\n').columns["a"].numbers()


def test_empty_category_is_refused_by_line_and_column(read):
    with pytest.raises(DataError, match=r"^t.csv, line 3, column 'a': the cell is empty"):
        read("a,b\nred,1\n,2\nblue,3\n").columns["a"].categories()


@given(st.text("0123456789.eE+-_x naif,٣", min_size=1, max_size=8))
def test_numbers_are_ascii_decimals(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("n") / "t.csv"
    path.write_text(f'a\n"{text}"\n1\n')
    column = read_table(str(path)).columns["a"]
    decimal = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text.strip(" "), re.ASCII)
    if decimal and math.isfinite(float(text)):
        assert column.numbers().tolist() == [float(text), 1]
    else:
        with pytest.raises(DataError, match="line 2, column 'a'"):
            column.numbers()


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y",
        "\ufeffa,b\n1,x\n2,y",
        "a, b\n\n 1, x \n\n2,\ty\n\n",
        'a,"b"\n"1","x"\n2,y\n',
    ],
    ids=["plain", "CRLF", "CR", "BOM", "blanks", "quotes"],
)
def test_spellings_of_one_table(read, content):
    assert values(read(content)) == {"a": [1, 2], "b": ["x", "y"]}


def test_gzip_is_seen_by_content(read):
    data = gzip.compress(b"a,b\n1,x\n2,y\n")
    assert values(read(data, "t.csv.gz")) == values(read(data)) == {"a": [1, 2], "b": ["x", "y"]}
    with pytest.raises(DataError, match="cannot be read: Compressed file ended"):
        read(data[:-9])
    with pytest.raises(DataError, match="cannot be read: Unknown compression"):
        read(data[:2] + b"garbage garbage")


def test_many_rows_keep_their_lines(read):
    lines = [f"{i},{i % 7}" for i in range(5001)]
    table = read("a,b\n\n" + "\n".join(lines))
    assert np.array_equal(table.columns["a"].numbers(), np.arange(5001))
    lines[4321] = "4321,?"
    with pytest.raises(DataError, match="line 4324, column 'b'"):
        read("a,b\n\n" + "\n".join(lines)).columns["b"].numbers()


def test_names_of_nameless_columns(read):
    assert list(read(",b\n1,2\n").columns) == ["column_1", "b"]


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [("1,2,x", True), ("1,x,y", False), ("1,x", True), ("x,y", False), ("nan,nan", True)],
)
def test_a_column_is_numeric_if_half_of_its_cells_are(read, cells, numeric):
    assert (
        read("a,k\n" + "".join(f"{c},0\n" for c in cells.split(","))).columns["a"].is_numeric
        is numeric
    )


def test_missing_column_is_named_with_what_there_is(read):
    table = read("size,colour\n1,red\n")
    with pytest.raises(DataError, match=r"t.csv, line 1: there is no column 'color'; did you mean"):
        table.column("color")
    with pytest.raises(DataError, match=r"t.csv, line 3: there is no column 'x'"):
        read("\n\nsize,colour\n1,red\n").column("x")
    with pytest.raises(DataError, match=r"there are 'size', 'colour'$"):
        table.column("x")


@pytest.mark.parametrize("name", ["nope.csv", "nope.parquet", "nope.npz", "folder.csv"])
def test_what_cannot_be_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=f"{name}: cannot be read: (No such file|Is a directory)"):
        read_table(name)


def test_unknown_kinds():
    with pytest.raises(DataError, match=r"t.xlsx: unknown kind of data; .* or one of digits"):
        read_table("t.xlsx")


def test_bundled_digits():
    x, y = load_digits()
    table = read_table("digits")
    assert list(table.columns) == [*(f"x{i}" for i in range(64)), "y"]
    assert np.array_equal(table.columns["x20"].numbers(), x[:, 20])
    assert np.array_equal(table.columns["y"].numbers(), y)


def test_parquet(tmp_path):
    path = str(tmp_path / "t.parquet")
    texts = pa.array(["x", "y", "x"])
    content = {
        "i": pa.array([1, 2, 3], pa.int32()),
        "d": pa.array(["1.50", "2.25", "3.00"]).cast(pa.decimal128(6, 2)),
        "s": texts,
        "k": texts.dictionary_encode(),
        "l": texts.cast(pa.large_string()),
        "flag": [True, False, True],
        "hole": [1.0, None, 3.0],
        "nan": [1.0, 2.0, float("nan")],
        "list": [[1], [2], [3]],
    }
    pq.write_table(pa.table(content), path)
    columns = read_table(path).columns
    assert [name for name, column in columns.items() if column.is_numeric] == [
        "i",
        "d",
        "hole",
        "nan",
    ]
    assert columns["i"].numbers().tolist() == [1, 2, 3]
    assert columns["d"].numbers().tolist() == [1.5, 2.25, 3]
    for name in ("s", "k", "l"):
        assert columns[name].categories()[0] == ["x", "y"]
        assert columns[name].categories()[1].tolist() == [0, 1, 0]
    assert columns["flag"].categories()[0] == ["true", "false"]
    for name, message in [("hole", "row 2, .*empty"), ("nan", "row 3, .*'nan' is not a finite")]:
        with pytest.raises(DataError, match=message):
            columns[name].numbers()
    with pytest.raises(DataError, match=r"column 'list': cells of type list<.*cannot be used"):
        columns["list"].categories()


def test_a_parquet_file_with_a_forged_number_of_rows(tmp_path):
    """Memory is taken for the rows that are there."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(200)}), path, compression="none", use_dictionary=False)
    rows, forged = thrift_integer(200), thrift_integer(1 << 41)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8].replace(rows, forged)
    assert footer.count(forged) >= 2
    path.write_bytes(data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DataError, match=r"t.parquet: (not a Parquet file|cannot be read): "):
        read_table(str(path))
    assert pa.default_memory_pool().max_memory() < before + (1 << 26)


def thrift_integer(n):
    """An i64 as Parquet's footer spells it: zigzag, seven bits a byte, the lowest first."""
    n, digits = 2 * n, []
    while n:
        digits.append(n & 0x7F)
        n >>= 7
    return bytes([d | 0x80 for d in digits[:-1]] + digits[-1:])


@pytest.mark.parametrize("kind", [pa.duration("s"), pa.timestamp("s")])
def test_cells_without_a_value_in_python(tmp_path, kind):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"t": pa.array([1 << 53], pa.int64()).cast(kind)}), path)
    with pytest.raises(DataError, match=r"column 't': cells of type .* cannot be used"):
        read_table(str(path)).columns["t"].numbers()


def test_damaged_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"t.parquet: (not a Parquet file|cannot be read): "):
            read_table(str(path))


@pytest.mark.parametrize("text", [b"red", b"name"], ids=["cell", "column"])
def test_parquet_with_texts_that_are_not_utf8(tmp_path, text):
    path = tmp_path / "t.parquet"
    table = pa.table({"name": ["red", "red"]})
    # plain, without the Arrow schema, so that the text stands in the file as it is
    pq.write_table(table, path, compression="none", use_dictionary=False, store_schema=False)
    path.write_bytes(path.read_bytes().replace(text, b"\xff" * len(text)))
    with pytest.raises(DataError, match=r"t.parquet: not a Parquet file: "):
        read_table(str(path))


@pytest.mark.parametrize("dtype", ["u1", ">i4", "<i8", "f2", ">f4", "f8", "g", "?"])
def test_npz_of_any_numbers(tmp_path, dtype):
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    np.savez(tmp_path / "t.npz", X=np.asfortranarray(x), y=np.array(["a", "b", "a"]))
    table = read_table(str(tmp_path / "t.npz"))
    assert values(table) == {"x0": [0, 1, 1], "x1": [1, 0, 1], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": [1]}, "there is no array 'X'"),
        ({"X": [1, 2]}, r"X must be a matrix of numbers, not int64 \(2,\)"),
        ({"X": [["a"]]}, "X must be a matrix of numbers, not <U1"),
        ({"X": np.ones((2, 2)), "y": [1]}, r"y must be 2 labels or numbers, not int64 \(1,\)"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 2))}, "y must be 2 labels"),
        ({"X": np.ones((2, 1)), "y": [b"a", b"b"]}, "y must be 2 labels"),
        (
            {"X": np.ones((1, 1)), "y": np.array([{}])},
            "not an NPZ file of plain arrays: Object arr",
        ),
        ({"X": np.ones((0, 3))}, "the table has no rows"),
        ({"X": np.ones((3, 0))}, "the table has no rows"),
        ({"X": np.ones((0, 1 << 40))}, r"columns are too many \(at most 65536\)"),
    ],
)
def test_bad_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_table(str(tmp_path / "t.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz_in_another_compression(tmp_path, method):
    np.savez(tmp_path / "good.npz", X=np.eye(3))
    with zipfile.ZipFile(tmp_path / "good.npz") as good:
        array = good.read("X.npy")
    with zipfile.ZipFile(tmp_path / "t.npz", "w", method) as archive:
        archive.writestr("X.npy", array)
    with pytest.raises(DataError, match=r"X.npy is not compressed as np.savez_compressed does"):
        read_table(str(tmp_path / "t.npz"))


def test_too_many_columns_of_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({f"c{i}": [1] for i in range(65_537)}), path)
    with pytest.raises(DataError, match="65537 columns are too many"):
        read_table(str(path))


def test_damaged_npz(tmp_path):
    path = tmp_path / "t.npz"
    np.savez_compressed(path, X=np.arange(4000.0).reshape(1000, 4))
    whole = path.read_bytes()
    np.save(tmp_path / "bare.npy", np.ones((2, 2)))
    contents = [b"", b"PK\3\4", whole[:-30], (tmp_path / "bare.npy").read_bytes(), b"\x80\x04N."]
    middle = len(whole) // 3
    contents.append(whole[:middle] + bytes(40) + whole[middle + 40 :])
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"t.npz: not an NPZ file of plain arrays"):
            read_table(str(path))


@pytest.mark.long
def test_a_large_csv_file_loads_in_seconds(tmp_path):
    row = ",".join(str(i * i % 256) for i in range(785))
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"p{i}" for i in range(785)) + "\n" + f"{row}\n" * 60_000)
    start = time.perf_counter()
    table = read_table(str(path))
    assert all(
        (column.numbers() == i * i % 256).all() for i, column in enumerate(table.columns.values())
    )
    assert time.perf_counter() - start < 60
