"""A sample of what `tools/mutants.py` does in full."""

import importlib.util
from pathlib import Path

import pytest

from fastbp import _serialization

TOOL = Path(__file__).parents[2] / "tools" / "mutants.py"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_files_are_refused_or_equal(tool, capsys):
    assert tool.main(["--sample", "10000"]) == 0
    assert capsys.readouterr().out.count("10,000 mutants: ") == 2


def test_what_loads_with_other_contents_is_seen(tool, capsys, monkeypatch):
    monkeypatch.setattr(_serialization, "_expect_checksum", lambda *_: None)
    assert tool.main(["--sample", "300"]) == 1
    assert "loaded, but not equal" in capsys.readouterr().out
