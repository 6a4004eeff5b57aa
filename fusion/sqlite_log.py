"""The log in a SQLite database: one connection, used by one thread at a time.

SQLite makes each group whole or absent and survives power cuts. What it does not tell is added here: every
row has a checksum of its own, and the number of the newest acknowledged record is kept in a small file beside
the database. For where the write-ahead log is damaged, SQLite forgets the rest of it without a word.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c

from fusion.errors import DiskFull, FusionError, JournalDamaged, JournalFailed, SequenceConflict
from fusion.files import sync_directory

APPLICATION_ID = 0x4675734A
VERSION = 1
# Larger ones save large groups a little time, and write more than twice as much for a row.
PAGE_BYTES = 4096
# The longest write-ahead log before its pages go to the database, which the append that comes then waits for.
WAL_PAGES = 1024
# Deleted with one append, at least: no pause. With a large group it is twice the group: rows go faster than
# they come in.
TRIM_ROWS = 64
TRIM_BYTES = 16 << 20

_MARK = struct.Struct("<QI")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def checksum(sequence: int, record: bytes) -> int:
    """CRC32C of the number and the record, so that no record can stand in another one's place."""
    return int(google_crc32c.extend(google_crc32c.value(sequence.to_bytes(8, "little")), record))


class SqliteLog:
    """A Log in the database at `path`, which is made when it is absent. Raises JournalDamaged, JournalFailed.

    sync: an append returns when its records are on the disk. Without it they survive the end of the process,
    but not of the machine's power; the database itself stays whole.
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._trim_upto = 0
        self._broken = False
        self._last = 0
        self._acknowledged = 0
        self._mark = self._probe = -1
        self._connection: sqlite3.Connection | None = None
        try:
            self._open_mark()
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def last_sequence(self) -> int:
        return self._last

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    def append(self, records: Sequence[bytes], expected: int) -> int:
        if self._broken:
            self._mend()
        if expected != self._last:
            raise SequenceConflict()
        last = self._last + len(records)
        rows = [
            (sequence, checksum(sequence, record), record)
            for sequence, record in enumerate(records, self._last + 1)
        ]
        try:
            self._execute("BEGIN IMMEDIATE")
            assert self._connection is not None
            self._connection.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
            trimmed = self._trim_some(records)
            self._execute("COMMIT")
            self._write_mark(last)
        except sqlite3.IntegrityError:
            self._execute("ROLLBACK")
            raise SequenceConflict() from None
        except (sqlite3.Error, OSError, MemoryError) as error:
            self._broken = True
            raise _failure(error) from None
        except BaseException:
            self._broken = True
            raise
        self._last = last
        if not trimmed:
            self._trim_upto = 0
        return last

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        expected = after + 1
        try:
            for sequence, kept, record in self._execute(
                "SELECT sequence, crc32c, record FROM log WHERE sequence > ? ORDER BY sequence", after
            ):
                if sequence != expected:
                    raise JournalDamaged(expected, "it is missing")
                if kept != checksum(sequence, record):
                    raise JournalDamaged(expected, "its checksum is wrong")
                yield sequence, record
                expected += 1
        except sqlite3.DatabaseError as error:
            raise self._verdict(error, expected) from None
        if expected <= self._last:
            raise JournalDamaged(expected, "it is missing")

    def trim(self, upto: int) -> None:
        # The newest record stays: it tells the number.
        self._trim_upto = max(self._trim_upto, min(upto, self._last - 1))

    def sync(self) -> None:
        if self._broken:
            self._mend()
        try:
            if self._one("PRAGMA wal_checkpoint(FULL)"):
                raise JournalFailed()
        except sqlite3.Error as error:
            self._broken = True
            raise _failure(error) from None

    @property
    def lease(self) -> str | None:
        try:
            holder: str | None = self._one("SELECT holder FROM lease")
        except sqlite3.Error as error:
            raise _failure(error) from None
        return holder

    def swap_lease(self, expected: str | None, holder: str | None) -> bool:
        try:
            return bool(
                self._execute("UPDATE lease SET holder = ? WHERE holder IS ?", holder, expected).rowcount
            )
        except sqlite3.Error as error:
            raise _failure(error) from None

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        for descriptor in (self._mark, self._probe):
            if descriptor >= 0:
                os.close(descriptor)
        self._mark = self._probe = -1

    # The database

    def _connect(self) -> None:
        is_new = not self._path.exists()
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
            )
            self._configure()
            if is_new:
                sync_directory(self._path.parent)
            found = self._one("SELECT max(sequence) FROM log")
        except (sqlite3.Error, OSError) as error:
            raise self._verdict(error, self._acknowledged) from None
        self._last = found or 0

    def _verdict(self, error: sqlite3.Error | OSError, sequence: int) -> FusionError:
        """What an error means that was met while reading up to there.

        SQLite tells of pages that the disk does not give as of damaged ones, and they may come back.
        """
        failure = _failure(error, sequence)
        if isinstance(failure, JournalDamaged):
            try:
                self._read_through()
            except OSError as unreadable:
                return _failure(unreadable)
        return failure

    def _read_through(self) -> None:
        """Every byte of the database and of the write-ahead log. Raises OSError."""
        if self._probe < 0:
            # For as long as the database is open: with its end all locks of the file would go.
            self._probe = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        at = 0
        while data := os.pread(self._probe, 1 << 20, at):
            at += len(data)
        with suppress(FileNotFoundError), open(f"{self._path}-wal", "rb", buffering=0) as ahead:
            while ahead.read(1 << 20):
                pass

    def _configure(self) -> None:
        self._execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self._execute("PRAGMA locking_mode = EXCLUSIVE")
        if self._one("PRAGMA journal_mode = WAL") != "wal":
            raise JournalFailed("the file system of the data directory cannot hold a write-ahead log")
        if self._sync or self._broken:
            self._write_again()
        self._execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
        self._execute("PRAGMA secure_delete = OFF")
        self._execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        if not self._one("SELECT count(*) FROM sqlite_schema"):
            self._create()
        if self._one("PRAGMA application_id") != APPLICATION_ID:
            raise JournalDamaged(0, f"{self._path.name} is no journal")
        if (version := self._one("PRAGMA user_version")) != VERSION:
            raise JournalDamaged(0, f"it was written by another version (its format is {version})")

    def _create(self) -> None:
        self._execute("BEGIN IMMEDIATE")
        self._execute(
            "CREATE TABLE log (sequence INTEGER PRIMARY KEY, crc32c INTEGER NOT NULL, record BLOB NOT NULL)"
        )
        self._execute("CREATE TABLE lease (holder TEXT)")
        self._execute("INSERT INTO lease VALUES (NULL)")
        self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._execute(f"PRAGMA user_version = {VERSION}")
        self._execute("COMMIT")

    def _write_again(self) -> None:
        """The write-ahead log as it was left gets to the disk, by writing every byte of it in its place.

        It is what the system's memory shows, but its last sync may have failed, after which the system may
        hold its pages for clean: more of the log would be built upon what the power can take away.
        """
        descriptor = os.open(f"{self._path}-wal", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            at = 0
            while data := os.pread(descriptor, 1 << 20, at):
                at += os.pwrite(descriptor, data, at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        assert self._connection is not None, "the log is closed"
        return self._connection.execute(statement, values)

    def _one(self, statement: str) -> Any:
        row = self._execute(statement).fetchone()
        return None if row is None else row[0]

    def _trim_some(self, group: Sequence[bytes]) -> int:
        if not self._trim_upto:
            return 0
        left, upto = max(TRIM_BYTES, 2 * sum(map(len, group))), 0
        for sequence, size in self._execute(
            "SELECT sequence, length(record) FROM log WHERE sequence <= ? ORDER BY sequence LIMIT ?",
            self._trim_upto,
            max(TRIM_ROWS, 2 * len(group)),
        ).fetchall():
            left -= size
            if upto and left < 0:
                break
            upto = sequence
        return self._execute("DELETE FROM log WHERE sequence <= ?", upto).rowcount

    def _mend(self) -> None:
        """After a failure: what was not acknowledged goes, and what is kept leaves the file whose sync
        failed.

        The system may hold pages of the write-ahead log for clean that never reached the disk, so nothing may
        be built upon it: it is written again, its contents go to the database, and it begins from nothing.
        """
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        wanted = self._last
        self._connect()
        found, self._last = self._last, wanted
        if found < wanted:
            raise JournalFailed(f"the journal ends at record {found}, and {wanted} was acknowledged")
        try:
            self._execute("DELETE FROM log WHERE sequence > ?", wanted)
            if self._one("PRAGMA wal_checkpoint(TRUNCATE)"):
                raise JournalFailed()
            self._write_mark(wanted)
        except (sqlite3.Error, OSError) as error:
            raise _failure(error) from None
        self._broken = False

    # The mark

    def _open_mark(self) -> None:
        path = self._path.with_name("acknowledged")
        has_records = self._path.exists()
        try:
            is_new = not path.exists()
            if is_new and has_records:
                raise JournalDamaged(0, f"the file '{path.name}' is missing")
            self._mark = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            data = os.pread(self._mark, _MARK.size, 0)
            if not data and not has_records:
                self._write_mark(0)
                os.fsync(self._mark)
                sync_directory(path.parent)
                return
        except OSError as error:
            raise _failure(error) from None
        if len(data) != _MARK.size or google_crc32c.value(data[:8]) != _MARK.unpack(data)[1]:
            raise JournalDamaged(0, f"the file '{path.name}' is damaged")
        self._acknowledged = _MARK.unpack(data)[0]
        if self._acknowledged and not has_records:
            raise JournalDamaged(1, f"the file '{self._path.name}' is missing")

    def _write_mark(self, sequence: int) -> None:
        """One write of a few bytes, which the end of the process cannot divide.

        It is never ahead of the database.
        """
        number = sequence.to_bytes(8, "little")
        data = number + google_crc32c.value(number).to_bytes(4, "little")
        if os.pwrite(self._mark, data, 0) != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._acknowledged = sequence


def _failure(error: sqlite3.Error | OSError | MemoryError, sequence: int | None = None) -> FusionError:
    """The error to tell; `sequence`: where it was met while reading, when damage is final."""
    if isinstance(error, MemoryError):
        return JournalFailed("the journal failed: not enough memory")
    if isinstance(error, OSError):
        return DiskFull() if error.errno in _FULL else JournalFailed(f"the journal failed: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull()
    if sequence is not None and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return JournalDamaged(sequence, str(error))
    return JournalFailed(f"the journal failed: {error}")
