"""The `fastbp` command; needs the extra ``cli``.

`app` declares the commands and gives exit statuses, `options` their options; `train`, `predict` and
`inspect` do them, `trained` reads models back, `report` prints, `files` guards and writes files.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; the process's own if left out.

    Returns
    -------
    int
        0; 2 for bad input; 1 for failures; 130 after Ctrl-C; 143 when a training got SIGTERM.
    """
    try:
        from fastbp.cli.app import run  # noqa: PLC0415 -- needs the extra, whose absence is explained
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fastbp"):
            raise
        package = error.name.partition(".")[0]
        sys.stderr.write(f"fastbp: needs {package}: pip install 'fastbp[cli]'\n")
        return 1
    return run(sys.argv[1:] if arguments is None else arguments)
