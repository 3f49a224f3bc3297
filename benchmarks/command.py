"""What the commands grid.py and scaling.py have in common: options, a log, runs kept as JSON."""

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any


def positive(number: type) -> Any:
    """Return a converter that takes numbers above zero only."""

    def convert(given: str) -> Any:
        if not (value := number(given)) > 0:
            raise ValueError(given)
        return value

    convert.__name__ = f"positive {number.__name__}"
    return convert


def parser(about: str, seconds: float) -> argparse.ArgumentParser:
    """Return a parser with the options of both, given the module's docstring."""
    first, _, details = about.partition("\n\n")
    options = argparse.ArgumentParser(
        description=first, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    add("--seconds", type=positive(float), default=seconds, help="least time of a measurement")
    add("--rounds", type=positive(int), default=7, help="default: 7")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE", help="draw them (needs matplotlib)")
    add("--from-json", type=Path, metavar="FILE", help="print and draw a run of before")
    return options


def save(run: dict[str, Any], options: argparse.Namespace) -> None:
    """Write a run, or what there is of it, if --json asks for it."""
    if options.json:
        options.json.write_text(json.dumps(run, indent=1), encoding="utf-8")


def measured_or_read(
    options: argparse.Namespace, measured: Callable[[argparse.Namespace], dict[str, Any]]
) -> dict[str, Any]:
    """Return the run that --from-json names, or else a new one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.from_json:
        return json.loads(options.from_json.read_text(encoding="utf-8"))
    return measured(options)
