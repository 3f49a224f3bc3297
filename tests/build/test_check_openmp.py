"""The check that OpenMP regions name their thread count finds planted faults, and only those."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_openmp.py"
spec = importlib.util.spec_from_file_location("check_openmp", TOOL)
check_openmp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_openmp)

GOOD = {
    "prange.pyx": "for i in prange(n, nogil=True,\n        num_threads=threads):\n    pass\n",
    "parallel.pyx": "with nogil, parallel(num_threads=(a + b)):\n    f()\n",
    "nested.pyx": (
        "with nogil, parallel(num_threads=n):\n    if a:\n\n        for i in prange(n):\n   f()\n"
    ),
    "words.pyx": '# prange(n) and parallel() are explained here\ns = "prange(n)"\nparallel = 1\n',
    "last.pyx": "with parallel(num_threads=n):\n    for i in prange(n): pass",
    "pragma.c": "#pragma omp parallel for \\\n    num_threads(n)\nfor (;;) {}\n",
    "other.c": "#pragma omp barrier\n#pragma omp for\n/* prange(n) */\n",
}
BAD = {
    "prange.pyx": ("x = 1\nfor i in prange(n, nogil=True):\n    pass\n", "2: prange"),
    "parallel.pyx": ("with nogil, parallel():\n    f()\n", "1: parallel"),
    "dotted.pyx": ("for i in cython.parallel.prange(f(n)):\n    pass\n", "1: prange"),
    "after.pyx": (
        "with parallel(num_threads=n):\n    f()\nfor i in prange(n):\n    pass\n",
        "3: prange",
    ),
    "comment.pyx": ("for i in prange(n):  # num_threads=1\n    pass\n", "1: prange"),
    "pragma.c": ("\n\n#pragma omp parallel for \\\n    schedule(static)\n", "3: omp parallel"),
    "spaced.c": ("# pragma omp target parallel\nint num_threads;\n", "1: omp parallel"),
    "operator.h": ('_Pragma("omp parallel") f();\n', "1: omp parallel"),
    "verbatim.pyx": ('cdef extern from *:\n    """\n    #pragma omp parallel\n    """\n', "3: omp"),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name, tmp_path, capsys):
    path = tmp_path / name
    path.write_text(GOOD[name])
    assert check_openmp.main([str(path)]) == 0
    assert "1 files" in capsys.readouterr().out


@pytest.mark.parametrize("name", BAD)
def test_names_the_line_of_a_fault(name, tmp_path, capsys):
    source, fault = BAD[name]
    (tmp_path / name).write_text(source)
    assert check_openmp.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path / name}:{fault}")
    assert lines[0].endswith("without num_threads")


def test_nothing_to_check_is_not_a_pass(tmp_path, capsys):
    assert check_openmp.main([str(tmp_path)]) == 2
    assert "no C or Cython file" in capsys.readouterr().err


def test_the_package_is_clean(monkeypatch):
    monkeypatch.chdir(TOOL.parents[1])
    assert check_openmp.main([]) == 0
