"""Of the reports of sanitizers and Valgrind, those with a frame of fastbp in them are ours."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "sanitizers.py"
spec = importlib.util.spec_from_file_location("sanitizers", TOOL)
sanitizers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sanitizers)

LOGS = {
    "address": """==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602
WRITE of size 4 at 0x602 thread T0
    #0 0x7f {ours} ({module}+0x1)
    #1 0x7f in _PyEval_EvalFrameDefault Python/ceval.c:4769

allocated by thread T0 here:
    #0 0x7f in malloc
""",
    "leaks": """=================================================================
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 32 byte(s) in 1 object(s) allocated from:
    #0 0x7f in calloc
    #1 0x7f {ours}

Indirect leak of 32 byte(s) in 1 object(s) allocated from:
    #0 0x7f in malloc
    #1 0x7f in PyList_New
""",
    "undefined": """plan.c:10:5: runtime error: signed integer overflow
    #0 0x7f {ours}
""",
    "thread": """==================
WARNING: ThreadSanitizer: data race (pid=7)
  Write of size 4 at 0x7b by thread T1:
    #0 {ours}

  Previous write of size 4 at 0x7b by main thread:
    #0 other
==================
==================
WARNING: ThreadSanitizer: data race (pid=7)
  Write of size 4 at 0x7b by thread T1:
    #0 blas_thread_server openblas.c:1
==================
""",
    "memcheck": """==7== Memcheck, a memory error detector
==7== Command: python -m pytest fastbp
==7==\x20
==7== Conditional jump or move depends on uninitialised value(s)
==7==    at 0x1: {ours}
==7==    by 0x2: _PyEval_EvalFrameDefault (ceval.c:4769)
==7==\x20
==7== Invalid read of size 8
==7==    at 0x1: strlen (vg_replace_strmem.c:1)
==7==\x20
==7== ERROR SUMMARY: 2 errors from 2 contexts
""",
}
OURS = ["in fbp_sum src_c/runtime.c:90", "__pyx_f_6fastbp_5_step_clipping (_engine.c:1234)"]
OTHERS = ["in PyMem_Calloc Objects/obmalloc.c:640", "numpy_sum (multiarray.c:1234)"]


def reports(tmp_path, log, frame):
    (tmp_path / "log.7").write_text(LOGS[log].format(ours=frame, module="python3"))
    return list(sanitizers.our_reports(tmp_path))


@pytest.mark.parametrize("frame", OURS)
@pytest.mark.parametrize("log", LOGS)
def test_a_report_with_a_frame_of_ours_is_found_alone(log, frame, tmp_path):
    [report] = reports(tmp_path, log, frame)
    assert frame in report
    assert "openblas" not in report
    assert "strlen" not in report
    assert "PyList" not in report


@pytest.mark.parametrize("frame", OTHERS)
@pytest.mark.parametrize("log", LOGS)
def test_reports_on_others_are_not_ours(log, frame, tmp_path):
    assert reports(tmp_path, log, frame) == []
