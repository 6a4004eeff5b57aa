"""Recovery from the log and its checkpoints, without a datastore."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from memory_log import MemoryLog

from fusion import PathIndex
from fusion.errors import DiskFull, JournalDamaged, JournalFailed
from fusion.journal import FILE_NAME, RECORD_BYTES, RETRY_SECONDS, SPACE_SECONDS, Journal, Recovered

STUCK_SECONDS = 10.0
RECORD = bytes(10_000)
CHECKPOINT_BYTES = 10 * (RECORD_BYTES + len(RECORD))


class Life:
    """One process after the other with the same directory. The index holds a directory for each record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.free_bytes = 1 << 40
        self.seconds = 0.0
        self.index = PathIndex()
        self.journal = self._make()

    def _make(self, sync: bool = True) -> Journal:
        return Journal(
            self.directory,
            sync=sync,
            checkpoint_bytes=CHECKPOINT_BYTES,
            min_free_bytes=1 << 20,
            free_bytes=lambda _: self.free_bytes,
            monotonic=lambda: self.seconds,
        )

    def recover(self) -> Recovered:
        recovered = self.journal.recover()
        self.index = recovered.index
        records = []
        for sequence, record in recovered.records:
            records.append((sequence, record))
            self.index.upsert([f"/{sequence}"], [1], [1.0], [1.0], [True])
        assert [sequence for sequence, _ in records] == list(
            range(recovered.sequence + 1, recovered.last_sequence + 1)
        )
        assert recovered.state == (b"%d" % recovered.sequence if recovered.sequence else None)
        assert sorted(self.names(), key=int) == [str(n) for n in range(1, recovered.last_sequence + 1)]
        return recovered

    def next(self, sync: bool = True) -> None:
        """The next process."""
        self.journal.close()
        self.journal = self._make(sync)

    def append(self, count: int) -> None:
        """So many records, one by one, with the checkpoints that become due, each waited for."""
        for _ in range(count):
            self.journal.append([RECORD])
            sequence = self.journal.sequence
            self.index.upsert([f"/{sequence}"], [1], [1.0], [1.0], [True])
            if self.journal.checkpoint_due:
                self.journal.checkpoint(self.index.instant(b"%d" % sequence))
                assert self.journal._writing is not None
                self.journal._writing.join()

    def names(self) -> list[str]:
        return [
            path.strip("/") for path in (f"/{n}" for n in range(1, len(self.index) + 1)) if path in self.index
        ]

    def checkpoints(self) -> list[Path]:
        return sorted(self.directory.glob("checkpoint-*.fusion"))


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path / "store")
    yield life
    life.journal.close()


def test_a_new_directory_begins_empty(life: Life) -> None:
    recovered = life.recover()
    assert (recovered.sequence, recovered.last_sequence, recovered.lost) == (0, 0, 0)
    assert recovered.state is None
    assert life.directory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25, 57])
def test_every_record_is_in_the_checkpoint_or_comes_after_it(life: Life, count: int) -> None:
    life.recover()
    life.append(count)
    life.next()
    recovered = life.recover()
    assert recovered.last_sequence == count
    assert recovered.sequence == count // 10 * 10
    life.append(5)
    life.next()
    assert life.recover().last_sequence == count + 5


def test_two_checkpoints_are_kept(life: Life) -> None:
    life.recover()
    life.append(45)
    assert [path.name[11:31].lstrip("0") for path in life.checkpoints()] == ["30", "40"]


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(
    life: Life, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    life.recover()
    life.append(45)
    life.next()
    damage(life.checkpoints()[-1], place)
    assert life.recover().sequence == 30
    assert "set aside" in caplog.text
    # The damaged one does not push a whole one out.
    life.append(6)
    life.next()
    assert life.recover().last_sequence == 51
    assert [path.name[11:31].lstrip("0") for path in life.checkpoints()] == ["30", "46"]


def test_the_only_checkpoint_may_be_damaged(life: Life) -> None:
    life.recover()
    life.append(15)
    life.next()
    damage(life.checkpoints()[0], 50)
    assert life.recover().sequence == 0


def test_without_any_whole_checkpoint_the_hole_is_told(life: Life) -> None:
    life.recover()
    life.append(45)
    life.next()
    for path in life.checkpoints():
        damage(path, 50)
    with pytest.raises(JournalDamaged, match="journal damaged at record 1:"):
        life.recover()


def test_a_checkpoint_newer_than_the_journal_is_a_hole(life: Life) -> None:
    life.recover()
    life.append(25)
    life.next()
    (life.directory / FILE_NAME).unlink()
    (life.directory / "acknowledged").unlink()
    with pytest.raises(JournalDamaged, match="journal damaged at record 1:"):
        life.recover()


def test_what_a_killed_checkpoint_left_is_removed(life: Life) -> None:
    life.recover()
    life.append(15)
    left = life.directory / ".checkpoint-00000000000000000015.fusion.0123.tmp"
    left.write_bytes(b"half")
    life.next()
    life.recover()
    assert not left.exists()


def test_a_checkpoint_that_fails_is_told_and_the_journal_goes_on(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    life.recover()
    life.append(9)
    instant = life.index.instant(b"9")
    instant.close()  # so that it cannot be saved
    life.journal.checkpoint(instant)
    assert life.journal._writing is not None
    life.journal._writing.join()
    life.append(5)
    assert life.journal.status()["checkpoint_error"]
    assert "no checkpoint" in caplog.text
    assert life.checkpoints() == []
    life.seconds = RETRY_SECONDS
    life.append(1)
    assert life.journal.status()["checkpoint_error"] is None
    assert len(life.checkpoints()) == 1
    life.next()
    assert life.recover().last_sequence == 15


def test_a_checkpoint_that_could_not_be_begun_does_not_count(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be trimmed for it."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    life.recover()
    life.append(25)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            life.append(5)
    status = life.journal.status()
    assert (status["last_checkpoint"], status["checkpoint_running"]) == (20, False)
    life.append(5)
    life.next()
    damage(life.checkpoints()[-1], -1)
    recovered = life.recover()
    assert (recovered.sequence, recovered.last_sequence) == (20, 35)


def test_closing_does_not_wait_for_a_checkpoint(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """The journal has it all; a large one takes longer than whoever stops a server waits."""
    begun, given_up = threading.Event(), threading.Event()

    class Large:
        def save(self, file: Path, *, sync: bool, pace: Callable[[], object] = lambda: None) -> int:
            begun.set()
            while not given_up.wait(0.01):
                pace()
            return 0

    life.recover()
    life.append(3)
    life.journal.checkpoint(Large())  # type: ignore[arg-type]
    assert begun.wait(STUCK_SECONDS)
    closing = threading.Thread(target=life.journal.close)
    closing.start()
    closing.join(STUCK_SECONDS)
    was_closed = not closing.is_alive()
    given_up.set()
    closing.join()
    assert was_closed
    assert caplog.text == ""
    life.next()
    assert life.recover().last_sequence == 3


def test_recovered_again_the_journal_still_reaches_back_to_the_older_checkpoint(life: Life) -> None:
    life.recover()
    life.append(30)
    life.recover()
    life.append(3)
    life.next()
    damage(life.checkpoints()[-1], -1)
    assert life.recover().sequence == 20


def test_a_failing_log_is_told_until_it_is_written_again(
    life: Life, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog()
    journal = Journal(
        tmp_path / "failing",
        checkpoint_bytes=1 << 30,
        min_free_bytes=0,
        open_log=lambda path, sync: log,
    )
    journal.recover()
    log.failing = JournalFailed("the journal failed: Input/output error")
    for _ in range(3):
        with pytest.raises(JournalFailed):
            journal.append([b"a"])
    assert journal.status()["error"] == "the journal failed: Input/output error"
    assert caplog.text.count("Input/output error") == 1
    log.failing = None
    journal.append([b"a"])
    assert journal.status()["error"] is None
    assert journal.sequence == 1
    assert "written again" in caplog.text
    journal.close()


class FullLog(MemoryLog):
    """Not even the lease can be written."""

    full = True

    def swap_lease(self, expected: str | None, holder: str | None) -> bool:
        if self.full:
            raise DiskFull()
        return super().swap_lease(expected, holder)


def test_a_full_disk_hinders_no_recovery(tmp_path: Path) -> None:
    """Nothing of it has to be written, so that views are shown."""
    log = FullLog()
    log.append([b"a"], 0)
    journal = Journal(
        tmp_path / "full", checkpoint_bytes=1 << 30, min_free_bytes=0, open_log=lambda path, sync: log
    )
    assert list(journal.recover().records) == [(1, b"a")]
    for _ in range(2):
        with pytest.raises(DiskFull):
            journal.append([b"b"])
    assert journal.status()["error"]
    log.full = False
    journal.append([b"b"])
    assert log.lease is not None
    assert journal.status()["error"] is None
    journal.close()


def test_too_little_room_is_told_before_the_disk_is_full(life: Life) -> None:
    life.recover()
    life.journal.check_space()
    life.free_bytes = (1 << 20) - 1
    life.journal.check_space()  # a look counts for a while
    life.seconds += 2 * SPACE_SECONDS
    with pytest.raises(DiskFull) as refusal:
        life.journal.check_space()
    assert refusal.value.status == 507
    assert refusal.value.retry_after_seconds >= 1
    assert life.journal.status()["error"] == f"the server's disk has only {life.free_bytes} bytes left"
    life.journal.append([b"what is small goes on"])
    life.free_bytes = 1 << 20
    life.seconds += 2 * SPACE_SECONDS
    life.journal.check_space()
    assert life.journal.status()["error"] is None


@pytest.mark.parametrize("sync", [True, False])
def test_a_lost_end_is_damage_unless_it_may_be_lost(life: Life, sync: bool) -> None:
    """As after a power cut: the note of what was acknowledged reached the disk, the records did not."""
    life.next(sync)
    life.recover()
    life.append(6)
    life.journal.close()
    kept = (life.directory / FILE_NAME).read_bytes()
    life.next(sync)
    life.recover()
    life.append(3)
    life.journal.close()
    (life.directory / FILE_NAME).write_bytes(kept)
    life.next(sync)
    if sync:
        with pytest.raises(JournalDamaged, match="journal damaged at record 7:"):
            life.journal.recover()
    else:
        recovered = life.journal.recover()
        assert (recovered.last_sequence, recovered.lost) == (6, 3)


class Machine:
    """Runs one unsynced journal after the other, each with the files the one before had when it was left."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._boot_id = directory / "boot-id"
        monkeypatch.setattr("fusion.unsynced.BOOT_ID", self._boot_id)
        self._lives = 0
        self.start()
        self.journal = self._make(sync=False)

    def start(self) -> None:
        self._boot_id.write_text(str(uuid4()))

    def _make(self, sync: bool) -> Journal:
        directory = self._directory / str(self._lives)
        return Journal(directory, sync=sync, checkpoint_bytes=CHECKPOINT_BYTES, min_free_bytes=0)

    def kill(self, sync: bool = False) -> None:
        """The next process, while the files of this one stay open."""
        shutil.copytree(self._directory / str(self._lives), self._directory / str(self._lives + 1))
        self.journal.close()
        self._lives += 1
        self.journal = self._make(sync)

    def lose(self, groups: int) -> None:
        """The power goes: the mark of so many more groups has reached the disk, the groups have not."""
        directory = self._directory / str(self._lives)
        kept = shutil.copytree(directory, self._directory / "kept")
        for _ in range(groups):
            self.journal.append([RECORD])
        shutil.copy(directory / "acknowledged", kept)
        self.journal.close()
        self._lives += 1
        kept.rename(self._directory / str(self._lives))
        self.start()

    def stop(self, sync: bool = False) -> None:
        self.journal.close()
        self.journal = self._make(sync)

    def unsure(self, groups: int = 0) -> bool:
        """What recovery says; then so many groups are appended."""
        recovered = self.journal.recover()
        for _ in recovered.records:
            pass
        for _ in range(groups):
            self.journal.append([RECORD])
        return recovered.unsure


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    machine.journal.close()


def test_the_end_of_an_unsynced_journal_is_unsure_when_the_machine_was_started_anew(machine: Machine) -> None:
    assert not machine.unsure(2)
    machine.kill()
    assert not machine.unsure(1)  # the system's memory has it all
    machine.start()
    machine.kill()
    assert machine.unsure()
    machine.kill()
    assert machine.unsure(1)
    # Nobody knows whether that first group, which ends the sessions, got further than the system's memory.
    machine.kill()
    assert machine.unsure(2)
    machine.kill()
    assert not machine.unsure()
    machine.start()
    machine.kill()
    assert machine.unsure()


def test_an_unsynced_journal_that_was_closed_is_whole(machine: Machine) -> None:
    assert not machine.unsure(1)
    machine.kill()
    assert not machine.unsure()
    machine.start()
    machine.stop()
    assert not machine.unsure()


def test_a_journal_that_was_unsynced_once(machine: Machine) -> None:
    machine.unsure(1)
    machine.kill(sync=True)
    assert not machine.unsure(1)
    machine.start()
    machine.kill(sync=True)
    assert not machine.unsure()


@pytest.mark.parametrize("sync", [True, False])
def test_what_an_unsynced_journal_lost_is_no_damage_whatever_the_settings_say_now(
    machine: Machine, sync: bool
) -> None:
    machine.unsure(3)
    machine.lose(2)
    machine.stop(sync)
    recovered = machine.journal.recover()
    assert (recovered.last_sequence, recovered.lost, recovered.unsure) == (3, 2, True)
    assert [sequence for sequence, _ in recovered.records] == [1, 2, 3]
    machine.journal.append([])
    machine.stop(sync)
    recovered = machine.journal.recover()
    assert (recovered.last_sequence, recovered.lost) == (3, 0)


def damage(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
