import csv

import numpy as np
import pytest
from model_files import read_parts, write_parts

import fastbp


@pytest.fixture
def model(run, tmp_path):
    """A classifier of three colours, and its data in t.csv."""
    rows = [(i % 10, ("red", "green", "blue")[i % 10 % 3], "ab"[i % 2]) for i in range(90)]
    (tmp_path / "t.csv").write_text("n,colour,c\n" + "".join(f"{n},{k},{c}\n" for n, k, c in rows))
    options = ("--target", "colour", "--epochs", 200, "--batch-size", 16, "--hidden", "32")
    assert run("train", "t.csv", *options).status == 0
    return "t.safetensors"


def test_labels_and_probabilities(run, model, tmp_path):
    outcome = run("predict", model, "t.csv", "--out", "p.csv")
    assert outcome.status == 0
    assert "90 rows" in outcome.out
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    classes = ["blue", "green", "red"]
    assert list(rows[0]) == ["prediction", *(f"probability_{name}" for name in classes)]
    probabilities = np.array(
        [[float(row[f"probability_{name}"]) for name in classes] for row in rows]
    )
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert [row["prediction"] for row in rows] == [classes[i] for i in probabilities.argmax(axis=1)]
    truth = [row["colour"] for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())]
    assert (
        np.mean([row["prediction"] == colour for row, colour in zip(rows, truth, strict=True)])
        > 0.8
    )
    assert run("predict", model, "t.csv").out == (tmp_path / "p.csv").read_text()


def test_labels_that_a_spreadsheet_would_take_for_formulas(run, tmp_path):
    labels = ["=1+1", "@sum", "-a", "+b", "plain"]
    rows = "".join(f"{i % 5},{labels[i % 5]}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"n,label\n{rows}")
    train = ("train", "t.csv", "--epochs", 300, "--hidden", "32", "--batch-size", 8)
    assert run(*train, "--validation", 0).status == 0
    for options, mark in (((), ""), (("--excel-safe",), "'")):
        assert run("predict", "t.safetensors", "t.csv", "--out", "p.csv", *options).status == 0
        table = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
        found = [row["prediction"] for row in table[:5]]
        assert found == [mark * (label != "plain") + label for label in labels]


def test_columns_go_by_name(run, model, tmp_path):
    (tmp_path / "a.csv").write_text("n,c\n4,a\n5,b\n")
    (tmp_path / "b.csv").write_text('more,c,colour,n\n?,a,,4\n"?",b,violet,5\n')
    first, second = (run("predict", model, name) for name in ("a.csv", "b.csv"))
    assert first.status == second.status == 0
    assert first.out == second.out
    assert len(first.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c\na\n", "u.csv, line 1: there is no column 'n'"),
        ("n,c\n1,a\n2,z\n", "u.csv, line 3, column 'c': the category 'z' was not in"),
        ("n,c\n1,a\nx,a\n", "u.csv, line 3, column 'n': 'x' is not a finite number"),
        ("n,c\n1,a\n9e38,a\n", "u.csv, line 3: the row is too far from the training rows"),
        ("n,c\n", "u.csv: the file has a header but no rows"),
    ],
)
def test_bad_rows(fails, model, tmp_path, text, message):
    (tmp_path / "u.csv").write_text(text)
    assert message in fails(2, "predict", model, "u.csv", "--out", "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_bad_paths(fails, model, tmp_path):
    assert "nope: cannot be read: No such file" in fails(2, "predict", "nope", "t.csv")
    assert "not a fastbp model" in fails(2, "predict", "t.csv", "t.csv")
    assert "nope.csv: cannot be read" in fails(2, "predict", model, "nope.csv")
    assert "there is no folder" in fails(2, "predict", model, "t.csv", "--out", "no/p.csv")
    for path in (model, "t.csv"):
        before = (tmp_path / path).read_bytes()
        assert "is an input" in fails(2, "predict", model, "t.csv", "--out", path)
        assert (tmp_path / path).read_bytes() == before


def test_models_made_elsewhere(run, fails):
    fastbp.Model([2, 3, 1], loss="squared_error", seed=0).save("own.safetensors")
    assert "not written by fastbp train" in fails(2, "predict", "own.safetensors", "digits")
    outcome = run("inspect", "own.safetensors")
    assert outcome.status == 0
    assert "2 x 3" in outcome.out
    assert "No preprocessing" in outcome.out


def _tamper(path, change):
    """Change the command's part of a model file, which stays a good model."""
    parts = read_parts(path)
    change(parts.config["metadata"])
    write_parts(path, parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["preprocessing"]["features"].pop(), "expected a network of 1 inputs and 3"),
        (lambda m: m["preprocessing"]["target"]["classes"].pop(), "and 2 outputs"),
        (lambda m: m["preprocessing"]["features"][0].update(scale=0), "scale must be positive"),
        (
            lambda m: m["preprocessing"]["target"]["classes"].insert(0, "\ud800"),
            r"classes must be Unicode, got '\ud800'",
        ),
        (lambda m: m.update(preprocessing=None), "preprocessing: expected the keys"),
        (lambda m: m.update(training={"epochs": [1]}), "training: expected texts and numbers"),
        (lambda m: m.update(training=None), "training: expected texts and numbers"),
        (lambda m: m.update(more=1), "not written by fastbp train"),
    ],
)
def test_tampered_models(fails, run, model, change, message):
    _tamper(model, lambda metadata: None)
    assert run("predict", model, "t.csv").status == 0
    _tamper(model, change)
    line = fails(2, "predict", model, "t.csv")
    assert "t.safetensors: " in line
    assert message in line


def test_values_beyond_float64(fails, run, tmp_path):
    (tmp_path / "v.csv").write_text("a,y\n" + "".join(f"{i},{i}.5\n" for i in range(40)))
    assert run("train", "v.csv", "--epochs", 1).status == 0
    _tamper(
        "v.safetensors", lambda metadata: metadata["preprocessing"]["target"].update(scale=1e308)
    )
    (tmp_path / "far.csv").write_text("a\n19.5\n1e30\n")
    line = fails(2, "predict", "v.safetensors", "far.csv")
    assert "far.csv, line 3: the row is too far from the training rows" in line


def test_inspect(run, model):
    outcome = run("inspect", model)
    assert outcome.status == 0
    for text in (
        "3 x 32",
        "number",
        "mean 4.",
        "2: 'a', 'b'",
        "3: 'blue', 'green', 'red'",
        "Adam(",
    ):
        assert text in outcome.out


def test_info(run, capsys):
    fastbp.show_config()
    expected = capsys.readouterr().out
    assert run("info") == (0, expected, "")


def test_output_into_a_closed_pipe(spawn, model):
    process = spawn("predict", model, "t.csv")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=30) == 1
    assert err == ""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "-h"]])
def test_help(run, arguments):
    outcome = run(*arguments)
    assert outcome.status == 0
    assert "Usage: fastbp" in outcome.out


def test_no_command(fails):
    assert fails(2) == "fastbp: Missing command."


@pytest.mark.parametrize("missing", ["typer", "rich", "pyarrow", "matplotlib"])
def test_without_the_extra(spawn, missing):
    hide = f"import sys; sys.modules[{missing!r}] = None; "
    process = spawn("info", code=hide + "from fastbp.cli import main; sys.exit(main())")
    assert process.wait(timeout=30) == 1
    assert process.stderr.read() == f"fastbp: needs {missing}: pip install 'fastbp[cli]'\n"


def test_as_a_module(spawn):
    hook = (
        "import runpy, sys; sys.argv[0] = 'fastbp'; runpy.run_module('fastbp', run_name='__main__')"
    )
    process = spawn("train", "nope.csv", code=hook)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err == "fastbp: nope.csv: cannot be read: No such file or directory\n"
