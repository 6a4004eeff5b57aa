"""A log in memory, with the failures of a real one on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fusion.errors import FusionError, JournalDamaged, JournalFailed, SequenceConflict


class MemoryLog:
    """The records outlive `close`, as a disk's would: `reopened` is the next process's log."""

    def __init__(self) -> None:
        self.records: dict[int, bytes] = {}
        self.failing: FusionError | None = None  # what the next appends raise
        self.keeps_failed = False  # whether a group that failed is there all the same, until the next append
        self.unreadable: int | None = None  # the record at which reads fail, for now
        self._last = self._acknowledged = 0
        self._trim_upto = 0
        self._lease: str | None = None
        self._unwanted: list[int] = []

    def reopened(self) -> MemoryLog:
        found = MemoryLog()
        found.records = dict(self.records)
        found._last = max(self.records, default=0)
        found._acknowledged = self._acknowledged
        found._lease = self._lease
        return found

    @property
    def last_sequence(self) -> int:
        return self._last

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    def append(self, records: Sequence[bytes], expected: int) -> int:
        if expected != self._last:
            raise SequenceConflict()
        numbered = dict(enumerate(records, self._last + 1))
        if self.failing is not None:
            if self.keeps_failed:
                self._drop_unwanted()
                self.records |= numbered
                self._unwanted = list(numbered)
            raise self.failing
        self._drop_unwanted()
        self.records |= numbered
        self._last = self._acknowledged = self._last + len(records)
        for sequence in [number for number in self.records if number <= self._trim_upto]:
            del self.records[sequence]
        return self._last

    def _drop_unwanted(self) -> None:
        for sequence in self._unwanted:
            del self.records[sequence]
        self._unwanted = []

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        for sequence in range(after + 1, self._last + 1):
            if sequence not in self.records:
                raise JournalDamaged(sequence, "it is missing")
            if sequence == self.unreadable:
                raise JournalFailed("the journal failed: disk I/O error")
            yield sequence, self.records[sequence]

    def trim(self, upto: int) -> None:
        self._trim_upto = min(upto, self._last - 1)

    def sync(self) -> None:
        pass

    @property
    def lease(self) -> str | None:
        return self._lease

    def swap_lease(self, expected: str | None, holder: str | None) -> bool:
        if expected != self._lease:
            return False
        self._lease = holder
        return True

    def close(self) -> None:
        pass
