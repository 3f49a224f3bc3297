"""Files that appear, or are replaced, in one piece."""

import errno
import fcntl
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PIECE = 1 << 20


def name_file(error: OSError, path: str | os.PathLike[str]) -> None:
    """Say which file it was, where the error does not, as on a full disk."""
    if error.filename is None:
        error.filename = os.fspath(path)


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` into a file in one piece, whatever happens meanwhile.

    It is written beside the file, read back, and only then takes its place. A link stays, and the
    file that it points to is replaced.

    Raises
    ------
    OSError
        The file cannot be written, or is none (a folder, device or pipe); it is as it was. If only
        the folder cannot be synced, the new file is in place, but may not survive a power cut.
    """
    target = _target(path)
    if target.exists() and not target.is_file():
        raise OSError(f"{os.fspath(path)} exists and is not a regular file; choose another name")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with _folder_of(target) as folder:
            _write_beside(temporary, data)
            os.replace(temporary, target)
            if folder is not None:
                os.fsync(folder)  # the new name survives a power cut
    except BaseException as error:
        with suppress(OSError):  # what has failed first is what is told
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = os.fspath(path), None  # not the file beside it
        raise


def _write_beside(temporary: Path, data: bytes) -> None:
    with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _read_back(temporary, data)


@contextmanager
def _folder_of(target: Path) -> Iterator[int | None]:
    """Open a file's folder, to be synced, where folders can be opened for that."""
    if not hasattr(os, "O_DIRECTORY"):
        yield None
        return
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    with _closing(descriptor):
        yield descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


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
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current():
                    return
            except OSError as error:
                self._file.close()
                if isinstance(error, BlockingIOError):
                    name = os.fspath(path)
                    message = "another fit, here or in another process, is saving to it"
                    raise BlockingIOError(error.errno, message, name) from error
                name_file(error, path)
                raise
            except BaseException:  # Ctrl-C, whose traceback may hold this object for a while
                self._file.close()
                raise
            self._file.close()

    def _is_current(self) -> bool:
        """Whether its holder before has not removed the file since we opened it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._lock))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let others have it, and leave the file, now that its turn to be removed may be over."""
        self._file.close()

    def release(self) -> None:
        """Remove the file and let others have it, if they have not got it already."""
        if self._file.closed:
            return
        try:
            try:
                self._lock.unlink(missing_ok=True)
            finally:
                self._file.close()
        except OSError as error:
            name_file(error, self._lock)
            raise


def _target(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))


def _read_back(path: Path, data: bytes) -> None:
    """Raise OSError unless the file is what was written."""
    with open(path, "rb") as file:
        for begin in range(0, len(data), _PIECE):
            if file.read(_PIECE) != data[begin : begin + _PIECE]:
                raise OSError(errno.EIO, "what was written cannot be read back", str(path))
