"""`grid.py` runs, and says who does not compute the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GRID = Path(__file__).with_name("grid.py")


def run(*arguments):
    command = [sys.executable, str(GRID), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Figures of one small cell, against scikit-learn."""
    file = tmp_path_factory.mktemp("grid") / "figures.json"
    cell = ("--nets", "4-32-32-3", "--batches", 1024, "--rivals", "sklearn")
    done = run(*cell, "--rounds", 1, "--seconds", 0.01, "--pause", 0.01, "--json", file)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


def test_every_variant_is_measured_and_has_learned(figures):
    (cell,) = figures["cells"]
    assert {v["rival"] for v in cell["variants"]} == {"fastbp", "sklearn"}
    assert all(v["us_per_step"]["median"] > 0 for v in cell["variants"])
    assert cell["reference_loss"] < 0.99 * cell["first_loss"]


def test_share_is_of_the_ceiling_of_the_same_round(figures, tmp_path):
    (cell,) = figures["cells"]
    (own,) = [v for v in cell["variants"] if v["rival"] == "fastbp"][-1:]
    assert len(cell["ceilings"]) == len(own["rounds"]) == 1
    own["rounds"], cell["ceilings"] = [1.0, 2.0, 8.0], [4.0, 1.0, 1.0]  # us, GFLOP/s
    cell["flop"] = 1000  # 1, 0.5 and 0.125 GFLOP/s
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(figures))
    assert " 25% " in run("--from-json", kept).stdout


def test_a_kept_run_is_printed_and_drawn(figures, tmp_path):
    kept, picture = tmp_path / "kept.json", tmp_path / "grid.png"
    kept.write_text(json.dumps(figures))
    done = run("--from-json", kept, "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert "4-32-32-3  1024" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("share", [0.0, 0.98])
def test_a_rival_that_learns_less_is_named_and_does_not_count(figures, tmp_path, share):
    (cell,) = figures["cells"]
    learned = cell["first_loss"] - cell["reference_loss"]
    for variant in cell["variants"]:
        if variant["rival"] == "sklearn":
            variant["loss"] = cell["first_loss"] - share * learned
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(figures))
    done = run("--from-json", kept)
    assert done.returncode == 1
    assert "does not compute the same: 4-32-32-3, batch 1024: scikit-learn" in done.stdout
    assert "none" in done.stdout
