"""Files that appear, or are replaced, in one piece."""

import errno
import fcntl
import glob
import os
import secrets
from pathlib import Path

_PIECE = 1 << 20


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` into a file in one piece, whatever happens meanwhile.

    It is written beside the file, read back, and only then takes its place. A link stays, and the
    file that it points to is replaced.

    Raises
    ------
    OSError
        The file cannot be written, or is none (a folder, device or pipe); it is as it was.
    """
    target = _target(path)
    if target.exists() and not target.is_file():
        raise OSError(f"{os.fspath(path)} exists and is not a regular file; choose another name")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _read_back(temporary, data)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = os.fspath(path)  # a full disk does not say which file
        raise
    _sync_folder(target.parent)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed in `replace_file` have left beside a file.

    Only for a file that no other process is writing.
    """
    target = _target(path)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.{'?' * 16}.tmp"):
        leftover.unlink(missing_ok=True)


class FileLock:
    """A lock on the name of a file, for one holder in all processes of a machine.

    It ends with the process, also when that is killed, or with this object. ``.<name>.lock`` beside
    the file stands for it.

    Raises
    ------
    OSError
        BlockingIOError where another holds it; others where there can be no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        target = _target(path)
        self._lock = target.with_name(f".{target.name}.lock")
        while True:
            self._file = open(self._lock, "ab")  # noqa: SIM115 -- open as long as the lock is held
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                if isinstance(error, BlockingIOError):
                    name = os.fspath(path)
                    message = "another fit, here or in another process, is saving to it"
                    raise BlockingIOError(error.errno, message, name) from error
                raise
            if self._is_current():
                return
            self._file.close()

    def _is_current(self) -> bool:
        """Whether its holder before has not removed the file since we opened it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._lock))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have it."""
        self._lock.unlink(missing_ok=True)
        self._file.close()


def _target(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))


def _read_back(path: Path, data: bytes) -> None:
    """Raise OSError unless the file is what was written."""
    with open(path, "rb") as file:
        for begin in range(0, len(data), _PIECE):
            if file.read(_PIECE) != data[begin : begin + _PIECE]:
                raise OSError(errno.EIO, "what was written cannot be read back", str(path))


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where folders can be opened for that."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
