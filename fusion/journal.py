"""What a datastore keeps on disk: the log of its records, and checkpoints that make the log short.

One thread, the datastore's writer, calls everything but `status`, `free` and what a checkpoint does beside
it.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fusion._index import Instant, PathIndex
from fusion.checkpoints import Checkpoints
from fusion.counters import Durations
from fusion.errors import (
    DamagedFile,
    DiskFull,
    FusionError,
    JournalDamaged,
    JournalFailed,
    SequenceConflict,
)
from fusion.files import sync_directory
from fusion.log import Log
from fusion.logs import event
from fusion.sqlite_log import SqliteLog
from fusion.unsynced import UnsyncedNote

log = logging.getLogger(__name__)

FILE_NAME = "journal.sqlite3"
NOTE_NAME = "unsynced"
# What a record costs a replay beside its bytes, in bytes.
RECORD_BYTES = 512
# A checkpoint is due when the log is a good part of the newest one: their share of all writing is fixed.
# One of a small tree costs next to nothing.
CHECKPOINT_SHARE = 4
SMALL_CHECKPOINT_BYTES = 1 << 20
RETRY_SECONDS = 30.0
# How long a look at the file system counts.
SPACE_SECONDS = 0.1
# Buckets for the time of an append: fast disks, slow ones, and those in trouble.
SYNC_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a datastore goes on: `state` is what `checkpoint` was given, None without one; then come the
    records.
    """

    index: PathIndex
    state: bytes | None
    sequence: int
    last_sequence: int
    records: Iterator[tuple[int, bytes]]
    lost: int  # acknowledged records known to be gone, as an unsynced journal may lose them with the power
    unsure: bool  # others may be, or the journal was left out


class Journal:
    """The files of one datastore in `directory`.

    sync: what is appended is on the disk. checkpoint_bytes: how long the log may grow before a checkpoint, at
    least. min_free_bytes: below that much room on the disk `check_space` refuses. monotonic: the clock for
    what is looked at or tried again after a while. Nothing is touched before `recover`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sync: bool = True,
        checkpoint_bytes: int,
        min_free_bytes: int,
        open_log: Callable[..., Log] = SqliteLog,
        free_bytes: Callable[[Path], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._sync = sync
        self._checkpoint_bytes = checkpoint_bytes
        self.min_free_bytes = min_free_bytes
        self._open_log = open_log
        self._free_bytes = free_bytes or free_bytes_at
        self._monotonic = monotonic
        self._checkpoints = Checkpoints(directory)
        self._unsynced = UnsyncedNote(directory / NOTE_NAME)
        self._noted, self._unsure = False, True
        self._log: Log | None = None
        self._has_lease = False
        self._sequence = 0
        self._grown = 0  # what the records since the newest checkpoint cost a replay, in bytes
        self._writing: _Writing | None = None
        self._newest = self._newest_bytes = 0  # the newest checkpoint's sequence and size
        self._retry_at = -math.inf
        self._error: str | None = None
        self._checkpoint_error: str | None = None
        self._looked_at, self._free = -math.inf, 0
        self.sync_seconds = Durations(SYNC_BOUNDS)  # of groups: written and, with `sync`, on the disk
        self.failures = 0  # groups that could not be kept
        self.checkpoints = 0  # written
        self.checkpoint_failures = 0

    @property
    def sequence(self) -> int:
        """The newest record appended."""
        return self._sequence

    @property
    def grown_bytes(self) -> int:
        """What a recovery would have to replay."""
        return self._grown

    @property
    def free_bytes(self) -> int | None:
        """Of the disk, as it was a moment ago; None when that cannot be told."""
        return self._free if self._look() else None

    @property
    def error(self) -> str | None:
        """Why changes cannot be kept; None while all is well."""
        return self._error or self._shortage()

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; `error` and `checkpoint_error` are None while all is well."""
        newest, error, writing = self._newest, self._checkpoint_error, self._writing
        if writing is not None and not writing.is_alive():  # and not looked at yet by the writer
            newest, error = (newest, _words(writing.error)) if writing.error else (writing.sequence, None)
        return {
            "last_record": self._sequence,
            "last_checkpoint": newest,
            "checkpoint_running": writing is not None and writing.is_alive(),
            "error": self.error,
            "checkpoint_error": error,
        }

    def check_space(self) -> None:
        """Raises DiskFull when the disk has less room than it shall keep. From any thread."""
        if shortage := self._shortage():
            raise DiskFull(f"{shortage}; nothing of this batch was taken, send it again later")

    def _look(self) -> bool:
        """Whether it is known how much room the disk has."""
        now = self._monotonic()
        if now - self._looked_at > SPACE_SECONDS:
            try:
                self._free = self._free_bytes(self._directory)
            except OSError:
                return False
            self._looked_at = now
        return True

    def _shortage(self) -> str | None:
        if not self._look():
            return None  # the append will tell
        free = self._free
        return f"the server's disk has only {free} bytes left" if free < self.min_free_bytes else None

    # Recovery

    def recover(self) -> Recovered:
        """Open the files, or make them; once more at any time.

        Raises JournalDamaged, and JournalFailed, as the records do, after which it may be tried again.
        """
        if self._writing is not None:
            self._writing.join()
            self._settle()
        self._grown = self._newest = self._newest_bytes = 0
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self._directory.parent)
            self._checkpoints.remove_unfinished()
            if self._log is None:
                self._log = self._open_log(self._directory / FILE_NAME, sync=self._sync)
            self._has_lease = False
            with suppress(DiskFull):  # what is there can be shown all the same; the first append tries again
                self._take_lease()
            self._unsure, may_be_lost = self._unsynced.is_old(), self._unsynced.exists() or not self._sync
            index, state = self._read_checkpoint()
        except OSError as error:
            raise JournalFailed(f"the journal cannot be read: {error.strerror}") from None
        last = self._sequence = self._log.last_sequence
        lost = self._log.acknowledged - last
        if self._newest > last or (lost > 0 and not may_be_lost):
            known = max(self._log.acknowledged, self._newest)
            raise JournalDamaged(
                last + 1, f"records up to {known} were acknowledged, and it ends before them"
            )
        return Recovered(index, state, self._newest, last, self._records(), max(0, lost), self._unsure)

    def _take_lease(self) -> None:
        assert self._log is not None
        if not self._log.swap_lease(self._log.lease, uuid4().hex):
            raise SequenceConflict()
        self._has_lease = True

    def _read_checkpoint(self) -> tuple[PathIndex, bytes | None]:
        """The newest checkpoint that is whole."""
        for sequence in self._checkpoints.sequences():
            try:
                index, state = self._checkpoints.read(sequence)
            except DamagedFile as error:
                self._tell(
                    logging.ERROR,
                    "checkpoint_damaged",
                    f"{error}; it is set aside, and the one before it used",
                    sequence=sequence,
                )
                self._checkpoints.set_aside(sequence)
                continue
            self._newest, self._newest_bytes = sequence, self._checkpoints.size_bytes(sequence)
            return index, state
        return PathIndex(), None

    def _records(self) -> Iterator[tuple[int, bytes]]:
        assert self._log is not None
        for sequence, record in self._log.read(self._newest):
            self._grown += len(record) + RECORD_BYTES
            yield sequence, record

    # Growth

    def append(self, records: Sequence[bytes]) -> None:
        """Keep a group of records.

        Raises DiskFull, JournalFailed, SequenceConflict, and then keeps nothing of it.
        """
        assert self._log is not None
        self._settle()
        try:
            if not self._has_lease:
                self._take_lease()
            self._note()
            began = self._monotonic()
            self._sequence = self._log.append(records, self._sequence)
            self.sync_seconds.add(self._monotonic() - began)
        except FusionError as error:
            self.failures += 1
            if self._error is None:
                self._tell(logging.ERROR, "journal_failed", str(error))
            self._error = str(error)
            raise
        if self._error is not None:
            self._tell(logging.WARNING, "journal_mended", "the journal is written again")
            self._error = None
        self._unsure = False
        self._grown += sum(map(len, records)) + RECORD_BYTES * len(records)

    def _note(self) -> None:
        """Whether a power cut can take what comes now is on the disk before any of it.

        An old note stays while the first group comes, which ends the sessions: it has to be met again if that
        is lost.
        """
        if self._noted or self._unsure:
            return
        assert self._log is not None
        try:
            if not self._sync:
                self._unsynced.write()
            elif self._unsynced.exists():
                self._log.sync()
                self._unsynced.remove()
        except OSError as error:
            raise JournalFailed(f"the journal failed: {error.strerror}") from None
        self._noted = True

    @property
    def checkpoint_due(self) -> bool:
        """The log has grown long, and no checkpoint is being written."""
        share = (self._newest_bytes - SMALL_CHECKPOINT_BYTES) // CHECKPOINT_SHARE
        return (
            self._grown >= max(self._checkpoint_bytes, share, 1)
            and self._writing is None
            and self._monotonic() >= self._retry_at
        )

    def checkpoint(self, instant: Instant) -> None:
        """Save the state after the newest record in a thread of its own; `instant` has it, and its note the
        rest.

        Raises JournalFailed when the log up to there cannot be brought to the disk, where it has to be first.
        """
        assert self._log is not None
        if not self._sync:
            self._log.sync()
        writing = _Writing(self._checkpoints, instant, self._sequence, self._grown, self._written)
        self._tell(logging.INFO, "checkpoint_begun", "a checkpoint is being written", sequence=self._sequence)
        writing.start()
        self._writing = writing

    def put_off_checkpoint(self, error: Exception) -> None:
        """None can be written now; without one the log only grows longer."""
        self._checkpoint_error = _words(error)
        self.checkpoint_failures += 1
        self._tell(
            logging.ERROR, "checkpoint_failed", f"no checkpoint could be written: {self._checkpoint_error}"
        )
        self._retry_at = self._monotonic() + RETRY_SECONDS

    def _settle(self) -> None:
        """What a checkpoint that is written by now means for the log."""
        if (writing := self._writing) is None or writing.is_alive():
            return
        self._writing = None
        if writing.error is not None:
            self.put_off_checkpoint(writing.error)
            return
        assert self._log is not None
        self._checkpoint_error = None
        self._log.trim(self._newest)
        self._newest, self._newest_bytes = writing.sequence, writing.size_bytes
        self._grown -= writing.grown

    def _written(self, writing: _Writing) -> None:
        """A checkpoint's thread has done its work."""
        self.checkpoints += 1
        self._tell(
            logging.INFO,
            "checkpoint_written",
            "a checkpoint was written",
            sequence=writing.sequence,
            size_bytes=writing.size_bytes,
            seconds=round(writing.seconds, 3),
        )

    def _tell(self, level: int, what: str, sentence: str, **fields: Any) -> None:
        event(log, level, what, sentence, datastore=self._directory.name, **fields)

    def close(self) -> None:
        """Give up a checkpoint that is being written, and close the files."""
        if self._writing is not None:
            self._writing.stop()
            self._writing.join()
        if self._log is not None:
            if self._unsynced.exists() and not self._unsure and self._error is None:
                with suppress(FusionError, OSError):
                    self._log.sync()
                    self._unsynced.remove()
            self._log.close()
            self._log = None


class _Writing(threading.Thread):
    """A checkpoint being written."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        instant: Instant,
        sequence: int,
        grown: int,
        on_written: Callable[[_Writing], None],
    ) -> None:
        super().__init__(name=f"fusion-checkpoint-{sequence}")
        self.sequence = sequence
        self.grown = grown
        self.size_bytes = 0
        self.seconds = 0.0  # that it took
        self.error: Exception | None = None
        self._checkpoints = checkpoints
        self._instant = instant
        self._on_written = on_written
        self._stopping = False

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.size_bytes = self._checkpoints.write(self._instant, self.sequence, self._pace)
        except Exception as error:
            self.error = error
        else:
            self.seconds = time.monotonic() - began
            self._on_written(self)

    def stop(self) -> None:
        """Nobody needs it any more."""
        self._stopping = True

    def _pace(self) -> None:
        if self._stopping:
            raise InterruptedError("the server is stopping")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def leave_out(directory: Path) -> None:
    """Changes are acknowledged from here on that the journal in a directory, if there is one, is not told of.

    Whoever goes on with it later is unsure of its end. Raises OSError.
    """
    if (directory / FILE_NAME).exists():
        UnsyncedNote(directory / NOTE_NAME).write_left_out()


def free_bytes_at(directory: Path) -> int:
    """What is free for us in its file system."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
