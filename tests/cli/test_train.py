import csv
import os
import re
import signal
import time

import numpy as np
import pytest

import fastbp
from fastbp.datasets import load_digits


def facts(path):
    return fastbp.Model.load(path).metadata["training"]


def predictions(run, model, data):
    outcome = run("predict", model, data)
    assert outcome.status == 0, outcome
    return list(csv.DictReader(outcome.out.splitlines()))


def test_defaults_learn_the_digits(run, tmp_path):
    outcome = run("train")
    assert outcome.status == 0, outcome
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert {path.name for path in tmp_path.iterdir()} == {"digits.safetensors", "digits.png"}
    assert "'y', the last column" in outcome.out
    assert "classification into 10 classes" in outcome.out
    for word in ("loss", "accuracy", "seconds", "samples/s", "train", "held-out"):
        assert word in outcome.out
    assert "60/60" in outcome.err

    figures = facts("digits.safetensors")
    assert f"{figures['held-out accuracy']:.2%}" in outcome.out
    assert figures["held-out accuracy"] >= 0.97
    assert figures["train accuracy"] >= 0.99
    # together, the two figures are the accuracy that the predictions show
    y = load_digits()[1]
    rows = predictions(run, "digits.safetensors", "digits")
    right = sum(row["prediction"] == str(label) for row, label in zip(rows, y, strict=True))
    assert right == round(1438 * figures["train accuracy"] + 359 * figures["held-out accuracy"])


def test_regression_with_categories(run, houses):
    outcome = run("train", houses, "--ignore", "id", "--epochs", 200, "--out", "h.safetensors")
    assert outcome.status == 0, outcome
    assert "Task: regression" in outcome.out
    assert "1 columns: 'constant'" in outcome.out
    figures = facts("h.safetensors")
    assert figures["held-out r2"] > 0.999
    prices = np.array(
        [float(row["price"]) for row in csv.DictReader(houses.read_text().splitlines())]
    )
    predicted = [float(row["prediction"]) for row in predictions(run, "h.safetensors", houses)]
    squares = 320 * figures["train rmse"] ** 2 + 80 * figures["held-out rmse"] ** 2
    np.testing.assert_allclose(np.sum((prices - predicted) ** 2), squares, rtol=1e-3)


def test_options_reach_the_model(run):
    options = ("--hidden", "5,4", "--activation", "tanh", "--optimizer", "sgd", "--epochs", 3)
    more = ("--learning-rate", 0.02, "--batch-size", 50, "--seed", 7, "--validation", 0.5)
    assert run("train", *options, *more, "--out", "o.safetensors").status == 0
    model = fastbp.Model.load("o.safetensors")
    assert [layer.n_out for layer in model.layers] == [5, 4, 10]
    assert model.layers[0].activation.name == "tanh"
    training = model.metadata["training"]
    assert training["optimizer"].startswith("SGD(learning_rate=0.02")
    assert [training[key] for key in ("epochs", "batch_size", "seed", "rows")] == [3, 50, 7, 1797]


def test_the_seed_alone_decides(run):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        run("train", "--epochs", 2, "--seed", seed, "--out", f"{name}.safetensors")
    a, b, c = (fastbp.Model.load(f"{name}.safetensors").parameters for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("hidden", ["", "8"])
def test_without_validation_and_without_hidden_layers(run, hidden):
    outcome = run("train", "--validation", 0, "--hidden", hidden, "--epochs", 2)
    assert outcome.status == 0, outcome
    assert "held-out" not in outcome.out
    assert "held-out accuracy" not in facts("digits.safetensors")


def test_the_task_can_be_chosen(run, tmp_path):
    rows = "".join(f"{i},{i % 3}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    tasks = {}
    for task in ("auto", "classification", "regression"):
        assert run("train", "t.csv", "--task", task, "--epochs", 2).status == 0
        tasks[task] = fastbp.Model.load("t.safetensors").layers[-1].n_out
    assert tasks == {"auto": 3, "classification": 3, "regression": 1}


def test_numbers_can_be_categories(run, tmp_path):
    (tmp_path / "t.csv").write_text(
        "a,b,y\n" + "".join(f"{i % 4},{i},{i % 2}\n" for i in range(40))
    )
    assert run("train", "t.csv", "--categorical", "a", "--epochs", 2).status == 0
    assert fastbp.Model.load("t.safetensors").layers[0].n_in == 4 + 1


def test_npz_files(run, tmp_path):
    x, y = load_digits()
    np.savez(tmp_path / "t.npz", X=x, y=y)
    outcome = run("train", "t.npz", "--epochs", 5)
    assert outcome.status == 0
    assert run("train", "digits", "--epochs", 5).status == 0
    a, b = (fastbp.Model.load(f"{name}.safetensors").parameters for name in ("t", "digits"))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "12x"], "--hidden: widths are whole numbers"),
        (["--hidden", "0"], "layers: expected an integer >= 1"),
        (["--hidden", "900000000,900000000"], "--hidden: .*(fits into memory|Unable to allocate)"),
        (["--activation", "foo"], "'--activation': 'foo' is not one of identity, relu"),
        (["--optimizer", "foo"], "'--optimizer': 'foo' is not one of adam"),
        (["--learning-rate", "-1"], "learning_rate: expected a positive number, got -1.0"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--epochs", "0"], "--epochs"),
        (["--batch-size", "0"], "--batch-size"),
        (["--validation", "1"], "'--validation': 1.0 is not a share"),
        (["--validation", "nan"], "'--validation': nan is not a share"),
        (["--validation", "0.0001"], "--validation 0.0001 of 1797 rows leaves"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "0"], "--threads"),
        (["--task", "foo"], "--task"),
        (["--target", "z"], "digits: there is no column 'z'"),
        (["--ignore", "z"], "digits: there is no column 'z'"),
        (["--ignore", "y"], "'y' is the target"),
        (["--bogus"], "--bogus"),
        (["nope.csv"], "nope.csv: cannot be read: No such file"),
        (["--out", "no/such/net.safetensors"], "--out: there is no folder"),
        (["--out", "."], "--out: .* is not a file"),
        (["--out", "net.png"], "--out: .png is for the picture"),
        # looked at before the data
        (["nope.csv", "--out", "no/such/net.safetensors"], "--out: there is no folder"),
    ],
)
def test_bad_input_leaves_nothing_behind(fails, tmp_path, arguments, message):
    assert re.search(message, fails(2, "train", *arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2\n3\n", r"t.csv, line 3: column 2 \('y'\) is missing"),
        ("1,2\n3,x\n4,5.5\n", "t.csv, line 3, column 'y': 'x' is not a finite number"),
        ("1,2\n,3\n", "t.csv, line 3, column 'a': the cell is empty"),
    ],
)
def test_bad_csv_is_one_line(fails, tmp_path, rows, message):
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    assert re.search(message, fails(2, "train", "t.csv", "--validation", 0))


def test_the_data_are_never_overwritten(fails, houses):
    before = houses.read_bytes()
    assert "is an input" in fails(2, "train", houses, "--out", houses)
    houses.parent.joinpath("link.safetensors").symlink_to(houses)
    assert "is an input" in fails(2, "train", houses, "--out", "link.safetensors")
    assert houses.read_bytes() == before


def test_special_files_are_never_replaced(fails, tmp_path):
    for name in ("fifo.safetensors", "fifo.png"):
        os.mkfifo(tmp_path / name)
        assert f"{name} is not a file" in fails(2, "train", "--out", "fifo.safetensors")
        (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []


def test_divergence_is_a_failure(fails, tmp_path):
    line = fails(1, "train", "--optimizer", "sgd", "--learning-rate", "1e10")
    assert "stopped being finite" in line
    assert "lower learning_rate" in line
    assert list(tmp_path.iterdir()) == []


def test_names_from_files_cannot_command_the_terminal(run, tmp_path):
    name = "[red]\x1b[31m\u202e"
    (tmp_path / "t.csv").write_text(f"a,b,{name}\n" + f"1,{name}1,2\n2,b,3\n" * 9)
    outcome = run("train", "t.csv", "--epochs", 2)
    inspected = run("inspect", "t.safetensors").out
    shown = outcome.out + inspected
    assert outcome.status == 0
    assert r"'[red]\x1b[31m\u202e'" in outcome.out
    assert r" [red]\x1b[31m\u202e " in inspected
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def _wait_for_bar(process):
    """Read standard output up to the line after which training begins."""
    for line in process.stdout:
        if line.startswith("Network"):
            return
    pytest.fail(process.stderr.read())


def test_ctrl_c_keeps_what_was_trained(spawn, tmp_path):
    process = spawn("train", "--epochs", 1_000_000)
    _wait_for_bar(process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Model: digits.safetensors" in out
    assert (
        err.splitlines()[-1]
        == "fastbp: interrupted; what was trained so far is in digits.safetensors"
    )
    assert "Traceback" not in err
    assert facts(tmp_path / "digits.safetensors")["train accuracy"] > 0.5
    assert (tmp_path / "digits.png").exists()


def test_ctrl_c_before_the_training(spawn, tmp_path):
    # the command reads the fifo for as long as it is open
    os.mkfifo(tmp_path / "t.csv")
    process = spawn("train", "t.csv")
    with (tmp_path / "t.csv").open("w") as fifo:
        fifo.write("a,b\n1,2\n")
        fifo.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "fastbp: interrupted\n"


def test_a_full_disk_is_a_failure(spawn, tmp_path):
    (tmp_path / "digits.safetensors").write_bytes(b"before")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    process = spawn(
        "train",
        "--epochs",
        2,
        code=limit + "import sys; from fastbp.cli import main; sys.exit(main())",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "fastbp: digits.safetensors: cannot be written: File too large"
    assert "Traceback" not in err
    assert (tmp_path / "digits.safetensors").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_target_is_named_with_the_line_of_the_names(fails, houses):
    message = fails(2, "train", houses, "--target", "prize")
    expected = "houses.csv, line 1: there is no column 'prize'; did you mean 'price'?"
    assert message.endswith(expected)
