"""A flipped bit: it is found, told, and never steps aside in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from checking import check
from load import Batch, Line, Writer, settle
from service import Server, Store, accepted, file, refused, until

BATCHES = 12
OFTEN = "checkpoint_bytes = 20000"


class Life:
    """Two datastores of one server; the damage is done to the first."""

    def __init__(self, start: Callable[..., Server], directory: Path, settings: str = "") -> None:
        self._start = start
        self.directory = directory
        self._settings = {"one": f"session_timeout_seconds = 600\n{settings}", "other": ""}
        self.restart()
        self.writer = Writer("w", self.store.ready(), self.store.key, 1)

    def restart(self) -> None:
        self.server = self._start(self._settings)
        self.store, self.other = Store(self.server, "one"), Store(self.server, "other")
        self.line = Line(self.server, self.store.key)
        until(lambda: self.store.state() != "recovering")

    def push(self, batch: Batch | None = None) -> int:
        """The number of its record."""
        answer = self.writer.push(self.line, batch or self.writer.next_batch())
        assert answer.status == 204, answer.document
        return int(self.journal()["last_record"])

    def journal(self) -> dict[str, int]:
        found: dict[str, int] = self.server.http.get("/health/ready").json()["datastores"]["one"]["journal"]
        return found

    def push_with_mark(self, place: int) -> tuple[bytes, int]:
        """Several batches; what stands in the one at `place`, and the number of its record."""
        mark = "a-name-that-is-nowhere-else"
        numbers = [
            self.push(Batch({f"/w/{mark}": (1, 1.0)}) if number == place else None)
            for number in range(BATCHES)
        ]
        return mark.encode(), numbers[place]

    def files(self, pattern: str) -> list[Path]:
        return sorted((self.directory / "fusion-data/one").glob(pattern))

    def is_damaged(self, at: int) -> None:
        """Told wherever somebody asks, and after another restart; the other datastore goes on."""
        told = f"journal damaged at record {at}:"
        for _ in range(2):
            self.restart()
            assert self.store.state() == "damaged"
            session = self.writer.session
            for answer in (
                self.store.get_tree(),
                self.store.try_message(session, file("/w/new")),
                self.store.heartbeat(session),
                self.store.http.post("/ingestor-api/v1/sessions/", json={"task_id": "new"}),
            ):
                assert refused(answer, 503, "journal_damaged")["detail"].startswith(told)
            ready = self.server.http.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["datastores"]["one"]["problem"].startswith(told)
            assert self.server.http.get("/health/live").status_code == 200
            other = self.other.ready(file("/here"))
            self.other.message(other, file("/there"))
            assert self.other.paths() == {"/here", "/there"}
            self.server.stop(silent=False)
            status, text = check(self.directory)
            assert status == 1
            assert f"one: {told}" in text
            assert "other: sound" in text


@pytest.fixture
def make_life(start: Callable[..., Server], tmp_path: Path) -> Callable[..., Life]:
    return lambda settings="": Life(start, tmp_path / "server", settings)


@pytest.mark.parametrize("place", [0, BATCHES // 2, BATCHES - 1])
def test_in_the_database(place: int, make_life: Callable[..., Life]) -> None:
    life = make_life()
    mark, number = life.push_with_mark(place)
    life.server.stop()
    flip(life.files("journal.sqlite3")[0], mark)
    life.is_damaged(number)


@pytest.mark.parametrize("place", [0, BATCHES // 2, BATCHES - 1])
def test_in_the_write_ahead_log(place: int, make_life: Callable[..., Life]) -> None:
    """SQLite takes it for the end of the log."""
    life = make_life()
    mark, number = life.push_with_mark(place)
    life.server.kill()
    flip(life.files("journal.sqlite3-wal")[0], mark)
    life.is_damaged(number)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_in_the_newest_checkpoint(place: float, make_life: Callable[..., Life]) -> None:
    """The one before it does, with more of the journal."""
    life = make_life(OFTEN)
    until_checkpoints(life)
    life.server.kill()
    flip_at(life.files("checkpoint-*.fusion")[-1], place)
    status, text = check(life.directory)
    assert (status, "one: sound" in text, "warning: " in text) == (0, True, True)
    life.restart()
    assert life.store.state() == "ready"
    settle(life.store, [life.writer], certain=True)
    assert len(life.files("checkpoint-*.damaged")) == 1
    accepted(life.store.try_message(life.writer.session))
    until_checkpoints(life)
    life.server.stop(silent=False)
    assert "warning: " not in check(life.directory)[1]


def test_in_both_checkpoints(make_life: Callable[..., Life]) -> None:
    life = make_life(OFTEN)
    until_checkpoints(life)
    life.server.kill()
    for path in life.files("checkpoint-*.fusion"):
        flip_at(path, 0.5)
    assert check(life.directory)[0] == 1
    life.is_damaged(1)


def until_checkpoints(life: Life) -> None:
    """Both are newer than now, and the journal was trimmed."""
    for _ in range(2):
        number = life.push()
        until(lambda number=number: life.push() and life.journal()["last_checkpoint"] > number)
    for _ in range(2):  # the one that sees it is done, and the one that trims
        life.push()


def flip(path: Path, mark: bytes) -> None:
    """One bit, wherever the mark first stands in the file."""
    data = bytearray(path.read_bytes())
    data[data.index(mark)] ^= 0x10
    path.write_bytes(data)


def flip_at(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)
