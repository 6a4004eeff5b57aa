"""Looks through the files of a datastore that no server has open, and says whether a server could go on with
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fusion._index import PathIndex
from fusion.checkpoints import Checkpoints
from fusion.errors import DamagedFile, DamagedRecord, JournalDamaged
from fusion.journal import FILE_NAME, NOTE_NAME
from fusion.records import decode
from fusion.sqlite_log import SqliteLog
from fusion.unsynced import UnsyncedNote


@dataclass
class Checkpoint:
    """`problem`: None when it is whole."""

    sequence: int
    size_bytes: int
    problem: str | None


@dataclass
class Report:
    """What was found.

    `problem`: why no server could go on, None when one could; `warnings`: what it would do without.
    """

    name: str
    first_record: int = 0  # 0: there is none
    last_record: int = 0
    acknowledged: int = 0
    journal_bytes: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)  # the newest first
    warnings: list[str] = field(default_factory=list)
    problem: str | None = None


def examine(directory: Path) -> Report:
    """Read everything in a datastore's directory and check it. Raises OSError, JournalFailed."""
    report = Report(directory.name)
    base = _examine_checkpoints(Checkpoints(directory), report)
    path = directory / FILE_NAME
    try:
        log = SqliteLog(path, sync=True)
        try:
            report.acknowledged, report.last_record = log.acknowledged, log.last_sequence
            report.journal_bytes = path.stat().st_size
            for sequence, record in log.read(base):
                report.first_record = report.first_record or sequence
                try:
                    decode(record)
                except DamagedRecord as error:
                    raise JournalDamaged(sequence, error.detail) from None
        finally:
            log.close()
        known = max(report.acknowledged, base)
        lost = f"records up to {known} were acknowledged, and it ends before them"
        note = UnsyncedNote(directory / NOTE_NAME)
        if base > report.last_record or (known > report.last_record and not note.exists()):
            raise JournalDamaged(report.last_record + 1, lost)
        if note.is_old() or known > report.last_record:
            report.warnings.append(
                "the journal was written without syncs, or left out: every session has to begin anew"
                + (f"; {lost}" if known > report.last_record else "")
            )
    except JournalDamaged as error:
        report.problem = error.detail
    return report


def _examine_checkpoints(checkpoints: Checkpoints, report: Report) -> int:
    """Checks them all; returns the number of the newest whole one, 0 without one."""
    base = 0
    for sequence in checkpoints.sequences():
        problem = None
        try:
            PathIndex.verify(checkpoints.path(sequence))
        except DamagedFile as error:
            problem = error.detail
            report.warnings.append(error.detail)
        base = base if problem else max(base, sequence)
        report.checkpoints.append(Checkpoint(sequence, checkpoints.size_bytes(sequence), problem))
    return base


def is_datastore(directory: Path) -> bool:
    return (directory / FILE_NAME).exists() or (directory / "acknowledged").exists()
