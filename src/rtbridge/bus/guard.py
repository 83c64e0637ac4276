"""Who may serve `memory://`: one process at a time, the holder of a lock file.

What one process keeps in memory another does not know; two that serve would each answer with half of the
truth. The lock is a POSIX record lock: the system lets go of it when the process ends however it ends, and
the child of a fork does not inherit it. Its trap: closing *any* descriptor of the file in this process lets
go of it as well. So a descriptor that was opened is kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from rtbridge.errors import ConfigError

if sys.platform != "win32":
    import fcntl


def lock_path(app_key: str) -> Path:
    """The lock file of one application for the present user. Makes its directory.

    Raises:
        ConfigError: if others could write to the directory, or it is not ours.
    """
    user = os.getuid() if sys.platform != "win32" else 0
    directory = Path(tempfile.gettempdir()) / f"rtbridge-{user}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if sys.platform != "win32" and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022
    ):
        raise ConfigError(f"{directory} must be a directory that only this user can write to; remove it")
    return directory / f"{hashlib.sha256(app_key.encode()).hexdigest()[:16]}.lock"


class ServingGuard:
    """One application's right to serve. On Windows, which has no such locks, everybody has it.

    Args:
        path: the lock file, in a directory that exists; see `lock_path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._holder: int | None = None  # the pid that claimed it, if it was by this object

    def claim(self) -> bool:
        """Take the lock, or say that we have it. Does not wait; where another process holds it, try again
        later.

        Raises:
        OSError: if the file cannot be opened.
        """
        pid = os.getpid()
        if self._holder == pid:
            return True
        if sys.platform == "win32":
            return True
        fd = self._lock()
        if fd is None:
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % pid, 0)
        self._holder = pid
        return True

    def holder(self) -> int | None:
        """The pid of the process that serves, as far as one can see: None if there is none."""
        if sys.platform == "win32":
            return None
        text = os.pread(self._open(), 32, 0).strip()
        if not text.isdigit():
            return None
        pid = int(text)
        if pid == os.getpid() and self._holder != pid:
            return None  # of an earlier process that had our number
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass  # it is there, but not ours
        return pid

    def _lock(self) -> int | None:
        """Lock the file that the path names *now*: the one we opened earlier may have been removed meanwhile."""
        for _ in range(3):
            fd = self._open()
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return None
            if self._is_at_path(fd):
                return fd
            self._fd = None  # not closed: another thread may be using it
        return None

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return self._fd

    def _is_at_path(self, fd: int) -> bool:
        ours = os.fstat(fd)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
