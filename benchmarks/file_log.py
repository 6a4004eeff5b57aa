"""A log in plain files, to compare with: append, CRC32C, fdatasync, and no search for damage at its end."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from fusion.errors import JournalDamaged
from fusion.files import sync_directory
from fusion.sqlite_log import checksum

SEGMENT_BYTES = 4 << 20

_HEAD = struct.Struct("<QII")  # number, length, checksum


class FileLog:
    """Segments named after their first record; one goes when all of its records are trimmed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segments = sorted(int(path.name) for path in directory.iterdir())
        self._trim_upto = 0
        self.last_sequence = 0
        if not self._segments:
            self._file = self._new_segment(1)
        else:
            for sequence, _ in self._records(self._segments[-1]):
                self.last_sequence = sequence
            self._file = os.open(self._path(self._segments[-1]), os.O_WRONLY | os.O_APPEND)

    def append(self, records: Sequence[bytes], expected: int) -> int:
        if os.fstat(self._file).st_size >= SEGMENT_BYTES:
            os.close(self._file)
            self._file = self._new_segment(expected + 1)
        group = b"".join(
            _HEAD.pack(sequence, len(record), checksum(sequence, record)) + record
            for sequence, record in enumerate(records, expected + 1)
        )
        assert os.write(self._file, group) == len(group)
        os.fdatasync(self._file)
        self._trim_some()
        self.last_sequence = expected + len(records)
        return self.last_sequence

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        for first, following in pairwise([*self._segments, self.last_sequence + 2]):
            if following > after + 1:
                yield from (found for found in self._records(first) if found[0] > after)

    def trim(self, upto: int) -> None:
        self._trim_upto = upto

    def close(self) -> None:
        os.close(self._file)

    def _new_segment(self, first: int) -> int:
        file = os.open(self._path(first), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
        sync_directory(self._directory)
        self._segments.append(first)
        return file

    def _trim_some(self) -> None:
        while len(self._segments) > 1 and self._segments[1] <= self._trim_upto + 1:
            self._path(self._segments.pop(0)).unlink()

    def _path(self, first: int) -> Path:
        return self._directory / f"{first:020d}"

    def _records(self, first: int) -> Iterator[tuple[int, bytes]]:
        data = self._path(first).read_bytes()
        at = 0
        while at < len(data):
            sequence, length, kept = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            record = data[at : at + length]
            if kept != checksum(sequence, record):
                raise JournalDamaged(sequence, "its checksum is wrong")
            yield sequence, record
            at += length
