"""Run the tests on a build with the checks of a compiler, or under Valgrind.

Each check copies the checkout to a temporary folder, builds and installs the package there, and
runs tests on it; the checkout stays as it is. Needs what the tests need (extra ``test``).

=========  ==========================================================  ==========================
check      finds                                                       needs
=========  ==========================================================  ==========================
address    accesses outside of memory, undefined behaviour, leaks      gcc with libasan, libubsan
thread     two threads at the same memory, one of them writing,        clang with libomp, Archer
           without a barrier between them                              and its shared runtimes
debug      indices out of range and None in the Cython modules         any compiler
memcheck   memory that is read before it is written, and leaks         valgrind
=========  ==========================================================  ==========================

``thread`` first runs two programs of its own: one with a data race that must be reported, one
without that must not. A runtime of ThreadSanitizer that fails either is not used.

Usage: ``python tools/sanitizers.py [--folder FOLDER] CHECK [-- ARGUMENTS_OF_PYTEST]``. Exit status
0 if tests pass, all, and no report has a frame of fastbp; 1 otherwise; 2 if it cannot be made here.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
# "build" is also tests/build, of which these checks would only see the compiler
NOT_COPIED = (".git", ".venv*", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache")
# Of frames, as the build maps the paths of sources to relative ones.
OURS = re.compile(r"\bfbp_|fastbp|\bsrc_c/")
FRAME = re.compile(r"^(?:==\d+==)? +(?:#\d+ |at 0x|by 0x).*", re.MULTILINE)
# Tests that measure or limit memory, or preload a library of their own
NOT_WITH_ADDRESS = (
    "--ignore=tests/engine/test_memory.py",
    "--ignore=tests/engine/test_out_of_memory.py",
    "--ignore=tests/engine/test_thread_limits.py",
    "--deselect=tests/engine/test_fork.py::test_forks_train_on_with_libomp_in_place_of_libgomp",
)
# By rows, by weights and by slabs, with clipping; bf16, sparse X, dropout; several fits at once
TEAMS = tuple(f"tests/engine/test_{name}.py" for name in ("bits", "bf16", "sparse", "dropout"))
TEAMS += ("tests/estimators/test_fits_at_once.py", "-k", "test_threads or 2threads or bf16 or fits")
# The table that Valgrind can run
QUICK = tuple(f"tests/engine/test_{name}.py" for name in ("per_sample", "sparse", "forward"))
QUICK += ("-k", "avx2 and 2threads and float32")
# Where a report begins: of the sanitizers, and (a paragraph) of Valgrind.
BEGINNING = re.compile(
    r"^(?==+\d+=+ ?ERROR|(?:In)?[Dd]irect leak|WARNING: Thread|\S+ runtime error|==\d+== ?\n)",
    re.MULTILINE,
)
WITHOUT_RACE = """
static double a[1000], b[1000];
int main(void)
{
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 1000; i++)
        a[i] = i;
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 1000; i++)
        b[i] = a[999 - i];
    return b[0] != 999;
}
"""
WITH_RACE = """
static int total;
int main(void)
{
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 1000; i++)
        total += i;
    return total < 0;
}
"""


class CannotCheck(Exception):
    """Something that the check needs is missing."""


@dataclass(frozen=True)
class Check:
    """How to build, how to run, and which tests."""

    compiler: str = "cc"
    flags: tuple[str, ...] = ("-g", "-O1")
    environment: dict[str, str] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)  # of setup.py
    command: tuple[str, ...] = ()  # that runs Python
    tests: tuple[str, ...] = ()


def address(reports: Path) -> Check:
    """AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer of gcc."""
    libraries = [library_of("gcc", name) for name in ("libasan.so", "libubsan.so")]
    options = "detect_leaks=1:strict_init_order=1:allocator_may_return_null=1:use_sigaltstack=0"
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": f"{options}:log_path={reports}/address",
        "UBSAN_OPTIONS": "print_stacktrace=1",  # to stderr, and the process ends
        # for leaks of others
        "LSAN_OPTIONS": "exitcode=0",
    }
    flags = ["-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    # Python's own flags define overflow, and fortified calls of memcpy are not looked at
    flags += ["-fno-sanitize-recover=undefined", "-fno-wrapv", "-U_FORTIFY_SOURCE"]
    return Check("gcc", tuple(flags), environment, tests=("tests", *NOT_WITH_ADDRESS))


def thread(reports: Path) -> Check:
    """ThreadSanitizer of clang, with Archer, which tells it what OpenMP's runtime does."""
    archers = sorted(glob("/usr/lib/llvm-*/lib/libarcher.so"))
    runtimes = sorted(glob("/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.tsan-x86_64.so"))
    flags = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=thread", "-shared-libsan")
    options = "ignore_noninstrumented_modules=1:exitcode=0"
    for runtime in reversed(runtimes if archers else []):
        environment = {
            "LD_PRELOAD": runtime,
            "OMP_TOOL_LIBRARIES": archers[-1],
            "TSAN_OPTIONS": f"{options}:log_path={reports}/thread",
        }
        check = Check("clang", flags, environment, tests=TEAMS)
        if tells_races(check, reports):
            return check
    raise CannotCheck("needs clang's runtime of ThreadSanitizer, libomp and Archer, that work")


def debug(_: Path) -> Check:
    """Cython's checks of indices and None."""
    return Check(switches={"FASTBP_DEBUG": "1"}, tests=("tests/engine", "tests/api"))


def memcheck(reports: Path) -> Check:
    """Memcheck of Valgrind, which knows no AVX-512."""
    command = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite", "--num-callers=30"]
    # the origin names us also where others read what we have not written
    command += ["--track-origins=yes", "--error-limit=no", f"--log-file={reports}/memcheck.%p"]
    if not shutil.which(command[0]):
        raise CannotCheck("needs valgrind")
    environment = {"PYTHONMALLOC": "malloc", "FASTBP_ISA": "avx2"}
    return Check(environment=environment, command=tuple(command), tests=QUICK)


CHECKS = {check.__name__: check for check in (address, thread, debug, memcheck)}


def library_of(compiler: str, name: str) -> str:
    """Where a compiler has a shared library; it answers with the name if it has none."""
    command = [compiler, f"-print-file-name={name}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        found = name
    if found == name:
        raise CannotCheck(f"needs {compiler} with {name}")
    return found


def tells_races(check: Check, reports: Path) -> bool:
    """Whether a program with a data race is reported, and one without is not."""
    outcomes = []
    for source in (WITHOUT_RACE, WITH_RACE):
        program = reports / "control"
        command = [check.compiler, *check.flags, "-fopenmp", "-x", "c", "-", "-o", program]
        subprocess.run(command, input=source, text=True, check=True)
        done = subprocess.run([program], env=os.environ | check.environment, check=False)
        logs = list(reports.glob("thread.*"))
        outcomes.append((done.returncode, any("data race" in log.read_text() for log in logs)))
        for file in (program, *logs):
            file.unlink()
    print("controls (status, reported):", *outcomes, check.environment["LD_PRELOAD"])
    return outcomes == [(0, False), (0, True)]


def install(check: Check, source: Path, site: Path) -> None:
    """Build a copy of the checkout, with flags that come last and so hold, and install it."""
    compiler = source.parent / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {check.compiler} "$@" {" ".join(check.flags)}\n')
    compiler.chmod(0o755)
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    command += ["--no-build-isolation", "--disable-pip-version-check", f"--target={site}", source]
    environment = os.environ | check.switches | {"CC": str(compiler)}
    subprocess.run(command, env=environment, check=True)


def run_tests(check: Check, source: Path, site: Path, arguments: list[str]) -> bool:
    """Run pytest on the installed copy; return whether it came to its end and tests passed, all.

    The exit status does not tell: where it is 0 with leaks of others, it is 0 with a crash.
    """
    results = source.parent / "results.xml"
    results.unlink(missing_ok=True)
    command = [*check.command, sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
    command += [f"--junit-xml={results}", *(arguments or check.tests)]
    environment = check.environment | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    environment["PATH"] = f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=source, env=os.environ | environment, check=False)
    suite = ElementTree.parse(results).find("testsuite[testcase]") if results.exists() else None
    return suite is not None and [suite.get(k) for k in ("errors", "failures")] == ["0", "0"]


def our_reports(folder: Path) -> Iterator[str]:
    """Yield each report that has a frame of fastbp in it."""
    for log in sorted(folder.iterdir()):
        for report in BEGINNING.split(log.read_text(errors="replace")):
            if any(OURS.search(frame) for frame in FRAME.findall(report)):
                yield report.strip()


def main() -> int:
    """Make one check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--folder", type=Path, help="keeps the build, which takes minutes")
    parser.add_argument("arguments", nargs="*", help="of pytest, after --")
    options = parser.parse_args()
    kept = options.folder and nullcontext(options.folder.resolve() / options.check)
    with kept or tempfile.TemporaryDirectory(prefix="sanitizers-") as folder:
        reports, source, site = (Path(folder, name) for name in ("reports", "source", "site"))
        shutil.rmtree(reports, ignore_errors=True)
        reports.mkdir(parents=True)
        try:
            check = CHECKS[options.check](reports)
        except CannotCheck as error:
            print(f"sanitizers: {options.check} {error}", file=sys.stderr)
            return 2
        install(check, source, site)
        passed = run_tests(check, source, site, options.arguments)
        found = list(our_reports(reports))
    print(*found, sep="\n\n")
    tests = "all passed" if passed else "FAILED, or did not come to their end"
    print(f"{options.check}: tests {tests}; {len(found)} reports with fastbp in them")
    return 0 if passed and not found else 1


if __name__ == "__main__":
    sys.exit(main())
