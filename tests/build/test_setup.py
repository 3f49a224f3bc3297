"""What setup.py asks of the compiler, seen by a compiler that only writes down its arguments."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")

# Logs its arguments, refuses some arguments and some probes, and makes empty files.
COMPILER = """#!/bin/sh
echo "$*" >> {log}
case "$*" in {refuse}) exit 1;; esac
grep -qs {refuse_probe} probe.c && exit 1
out=
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
[ -z "$out" ] || : > "$out"
"""

FORBIDDEN = ("fast-math", "-Ofast", "unsafe-math", "finite-math", "associative-math", "=native")


class Build:
    """A copy of the package, with modules of one line, that can be built in a moment."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(ROOT / "src_c", folder / "src_c")
        (folder / "fastbp").mkdir()
        for name in ("__init__.py", "_engine.pyx", "_kernels.pyx"):
            (folder / "fastbp" / name).write_text('__version__ = "0"\n')
        self.log = folder / "compiler.log"

    def run(self, *arguments, refuse="nothing", refuse_probe="nothing", **environment):
        """Build; `commands` are what the compiler was called with, without the probes."""
        compiler = self.folder / "cc"
        compiler.write_text(COMPILER.format(log=self.log, refuse=refuse, refuse_probe=refuse_probe))
        compiler.chmod(0o755)
        self.log.write_text("")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTBP_")}
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", *arguments],
            cwd=self.folder,
            env=clean | {"CC": str(compiler), "CFLAGS": "", "LDFLAGS": ""} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        lines = [shlex.split(line) for line in self.log.read_text().splitlines()]
        self.commands = [line for line in lines if not {"probe.c", "probe.o"} & set(line)]
        return done.returncode

    def flags_of(self, source):
        [command] = [command for command in self.commands if source in command]
        return command

    @property
    def links(self):
        return [command for command in self.commands if "-shared" in command]


@pytest.fixture
def build(tmp_path):
    return Build(tmp_path)


FLAGS_OF_ISAS = {  # and whose sources may have them
    "-mavx2": {"avx2", "avx512", "avx512_bf16", "amx"},
    "-mavx512f": {"avx512", "avx512_bf16", "amx"},
    "-mavx512bf16": {"avx512_bf16", "amx"},
    "-mamx-bf16": {"amx"},
}


def test_each_source_has_the_flags_of_its_isa(build):
    assert build.run() == 0, build.output
    for source in (ROOT / "src_c").rglob("*.c"):
        flags = build.flags_of(source.relative_to(ROOT).as_posix())
        expected = {flag for flag, sources in FLAGS_OF_ISAS.items() if source.stem in sources}
        assert FLAGS_OF_ISAS.keys() & set(flags) == expected
        assert {"-O3", "-std=c11", "-ffp-contract=off", "-fopenmp"} <= set(flags)
    dispatch = build.flags_of("src_c/dispatch.c")
    assert {"-DFBP_HAVE_AVX2=1", "-DFBP_HAVE_AVX512=1"} <= set(dispatch)
    bf16 = build.flags_of("src_c/bf16.c")
    assert {"-DFBP_HAVE_AVX512_BF16=1", "-DFBP_HAVE_AMX=1"} <= set(bf16)


def test_objects_are_linked_into_the_engine_alone_and_once(build):
    assert build.run() == 0, build.output
    engine, kernels = sorted(build.links, key=lambda command: "avx2.o" not in " ".join(command))
    for source in (ROOT / "src_c").rglob("*.c"):
        named = source.relative_to(ROOT).with_suffix(".o").as_posix()
        assert sum(argument.endswith(named) for argument in engine) == 1
        assert not any(argument.endswith(named) for argument in kernels)
    assert "-Wl,-z,relro,-z,now" in engine


@pytest.mark.parametrize("switch", ["", "FASTBP_DEBUG", "FASTBP_WERROR", "FASTBP_NO_OPENMP"])
def test_no_flag_changes_the_arithmetic(build, switch):
    assert build.run(**({switch: "1"} if switch else {})) == 0, build.output
    for argument in (argument for command in build.commands for argument in command):
        assert not any(word in argument for word in FORBIDDEN)


@pytest.mark.parametrize("variable", ["CFLAGS", "LDFLAGS"])
def test_fast_math_of_the_environment_is_refused(build, variable):
    assert build.run(**{variable: "-O2 -ffast-math"}) == 1
    assert build.output.count("-ffast-math in CFLAGS or LDFLAGS") == 1
    assert build.commands == []


def test_without_openmp_the_build_is_serial_and_says_so(build):
    assert build.run(refuse="*-fopenmp*") == 0, build.output
    assert "WITHOUT OpenMP" in build.output
    assert "ONE thread" in build.output
    assert "FASTBP_NO_OPENMP=1" in build.output
    assert not any("-fopenmp" in command for command in build.commands)


def test_a_serial_build_that_was_asked_for_does_not_warn(build):
    assert build.run(FASTBP_NO_OPENMP="1") == 0, build.output
    assert "WITHOUT OpenMP" not in build.output
    assert not any("-fopenmp" in command for command in build.commands)


def test_an_isa_that_the_compiler_lacks_is_left_out(build):
    assert build.run(refuse="*-mavx512f*") == 0, build.output
    assert not any("src_c/isa/avx512.c" in command for command in build.commands)
    dispatch = build.flags_of("src_c/dispatch.c")
    assert "-DFBP_HAVE_AVX2=1" in dispatch
    assert "-DFBP_HAVE_AVX512=1" not in dispatch


def test_without_a_compiler_the_error_says_what_to_install(build):
    assert build.run(CC="no-such-compiler") == 1
    assert "no working C compiler (no-such-compiler)" in build.output
    assert "apt-get install build-essential" in build.output
    assert "Traceback" not in build.output


def test_without_headers_the_error_says_what_to_install(build):
    assert build.run(refuse_probe="Python.h") == 1
    assert "Python.h is missing" in build.output
    assert "python3-dev" in build.output


def test_warnings_are_errors_in_our_own_sources_only(build):
    assert build.run(FASTBP_WERROR="1") == 0, build.output
    assert {"-Werror", "-Wshadow", "-Wdouble-promotion"} <= set(build.flags_of("src_c/plan.c"))
    cython = [command for command in build.commands if any("_engine.c" in a for a in command)]
    assert "-Werror" not in cython[0]


def test_what_is_up_to_date_is_kept_and_what_changed_is_built_again(build):
    assert build.run() == 0, build.output
    assert build.run() == 0
    assert build.commands == []
    later = time.time() + 10
    os.utime(build.folder / "src_c/plan.c", (later, later))
    assert build.run() == 0
    assert [c for c in build.commands if "src_c/plan.c" in c]
    assert not [c for c in build.commands if "src_c/runtime.c" in c]


def test_other_settings_build_everything_again_even_after_a_failure(build):
    assert build.run() == 0, build.output
    assert build.run(FASTBP_DEBUG="1", refuse="*src_c/isa/avx2.c*") == 1
    assert build.run(FASTBP_DEBUG="1") == 0
    n_sources = len(list((ROOT / "src_c").rglob("*.c"))) + 2
    assert sum("-c" in command for command in build.commands) == n_sources
    assert all("-O1" in command for command in build.commands if "-c" in command)


@pytest.mark.parametrize("arguments", [[], ["--parallel=3"], ["--inplace"]])
def test_force_parallel_and_inplace(build, arguments):
    for _ in range(2):
        assert build.run(*arguments, "--force") == 0, build.output
        assert len(build.links) == 2
