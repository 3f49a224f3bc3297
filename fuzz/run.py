"""Fuzz one loader, or replay what is kept of it.

    python fuzz/run.py TARGET [SECONDS]     # needs atheris; what it finds is in fuzz/found
    python fuzz/run.py TARGET --replay      # the corpus once, without atheris; a line of JSON

Longer than a second, or more than 512 MiB beyond what the imports take, is a finding too.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_MB = 512


def replay(name):
    """Run a target on every file of its corpus; print the longest time and the growth in MiB."""
    from targets import TARGETS  # noqa: PLC0415 -- fuzzing imports it instrumented

    TARGETS[name](b"")  # imports and caches
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, files = 0.0, sorted((HERE / "corpus" / name).iterdir())
    for path in files:
        begun = time.perf_counter()
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            error.add_note(f"by {path}")
            raise
        slowest = max(slowest, time.perf_counter() - begun)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    found = {"inputs": len(files), "seconds": slowest, "MiB": grown}
    sys.stdout.write(f"{json.dumps(found)}\n")


def fuzz(name, seconds):
    """Fuzz without end, or for some seconds, starting from the corpus."""
    import atheris  # noqa: PLC0415 -- a replay does without

    modules = ["fastbp", "csv", "json", "gzip", "zipfile", "numpy.lib"]
    with atheris.instrument_imports(include=modules):
        import targets  # noqa: PLC0415 -- what is instrumented is found by its coverage
    targets.TARGETS[name](b"")
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found, kept = HERE / "found" / name, HERE / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        "-timeout=1",
        f"-rss_limit_mb={base + LIMIT_MB}",
        "-max_len=16384",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={found}{os.sep}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(kept)], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    if sys.argv[2:] == ["--replay"]:
        replay(sys.argv[1])
    else:
        fuzz(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 0)
