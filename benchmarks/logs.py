"""The logs that are compared. All check records by CRC32C and sync each group.

Fusion's does more: it keeps a mark of the newest acknowledged record, tells failures apart and mends itself
after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol
from unittest import mock

import lmdb
from file_log import FileLog
from lmdb_log import LmdbLog

from fusion import sqlite_log
from fusion.sqlite_log import SqliteLog

LARGE_PAGE_BYTES = 16384


class BareLog(Protocol):
    """What is measured of a log; see fusion/log.py."""

    @property
    def last_sequence(self) -> int: ...
    def append(self, records: Sequence[bytes], expected: int) -> int: ...
    def read(self, after: int) -> Iterator[tuple[int, bytes]]: ...
    def trim(self, upto: int) -> None: ...
    def close(self) -> None: ...


def _sqlite(directory: Path) -> SqliteLog:
    return SqliteLog(directory / "log.sqlite3", sync=True)


def _sqlite_with_large_pages(directory: Path) -> SqliteLog:
    with mock.patch.object(sqlite_log, "PAGE_BYTES", LARGE_PAGE_BYTES):
        return _sqlite(directory)


def _lmdb_name(version: int) -> str:
    return "LMDB " + ".".join(map(str, lmdb.version(lib_version=version)))


SQLITE = "SqliteLog"
SQLITE_LARGE_PAGES = "SqliteLog, page_size 16384"
LMDB_0, LMDB_1 = map(_lmdb_name, (0, 1))
FILE = "a plain file"

# Each is given a directory of its own, which is there.
LOGS: dict[str, Callable[[Path], BareLog]] = {
    SQLITE: _sqlite,
    SQLITE_LARGE_PAGES: _sqlite_with_large_pages,
    LMDB_0: partial(LmdbLog, version=0),
    LMDB_1: partial(LmdbLog, version=1),
    FILE: FileLog,
}
OWN = (SQLITE, SQLITE_LARGE_PAGES)
