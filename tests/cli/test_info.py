"""``fastbp info``, and a kernel table asked for by the environment."""

import pytest

from fastbp import _engine


def test_a_kernel_table_that_does_not_exist_is_bad_input(spawn, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTBP_ISA", "foo")
    for command in ("train", "info"):
        process = spawn(command)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 2
        assert out == ""
        [line] = err.splitlines()
        assert line.startswith("fastbp: ")
        assert "got 'foo'" in line
        assert "FASTBP_ISA" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_a_kernel_table_can_be_asked_for(spawn, monkeypatch, isa):
    if isa not in _engine.isas():
        pytest.skip(f"this machine does not run {isa}")
    monkeypatch.setenv("FASTBP_ISA", isa)
    process = spawn("info")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert f"{isa} (this machine runs: " in out
