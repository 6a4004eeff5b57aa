"""A datastore's checkpoints: the index and the rest of its state after one record, each in a file of its own.

The two newest are kept, so that a damaged one can be done without; the journal reaches back to the older of
them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fusion._index import Instant, PathIndex

KEPT = 2

_NAME = re.compile(r"checkpoint-([0-9]{20})\.fusion")


class Checkpoints:
    """The checkpoints in a directory, named by the number of the last record in them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sequence: int) -> Path:
        return self._directory / f"checkpoint-{sequence:020}.fusion"

    def sequences(self) -> list[int]:
        """The newest first. Raises OSError."""
        found = (_NAME.fullmatch(name) for name in os.listdir(self._directory))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def size_bytes(self, sequence: int) -> int:
        return self.path(sequence).stat().st_size

    def write(self, instant: Instant, sequence: int, pace: Callable[[], object]) -> int:
        """Save an instant and bring it to the disk; returns the file's size in bytes.

        `pace` is called now and then, and ends it by raising. Older ones go. Raises OSError.
        """
        size = instant.save(self.path(sequence), sync=True, pace=pace)
        for older in self.sequences()[KEPT:]:
            self.path(older).unlink(missing_ok=True)
        return size

    def read(self, sequence: int) -> tuple[PathIndex, bytes]:
        """The index and its note. Raises DamagedFile, OSError."""
        path = self.path(sequence)
        return PathIndex.load(path), PathIndex.read_note(path)

    def set_aside(self, sequence: int) -> None:
        """A damaged one: it is kept for whoever wants to look at it, and does not count any more.

        Raises OSError.
        """
        path = self.path(sequence)
        path.rename(path.with_name(f"{path.name}.damaged"))

    def remove_unfinished(self) -> None:
        """What a process that was killed left of a checkpoint."""
        for path in self._directory.glob(".checkpoint-*.tmp"):
            with suppress(OSError):
                path.unlink()
