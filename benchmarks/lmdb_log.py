"""A log in LMDB, to compare with: the least that appends, reads and trims records, each group synced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb

from fusion.errors import JournalDamaged
from fusion.sqlite_log import TRIM_ROWS, checksum

# Address space, not room on the disk.
MAP_BYTES = 1 << 32


class LmdbLog:
    """Keys are the records' numbers, values a CRC32C and the record. `version` is 0 or 1: LMDB 0.9 or 1.0."""

    def __init__(self, directory: Path, version: int) -> None:
        self._environment = lmdb.open(str(directory), map_size=MAP_BYTES, lib_version=version)
        self._trim_upto = 0
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            self.last_sequence = int.from_bytes(cursor.key(), "big") if cursor.last() else 0

    def append(self, records: Sequence[bytes], expected: int) -> int:
        with self._environment.begin(write=True) as transaction:
            for sequence, record in enumerate(records, expected + 1):
                value = checksum(sequence, record).to_bytes(4, "little") + record
                transaction.put(sequence.to_bytes(8, "big"), value, append=True)
            self._trim_some(transaction.cursor())
        self.last_sequence = expected + len(records)
        return self.last_sequence

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        with self._environment.begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            cursor.set_range((after + 1).to_bytes(8, "big"))
            for expected, (key, value) in enumerate(cursor, after + 1):
                record = bytes(value[4:])
                if int.from_bytes(key, "big") != expected:
                    raise JournalDamaged(expected, "it is missing")
                if int.from_bytes(value[:4], "little") != checksum(expected, record):
                    raise JournalDamaged(expected, "its checksum is wrong")
                yield expected, record

    def trim(self, upto: int) -> None:
        self._trim_upto = upto

    def close(self) -> None:
        self._environment.close()

    def _trim_some(self, cursor: lmdb.Cursor) -> None:
        for _ in range(TRIM_ROWS):
            if not cursor.first() or int.from_bytes(cursor.key(), "big") > self._trim_upto:
                return
            cursor.delete()
