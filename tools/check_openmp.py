"""Check that every OpenMP region names its thread count.

A region without one takes whatever OpenMP finds in the environment, and `set_num_threads` and the
rule that small nets stay on one thread no longer hold. Looked for are `#pragma omp ... parallel`
in C, and `prange` and `parallel()` in Cython; a `prange` inside `with parallel(num_threads=...)`
takes the count from there.

Usage: ``python tools/check_openmp.py [FILE_OR_FOLDER ...]``, by default ``fastbp src_c``. Exit
status 0 if all regions do, 1 with a line ``file:line: what is wrong`` for each that does not, 2
if there is nothing to check.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {".c", ".h", ".pyx", ".pxd", ".pxi", ".py"}
CYTHON = {".pyx", ".pxd", ".pxi", ".py"}
PRAGMA = re.compile(r"(?:#\s*pragma|_Pragma\s*\(\s*\")\s*omp\b(?:[^\n\\]|\\.|\\\n)*")
CALL = re.compile(r"\b(prange|parallel)\s*\(")
COMMENT_OR_STRING = re.compile(
    r"#[^\n]*|'''.*?'''|\"\"\".*?\"\"\"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL
)


def blanked(text: str) -> str:
    """Return the text with comments and strings turned into spaces, lines kept."""
    return COMMENT_OR_STRING.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def arguments(text: str, start: int) -> str:
    """Return what stands between the parenthesis that opens before ``start`` and its end."""
    depth = 1
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start:end]
    return text[start:]


def indentation(line: str) -> int:
    """Return the number of blanks that the line starts with."""
    return len(line) - len(line.lstrip())


def in_parallel_block(code: str, start: int) -> bool:
    """Whether the line of ``start`` is nested in a ``with ... parallel(...)`` block."""
    *above, line = code[:start].split("\n")
    indent = indentation(line)
    for outer in reversed(above):
        if outer.strip() and indentation(outer) < indent:
            indent = indentation(outer)
            if re.search(r"\bwith\b.*\bparallel\s*\(", outer):
                return True
    return False


def unbounded_regions(text: str, cython: bool) -> Iterator[tuple[int, str]]:
    """Yield position and name of each region that does not name its thread count."""
    for found in PRAGMA.finditer(text):
        if re.search(r"\bparallel\b", found[0]) and "num_threads" not in found[0]:
            yield found.start(), "omp parallel"
    if not cython:
        return
    code = blanked(text)
    for found in CALL.finditer(code):
        if "num_threads" in arguments(code, found.end()):
            continue
        if found[1] == "parallel" or not in_parallel_block(code, found.start()):
            yield found.start(), found[1]


def check(path: Path) -> list[str]:
    """One message for each faulty region of a file."""
    text = path.read_text(encoding="utf-8")
    return [
        f"{path}:{text.count(chr(10), 0, at) + 1}: {name} without num_threads"
        for at, name in sorted(unbounded_regions(text, path.suffix in CYTHON))
    ]


def main(argv: list[str]) -> int:
    """Check files and folders; return the exit status."""
    files = []
    for path in map(Path, argv or ["fastbp", "src_c"]):
        files += sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [path for path in files if path.suffix in SUFFIXES and path.is_file()]
    if not files:
        print("check_openmp: no C or Cython file to check", file=sys.stderr)
        return 2
    messages = [message for path in files for message in check(path)]
    print("\n".join(messages or [f"check_openmp: {len(files)} files, every region bounded"]))
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
