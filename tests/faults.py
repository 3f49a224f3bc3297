"""Calls of the operating system that fail: the k-th of a kind, once or from then on.

Only files below one folder are concerned, so that imports and fonts are read as ever.
"""

import builtins
import errno
import fcntl
import io
import os

CODES = {
    "open": errno.EMFILE,
    "write": errno.ENOSPC,
    "short write": errno.ENOSPC,
    "fsync": errno.EIO,
    "close": errno.EDQUOT,
    "replace": errno.EACCES,
    "read": errno.EIO,
    "flock": errno.ENOLCK,
    "unlink": errno.EPERM,
}


class Faults:
    """What fails; `fired` says whether it came to that, `replaced` which files were replaced."""

    def __init__(self, folder, kind, k, for_ever):
        self._folder = os.path.realpath(folder) + os.sep
        self._kind, self._k, self._for_ever = kind, k, for_ever
        self._count = 0
        self._short = False
        self._real = {"open": os.open, "close": os.close, "fsync": os.fsync}
        self._real |= {"replace": os.replace, "unlink": os.unlink, "flock": fcntl.flock}
        self._open = io.open
        self.replaced = []
        self.fired = False

    def install(self, monkeypatch):
        """Put failing calls in the place of the system's."""
        for name in ("open", "close", "fsync", "replace", "unlink"):
            monkeypatch.setattr(os, name, getattr(self, f"_os_{name}"))
        monkeypatch.setattr(fcntl, "flock", self._flock)
        for module in (builtins, io):
            monkeypatch.setattr(module, "open", self._io_open)

    def hit(self, kind, file, named=False):
        """Fail if it is the turn of this call."""
        if kind != self._kind or not self._concerns(file):
            return
        self._count += 1
        if self._count == self._k or (self._for_ever and self._count > self._k):
            self._fail(file, named)

    def short(self, file):
        """Whether this write is to write a part only; the next one then fails."""
        if self._kind != "short write" or not self._concerns(file):
            return False
        if self._short:
            self._short = self._for_ever
            self._fail(file, named=False)
        self._count += 1
        self._short = self._count == self._k
        return self._short

    def _fail(self, file, named):
        self.fired = True
        code = CODES[self._kind]
        raise OSError(code, os.strerror(code), *([os.fspath(file)] if named else []))

    def _concerns(self, file):
        if isinstance(file, int):
            try:
                file = os.readlink(f"/proc/self/fd/{file}")
            except OSError:
                return False
        path = os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
        return (os.fsdecode(path) + os.sep).startswith(self._folder)

    def _os_open(self, path, flags, mode=0o777, **options):
        self.hit("open", path, named=True)
        return self._real["open"](path, flags, mode, **options)

    def _os_close(self, descriptor):
        concerned = self._concerns(descriptor)
        self._real["close"](descriptor)
        if concerned:  # as Linux does it: closed all the same
            self.hit("close", self._folder)

    def _os_fsync(self, descriptor):
        self.hit("fsync", descriptor)
        self._real["fsync"](descriptor)

    def _os_replace(self, source, target):
        self.hit("replace", source, named=True)
        self._real["replace"](source, target)
        self.replaced.append(os.fspath(target))

    def _os_unlink(self, path, **options):
        self.hit("unlink", path, named=True)
        self._real["unlink"](path, **options)

    def _flock(self, descriptor, operation):
        self.hit("flock", descriptor)
        self._real["flock"](descriptor, operation)

    def _io_open(self, file, mode="r", buffering=-1, *args, closefd=True, opener=None, **options):
        if not self._concerns(file):
            options |= {"closefd": closefd, "opener": opener}
            return self._open(file, mode, buffering, *args, **options)
        if not isinstance(file, int) and opener is None:
            self.hit("open", file, named=True)
        raw = _Raw(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader
        kind = io.BufferedWriter if mode[0] in "wxa" and "+" not in mode else kind
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **options)


class _Raw(io.FileIO):
    def __init__(self, faults, file, mode, closefd, opener):
        self._faults = faults
        super().__init__(file, mode, closefd, opener)

    def readinto(self, buffer):
        self._faults.hit("read", self.fileno())
        return super().readinto(buffer)

    def readall(self):
        self._faults.hit("read", self.fileno())
        return super().readall()

    def write(self, data):
        self._faults.hit("write", self.fileno())
        if self._faults.short(self.fileno()):
            data = memoryview(data)[: max(len(data) // 2, 1)]
        return super().write(data)

    def close(self):
        if not self.closed:
            concerned = self._faults._concerns(self.fileno())
            super().close()
            if concerned:
                self._faults.hit("close", self._faults._folder)
