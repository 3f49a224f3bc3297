"""The examples of docs/estimators.md run, one by one, and what they claim holds."""

import contextlib
import io
import re
from inspect import signature
from pathlib import Path

import pytest

import fastbp

# The examples train for a few epochs, as the guide says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GUIDE = Path(__file__).parents[2] / "docs" / "estimators.md"
TEXT = GUIDE.read_text()
PARTS = re.split(r"^##+ ", TEXT, flags=re.M)
EXAMPLES = {
    part.splitlines()[0].lstrip("# "): code
    for part in PARTS
    for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL)
}


def test_each_part_has_at_most_one_example():
    assert len(EXAMPLES) == TEXT.count("```python") >= 10


@pytest.mark.parametrize("title", EXAMPLES)
def test_example_runs(title, tmp_path, monkeypatch):
    for package in re.findall(r"^(?:import|from) (\w+)", EXAMPLES[title], re.M):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(EXAMPLES[title], GUIDE.name, "exec"), {})
    claims = re.findall(r"print\(.*# (?:about )?(True|0\.\d+)$", EXAMPLES[title], re.M)
    said = [line.split()[-1] for line in printed.getvalue().splitlines()]
    assert said
    if claims:
        assert len(said) == len(claims)
    for claim, word in zip(claims, said, strict=False):
        assert word == claim or float(word) == pytest.approx(float(claim), abs=0.05)


@pytest.mark.parametrize("kind", [fastbp.MLPClassifier, fastbp.MLPRegressor])
def test_the_guide_names_every_parameter_that_scikit_learn_has_not(kind):
    theirs = signature(getattr(pytest.importorskip("sklearn.neural_network"), kind.__name__))
    more = set(signature(kind).parameters) - set(theirs.parameters)
    assert more
    assert [name for name in sorted(more) if name not in TEXT] == []
    names = {*fastbp.layers.ACTIVATIONS, *fastbp.losses.LOSSES} - {"softmax_cross_entropy"}
    assert [name for name in sorted(names) if name not in TEXT] == []
