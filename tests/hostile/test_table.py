"""Thirty hostile inputs, by number: what each gets, in one short case.

Most have many cases elsewhere; here they stand together, so that none is forgotten. In each row: no
signal, no hang, no partial file, and an error of a documented kind. Ranks of MPI (part of row 29)
do not exist here.
"""

import pytest

pytest.importorskip("typer", reason="needs the extra: pip install 'fastbp[cli]'")
pytest.importorskip("sklearn", reason="needs the extra: pip install 'fastbp[sklearn]'")

from hostile import arguments, files

from fastbp.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


FOUND = {
    int(name.split("_")[1]): function
    for module in (arguments, files)
    for name, function in vars(module).items()
    if name.startswith("row_")
}
ROWS = {str(number): FOUND[number] for number in sorted(FOUND)}


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
