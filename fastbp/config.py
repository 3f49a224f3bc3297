"""Threads, and what this build and machine can do."""

import sys
from typing import Any

from fastbp import _engine
from fastbp._validation import as_integer


def set_num_threads(n: int) -> None:
    """Let training and prediction use up to ``n`` threads. Results do not depend on it.

    Raises
    ------
    ValueError, TypeError
        Unless ``n`` is an integer from 1 to 1024.
    """
    _engine.set_num_threads(as_integer(n, "n", 1, _engine.MOST_THREADS))


def get_num_threads() -> int:
    """Return how many threads may be used: at first what OpenMP would use.

    Never more than a limit that was put on OpenMP meanwhile, by threadpoolctl for example.
    """
    return _engine.get_num_threads()


def get_config() -> dict[str, Any]:
    """Return what `show_config` prints."""
    from fastbp import __version__  # noqa: PLC0415 -- that module imports this one

    return {
        "fastbp": __version__,
        "isa": _engine.get_isa(),
        "isas": _engine.isas(),
        "bf16": _engine.bf16_isas(),
        "threads": _engine.get_num_threads(),
    } | _engine.build_info()


def show_config() -> None:
    """Print version, instruction sets, threads, OpenMP and compiler."""
    config = get_config()
    serial = "none: this build is serial; reinstall with a compiler that has OpenMP for threads"
    rows = {
        "fastbp": config["fastbp"],
        "kernels": f"{config['isa']} (this machine runs: {', '.join(config['isas'])})",
        "bf16": ", ".join(config["bf16"]) or "none on this machine",
        "threads": config["threads"],
        "OpenMP": config["openmp"] or serial,
        "compiler": config["compiler"],
    }
    sys.stdout.writelines(f"{name:<9} {value}\n" for name, value in rows.items())
