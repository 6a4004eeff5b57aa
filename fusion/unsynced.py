"""A note beside a journal whose end may be missing: one written without syncs, as what only the system's
memory has of it goes with the machine's power, and one that was left out for a while.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from fusion.files import replaced_file, sync_directory, write_all

# Another one after each start of the machine.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# No start of any machine.
_LEFT_OUT = b"left out"


class UnsyncedNote:
    """The file at `path`: since which start of the machine a journal is written without syncs.

    Every method raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = _boot_id()

    def exists(self) -> bool:
        return self._path.exists()

    def is_old(self) -> bool:
        """The machine was started anew since, or the journal was left out: its end may be missing."""
        return self.exists() and self._path.read_bytes() != self._boot

    def write(self) -> None:
        """From here on, in this run of the machine."""
        self._put(self._boot)

    def write_left_out(self) -> None:
        """From here on the journal is not written at all."""
        self._put(_LEFT_OUT)

    def remove(self) -> None:
        """All of the journal is on the disk."""
        self._path.unlink(missing_ok=True)
        sync_directory(self._path.parent)

    def _put(self, contents: bytes) -> None:
        with replaced_file(os.fspath(self._path), sync=True) as descriptor:
            write_all(descriptor, contents)


def _boot_id() -> bytes:
    try:
        return BOOT_ID.read_bytes().strip()
    except OSError:  # where it is not told, any process may be the first one of its machine
        return uuid4().hex.encode()
