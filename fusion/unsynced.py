"""A note beside a journal that is written without syncs: what only the system's memory has of it goes with
the machine's power.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from fusion.files import replaced_file, sync_directory

# Another one after each start of the machine.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        """The machine was started anew since: the journal's end may be lost."""
        return self.exists() and self._path.read_bytes() != self._boot

    def write(self) -> None:
        """From here on, in this run of the machine."""
        with replaced_file(os.fspath(self._path), sync=True) as descriptor:
            os.write(descriptor, self._boot)

    def remove(self) -> None:
        """All of the journal is on the disk."""
        self._path.unlink(missing_ok=True)
        sync_directory(self._path.parent)


def _boot_id() -> bytes:
    try:
        return BOOT_ID.read_bytes().strip()
    except OSError:  # where it is not told, any process may be the first one of its machine
        return uuid4().hex.encode()
