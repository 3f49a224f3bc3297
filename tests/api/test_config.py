"""Threads and what a build says of itself."""

import numpy as np
import pytest

import fastbp
from fastbp import _engine


def test_threads(engine):
    fastbp.set_num_threads(3)
    assert fastbp.get_num_threads() == 3 == engine.get_num_threads()
    assert fastbp.get_config()["threads"] == 3


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (10**9, ValueError), (2.0, TypeError), (True, TypeError),
     ("2", TypeError), (np.nan, TypeError)],
    ids=str,
)  # fmt: skip
def test_wrong_numbers_of_threads(engine, n, error):
    before = fastbp.get_num_threads()
    with pytest.raises(error, match=r"^n: expected an integer from 1 to 1024, got "):
        fastbp.set_num_threads(n)
    assert fastbp.get_num_threads() == before


def test_show_config(capsys, monkeypatch):
    monkeypatch.setattr(_engine, "build_info", lambda: {"compiler": "cc 1.0", "openmp": 201511})
    fastbp.show_config()
    isas = ", ".join(_engine.isas())
    assert capsys.readouterr().out.splitlines() == [
        f"fastbp    {fastbp.__version__}",
        f"kernels   {_engine.get_isa()} (this machine runs: {isas})",
        f"bf16      {', '.join(_engine.bf16_isas()) or 'none on this machine'}",
        f"threads   {_engine.get_num_threads()}",
        "OpenMP    201511",
        "compiler  cc 1.0",
    ]


def test_show_config_warns_of_a_serial_build(capsys, monkeypatch):
    monkeypatch.setattr(_engine, "build_info", lambda: {"compiler": "cc 1.0", "openmp": 0})
    fastbp.show_config()
    assert "OpenMP    none: this build is serial; reinstall" in capsys.readouterr().out
