"""Files replaced as a whole: whatever happens, the name stands for the old contents or for the new ones."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def replaced_file(path: str, *, sync: bool, mode: int = 0o666) -> Iterator[int]:
    """The descriptor of a new file beside `path`, which takes its place at the end, or goes at an exception.

    sync: the contents are on the disk before the name is, and the name is before the end. mode: of the file,
    less what the umask takes.
    """
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            yield descriptor
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise
    if sync:
        sync_directory(folder or ".")


def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def stamp_of(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Changes whenever the file does; None: there is none, or none that can be reached."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def sync_directory(path: str | os.PathLike[str]) -> None:
    """The names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
