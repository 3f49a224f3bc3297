"""Where and with what something was measured."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastbp

from .variants import CPUS

PACKAGES = ("numpy", "torch", "jax", "jaxlib", "scikit-learn")
FOLDER = Path(__file__).parent
CPU_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")


def cpu_model() -> str:
    """Return the CPU's name, with family, model and stepping where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    numbers = "-".join(fields.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return f"{fields.get('model name', platform.machine())} ({numbers})"


def caches() -> dict[str, str]:
    """Return the size of each cache that one core sees."""
    sizes = {}
    for cache in sorted(CPU_FOLDER.glob("index*")):
        level, kind, size = ((cache / n).read_text().strip() for n in ("level", "type", "size"))
        sizes[f"L{level} {kind.lower()}"] = size
    return sizes


def git(*arguments: str) -> str | None:
    """Return what git prints, or None where there is no git or no repository."""
    command = ["git", "-C", str(FOLDER), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def description() -> dict[str, Any]:
    """Return date, commit, machine and versions."""
    commit, changes = git("rev-parse", "--short", "HEAD"), git("status", "--porcelain", "-uno")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": f"{commit} with changes" if commit and changes else commit,
        "cpu": cpu_model(),
        "cpus": CPUS,
        "caches": caches(),
        "system": platform.platform(),
        "versions": versions(),
        "fastbp": fastbp.get_config(),
    }
