"""What every log does, and what the one in SQLite does when its files are damaged."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_log import MemoryLog

from fusion.errors import JournalDamaged, JournalFailed, SequenceConflict
from fusion.log import Log
from fusion.sqlite_log import TRIM_ROWS, SqliteLog

KINDS = ["memory", "sqlite, synced", "sqlite"]


class Opened:
    """A log of one kind, and what the next process would find."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._kind = kind
        self._path = directory / "log.sqlite3"
        self.log: Log = MemoryLog() if kind == "memory" else self._open()

    def _open(self) -> SqliteLog:
        return SqliteLog(self._path, sync=self._kind == "sqlite, synced")

    def reopen(self) -> Log:
        self.log.close()
        self.log = self.log.reopened() if isinstance(self.log, MemoryLog) else self._open()
        return self.log


Make = Callable[[], Opened]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    opened: list[Opened] = []

    def one_more() -> Opened:
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        opened.append(Opened(request.param, directory))
        return opened[-1]

    yield one_more
    for each in opened:
        each.log.close()


def contents(log: Log, after: int = 0) -> list[tuple[int, bytes]]:
    return list(log.read(after))


# Any log


def test_a_new_log_is_empty(make: Make) -> None:
    log = make().log
    assert (log.last_sequence, log.acknowledged, log.lease, contents(log)) == (0, 0, None, [])


def test_records_are_numbered_in_order_and_outlive_the_process(make: Make) -> None:
    opened = make()
    assert opened.log.append([b"a", b"", b"c" * 100_000], 0) == 3
    assert opened.log.append([b"d"], 3) == 4
    expected = [(1, b"a"), (2, b""), (3, b"c" * 100_000), (4, b"d")]
    assert contents(opened.log) == expected
    log = opened.reopen()
    assert (log.last_sequence, log.acknowledged) == (4, 4)
    assert contents(log) == expected
    assert contents(log, 2) == expected[2:]
    assert contents(log, 4) == []
    assert log.append([b"e"], 4) == 5


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_an_append_that_expects_another_sequence_changes_nothing(make: Make, expected: int) -> None:
    opened = make()
    opened.log.append([b"a", b"b"], 0)
    with pytest.raises(SequenceConflict):
        opened.log.append([b"x"], expected)
    assert contents(opened.reopen()) == [(1, b"a"), (2, b"b")]
    assert opened.log.append([b"c"], 2) == 3


def test_what_is_trimmed_goes_and_the_numbers_stay(make: Make) -> None:
    opened = make()
    opened.log.append([b"%d" % number for number in range(1, 11)], 0)
    opened.log.trim(7)
    opened.log.append([b"11"], 10)
    assert contents(opened.log, 7) == [(number, b"%d" % number) for number in range(8, 12)]
    with pytest.raises(JournalDamaged):
        contents(opened.log, 6)
    assert opened.reopen().last_sequence == 11


def test_trimming_everything_keeps_the_number(make: Make) -> None:
    opened = make()
    opened.log.append([b"a", b"b"], 0)
    opened.log.trim(100)
    assert opened.log.append([b"c"], 2) == 3
    opened.log.trim(100)
    assert opened.reopen().last_sequence == 3
    assert opened.log.append([b"d"], 3) == 4


def test_the_lease_goes_to_who_knows_its_holder(make: Make) -> None:
    opened = make()
    assert opened.log.swap_lease(None, "one")
    assert not opened.log.swap_lease(None, "two")
    assert not opened.log.swap_lease("two", "two")
    assert opened.log.lease == "one"
    log = opened.reopen()
    assert log.lease == "one"
    assert log.swap_lease("one", "two")
    assert log.swap_lease("two", None)
    assert log.lease is None


def test_sync_changes_nothing(make: Make) -> None:
    opened = make()
    opened.log.sync()
    opened.log.append([b"a"], 0)
    opened.log.sync()
    assert contents(opened.log) == [(1, b"a")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.binary(max_size=300), max_size=5),
            st.integers(0, 60).map(lambda upto: ("trim", upto)),
            st.sampled_from(["reopen", "sync"]),
        ),
        max_size=30,
    )
)
def test_any_history_is_read_back(make: Make, steps: list[object]) -> None:
    opened, model, trimmed = make(), [], 0
    for step in steps:
        if isinstance(step, list):
            model += step
            assert opened.log.append(step, opened.log.last_sequence) == len(model)
        elif isinstance(step, tuple):
            trimmed = max(trimmed, min(step[1], len(model)))
            opened.log.trim(step[1])
        elif step == "sync":
            opened.log.sync()
        else:
            opened.reopen()
        assert contents(opened.log, trimmed) == list(enumerate(model, 1))[trimmed:]


# SQLite


def filled(directory: Path, count: int = 20) -> Path:
    """The path of a log that was left without being closed: its write-ahead log is there."""
    source = directory / "source"
    source.mkdir()
    log = SqliteLog(source / "log.sqlite3", sync=True)
    for number in range(count):
        log.append([b"%03d" % number * 100], number)
    shutil.copytree(source, directory / "left")
    log.close()
    return directory / "left" / "log.sqlite3"


def outcome(path: Path) -> str:
    """What a reader is told: `sound` with all records, or which damage."""
    try:
        log = SqliteLog(path, sync=True)
    except JournalDamaged as error:
        return f"damaged at {error.sequence}"
    try:
        found = contents(log)
        if log.acknowledged > log.last_sequence:
            return f"ends after {log.last_sequence}"
    except JournalDamaged as error:
        return f"damaged at {error.sequence}"
    finally:
        log.close()
    assert found == [(number + 1, b"%03d" % number * 100) for number in range(20)]
    return "sound"


@pytest.mark.parametrize("closed", [False, True])
def test_a_flipped_byte_of_a_record_is_found(tmp_path: Path, closed: bool) -> None:
    path = filled(tmp_path)
    if closed:  # the records are in the database, not in the write-ahead log
        SqliteLog(path, sync=True).close()
        assert not path.with_name("log.sqlite3-wal").exists()
    else:
        path = path.with_name("log.sqlite3-wal")
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 3] == b"007"]
    for at in places:
        data[at] ^= 1
    path.write_bytes(data)
    found = outcome(path.with_name("log.sqlite3"))
    assert found == "damaged at 8" if closed else found.startswith("ends after")


def test_no_flipped_byte_is_passed_over_in_silence(tmp_path: Path) -> None:
    """Whatever is hit: all records are there, or damage is told."""
    path = filled(tmp_path)
    told = set()
    for name in ("log.sqlite3", "log.sqlite3-wal", "acknowledged"):
        size = path.with_name(name).stat().st_size
        for at in itertools.chain(range(0, min(size, 200), 7), range(200, size, 1511)):
            copy = tmp_path / "copy"
            shutil.copytree(path.parent, copy)
            with open(copy / name, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0] ^ 0x55
                file.seek(at)
                file.write(bytes([byte]))
            told.add(outcome(copy / "log.sqlite3").split()[0])
            shutil.rmtree(copy)
    assert told == {"sound", "damaged", "ends"}


@pytest.mark.parametrize("name", ["log.sqlite3", "acknowledged"])
def test_a_missing_file_is_damage(tmp_path: Path, name: str) -> None:
    path = filled(tmp_path)
    path.with_name(name).unlink()
    assert outcome(path).startswith("damaged")


def test_a_row_that_is_gone_or_elsewhere_is_damage(tmp_path: Path) -> None:
    path = filled(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM log WHERE sequence = 5")
    connection.commit()
    connection.close()
    assert outcome(path) == "damaged at 5"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE log SET sequence = 5 WHERE sequence = 20")
    connection.commit()
    connection.close()
    assert outcome(path) == "damaged at 5"


def test_a_lease_that_cannot_be_read_or_written_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    log = SqliteLog(path, sync=True)
    assert log._connection is not None
    log._connection.execute("DROP TABLE lease")
    with pytest.raises(JournalFailed):
        _ = log.lease
    with pytest.raises(JournalFailed):
        log.swap_lease(None, "one")
    log.close()


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_another_programs_database_is_refused(tmp_path: Path, pragma: str) -> None:
    path = filled(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma} = 77")
    connection.close()
    assert outcome(path) == "damaged at 0"


def test_what_the_last_process_left_is_on_the_disk_before_more_is_built_upon_it(tmp_path: Path) -> None:
    """The system may hold pages of a failed sync for clean: only what is written again gets to the disk."""
    path = filled(tmp_path)
    wal = path.with_name("log.sqlite3-wal")
    before = wal.read_bytes()
    os.utime(wal, (1, 1))
    log = SqliteLog(path, sync=True)
    assert wal.stat().st_mtime > 1
    assert wal.read_bytes() == before
    assert log.append([b"next"], 20) == 21
    log.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3", sync=True)
    log.append([b"a"], 0)
    with pytest.raises(JournalFailed):
        SqliteLog(tmp_path / "log.sqlite3", sync=True)
    assert contents(log) == [(1, b"a")]
    log.close()


@pytest.mark.parametrize("step", ["_trim_some", "_write_mark"])
def test_whatever_ends_an_append_is_mended_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the commit, and between it and the mark."""

    def fails(*_: object) -> int:
        raise MemoryError

    path = tmp_path / "log.sqlite3"
    log = SqliteLog(path, sync=True)
    log.append([b"a"], 0)
    with monkeypatch.context() as patched:
        patched.setattr(log, step, fails)
        with pytest.raises(JournalFailed):
            log.append([b"b"], 1)
    assert log.append([b"c"], 1) == 2
    assert contents(log) == [(1, b"a"), (2, b"c")]
    log.close()


def test_a_failed_sync_is_mended_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was to bring to the disk may count as clean."""

    def fails(statement: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    log = SqliteLog(tmp_path / "log.sqlite3", sync=False)
    log.append([b"a"], 0)
    with monkeypatch.context() as patched:
        patched.setattr(log, "_one", fails)
        with pytest.raises(JournalFailed):
            log.sync()
    written: list[bool] = []
    monkeypatch.setattr(log, "_write_again", lambda: written.append(True))
    log.sync()
    assert written
    log.sync()
    assert len(written) == 1
    assert contents(log) == [(1, b"a")]
    log.close()


def rows_of(log: SqliteLog) -> int:
    assert log._connection is not None
    (rows,) = log._connection.execute("SELECT count(*) FROM log").fetchone()
    return int(rows)


def test_trimming_keeps_up_with_large_groups(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3", sync=False)
    for _ in range(10):
        log.append([b"a record"] * (4 * TRIM_ROWS), log.last_sequence)
        log.trim(log.last_sequence)
    assert rows_of(log) <= 2 * 4 * TRIM_ROWS
    log.close()


def test_a_step_of_trimming_is_small_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step frees each page of a record. One large record goes alone."""
    monkeypatch.setattr("fusion.sqlite_log.TRIM_BYTES", 1000)
    log = SqliteLog(tmp_path / "log.sqlite3", sync=False)
    log.append([bytes(400), bytes(400), bytes(400), bytes(5000), bytes(400), b""], 0)
    log.trim(5)
    left = []
    for _ in range(4):
        log.append([b""], log.last_sequence)
        left.append(rows_of(log))
    assert left == [6 + 1 - 2, 5 + 1 - 1, 5 + 1 - 1, 5 + 1 - 1]
    log.close()


def test_trimming_goes_in_small_steps_and_its_space_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    log = SqliteLog(path, sync=True)
    record = bytes(10_000)
    sizes = []
    for turn in range(6):
        log.append([record] * (3 * TRIM_ROWS), log.last_sequence)
        log.trim(log.last_sequence)
        for _ in range(3):
            log.append([b""], log.last_sequence)
        log.sync()
        sizes.append(path.stat().st_size)
        connection = log._connection
        assert connection is not None
        (rows,) = connection.execute("SELECT count(*) FROM log").fetchone()
        assert rows < TRIM_ROWS, turn
    assert sizes[-1] < sizes[0] * 1.5
    log.close()
