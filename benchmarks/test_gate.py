"""`gate.py` tells what has become slower from what has not. Figures are made up: no clock here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GATE = Path(__file__).with_name("gate.py")
MACHINE = {"isa": "avx512", "cpu": "some CPU"}


@pytest.fixture
def gate(monkeypatch):
    """The module, without its clock: every case measures 1."""
    monkeypatch.syspath_prepend(str(GATE.parent))
    import gate  # noqa: PLC0415 -- found by the line above

    monkeypatch.setattr(gate, "measured", lambda cases=gate.CASES: {c.name: 1.0 for c in cases})
    return gate


@pytest.fixture
def keep(gate, tmp_path):
    """Function that writes a record with these figures beside 1 for all others."""

    def write(figures):
        file = tmp_path / "records.json"
        kept = {case.name: 1.0 for case in gate.CASES} | figures
        file.write_text(json.dumps([MACHINE | {"tolerance": 1.2, "figures": kept}]))
        return file

    return write


def test_what_is_as_fast_as_its_record_passes(gate, keep):
    name = gate.CASES[0].name
    assert gate.run(MACHINE, keep({name: 1 / 1.19}), record=False)[0] == 0


@pytest.mark.parametrize("case", range(8))
def test_each_case_beyond_the_tolerance_fails_by_name(gate, keep, case):
    name = gate.CASES[case].name
    status, lines = gate.run(MACHINE, keep({name: 1 / 1.21}), record=False)
    assert status == 1
    assert [line.startswith(name) for line in lines if "SLOWER" in line] == [True]


def test_a_figure_that_is_no_number_fails(gate, keep, monkeypatch):
    monkeypatch.setattr(gate, "measured", lambda cases=gate.CASES: {cases[0].name: float("nan")})
    assert gate.run(MACHINE, keep({}), record=False)[0] == 1


def test_what_was_slow_once_is_measured_again(gate, keep, monkeypatch):
    runs = iter([2.0, 1.0, 1.0])
    asked = []

    def measured(cases=gate.CASES):
        asked.append(len(cases))
        figure = next(runs)
        return {case.name: figure if case is gate.CASES[0] else 1.0 for case in cases}

    monkeypatch.setattr(gate, "measured", measured)
    assert gate.run(MACHINE, keep({}), record=False)[0] == 0
    assert asked == [8, 1]


@pytest.mark.parametrize("other", [{"cpu": "another CPU"}, {"isa": "avx2"}])
def test_a_machine_without_a_record_passes_with_a_notice(gate, keep, other):
    file = keep({gate.CASES[0].name: 1e-9})
    status, lines = gate.run(MACHINE | other, file, record=False)
    assert status == 0
    assert lines[0].startswith("notice: nothing compared")


def test_a_recorded_machine_is_compared_from_then_on(gate, keep, monkeypatch):
    file, new = keep({}), MACHINE | {"cpu": "another CPU"}
    assert gate.run(new, file, record=True)[0] == 0
    assert len(json.loads(file.read_text())) == 2
    assert gate.run(new, file, record=False)[0] == 0
    monkeypatch.setattr(gate, "measured", lambda cases=gate.CASES: {c.name: 1.5 for c in cases})
    assert gate.run(new, file, record=False)[0] == 1


def test_the_command_passes_with_a_notice_where_nothing_is_kept(tmp_path):
    command = [sys.executable, str(GATE), "--file", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "notice: nothing compared" in done.stdout
