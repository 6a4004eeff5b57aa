"""The log of one datastore: numbered records that outlive the process. An interface; engines implement it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class Log(Protocol):
    """Records are bytes, numbered 1, 2, 3 ... in the order of their appends; one writer at a time.

    What `append` returned for is kept, as safely as the engine was asked to keep it. What it raised for is
    not in the log once a later append has succeeded; until then, and if the process ends before, each group
    of it is there as a whole or not at all.
    """

    @property
    def last_sequence(self) -> int:
        """The number of the newest record, 0 before the first. It never goes back, whatever is trimmed."""
        ...

    @property
    def acknowledged(self) -> int:
        """The newest record that was ever acknowledged, as far as can be told: beyond the last one, the end
        is lost.
        """
        ...

    def append(self, records: Sequence[bytes], expected: int) -> int:
        """Append a group after record `expected`; returns the new last sequence.

        Raises SequenceConflict when the last sequence is another one (somebody else writes here), DiskFull
        when there is no room, JournalFailed when it cannot be kept for another reason. All of the group is
        appended, or nothing.
        """
        ...

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records behind `after` that are not trimmed, in order.

        Raises JournalDamaged at the first one that is not what was appended, or is not there.
        """
        ...

    def trim(self, upto: int) -> None:
        """Nobody will read records up to this one again: they go, in small steps, with later appends."""
        ...

    def sync(self) -> None:
        """Everything appended is on the disk when this returns. Raises like `append`."""
        ...

    @property
    def lease(self) -> str | None:
        """Who may write, as the last successful `swap_lease` left it. Raises JournalFailed."""
        ...

    def swap_lease(self, expected: str | None, holder: str | None) -> bool:
        """Make `holder` the one who may write if `expected` still is; whether it did.

        As durable as a record.
        """
        ...

    def close(self) -> None: ...
