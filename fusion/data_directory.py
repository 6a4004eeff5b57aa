"""The data directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from fusion.errors import DataDirectoryInUse
from fusion.files import sync_directory

# No datastore can have this name, which is that of its folder.
_LOCK_NAME = ".lock"


class DataDirectory:
    """The directory at `path`, made when it is absent, and locked until `close` or the end of the process.

    Raises DataDirectoryInUse when another process has it, and OSError.
    """

    def __init__(self, path: Path) -> None:
        absent = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in absent:
            sync_directory(each.parent)
        self._lock = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise DataDirectoryInUse(f"{path} is in use by another process (id {holder})") from None
        with suppress(OSError):  # it helps a person, and the disk may be full
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
