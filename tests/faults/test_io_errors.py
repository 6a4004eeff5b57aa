"""Reads, writes and syncs that fail: only what is kept is acknowledged, all goes on when they work again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from io_control import READ, RENAME, SYNC, WRITE, IoControl
from load import Answer, Batch, Line, Writer, settle
from service import Server, Store, file, until
from watching import health

FAILURES = 50
# After so many of them the server is killed, in turn right after the failed batch and after one more.
FAILURES_PER_LIFE = 5
IMPATIENT = (
    "-c",
    "import sys; from fusion import journal; journal.RETRY_SECONDS = 0.05;"
    " from fusion.cli import main; sys.exit(main())",
)


class Life:
    """One datastore, one writer, over many processes."""

    def __init__(self, start: Callable[..., Server], io: IoControl, settings: str = "") -> None:
        self._start = start
        self._io = io
        self._settings = f"session_timeout_seconds = 600\n{settings}"
        self._serve()
        self.writer = Writer("w", self.store.ready(), self.store.key, 1)

    def _serve(self) -> None:
        names = {"one": self._settings, "other": ""}
        self.server = self._start(names, environment=self._io.environment, program=IMPATIENT)
        self.store = Store(self.server, "one")
        self.line = Line(self.server, self.store.key)
        until(lambda: self.server.http.get("/health/ready").status_code == 200)  # both have recovered

    def push(self, batch: Batch | None = None) -> Answer:
        return self.writer.push(self.line, batch or self.writer.next_batch())

    def refused(self, answer: Answer) -> None:
        """As it has to be, while views and the other datastore go on."""
        assert (answer.status, answer.document["code"]) in ((503, "journal_failed"), (507, "disk_full"))
        assert int(answer.headers["retry-after"]) >= 1
        ready = self.server.http.get("/health/ready")
        assert ready.status_code == 503
        health = ready.json()["datastores"]
        assert not health["one"]["ok"] and health["one"]["problem"]
        assert health["other"]["ok"]
        settle(self.store, [self.writer], certain=True)

    def works(self) -> None:
        """The refused batch is gone for good."""
        answer = self.push()
        assert answer.status == 204, answer.document
        health = self.server.http.get("/health/ready")
        assert health.status_code == 200, health.text
        settle(self.store, [self.writer], certain=True)

    def restart(self) -> None:
        self.server.kill()
        self._serve()
        until(lambda: self.store.get_tree(max_depth=0).status_code == 200)
        settle(self.store, [self.writer])


@pytest.mark.parametrize(
    ("error", "count"),
    [(errno.EIO, 1), (errno.EIO, 3), (errno.ENOSPC, 1)],
    ids=["EIO", "EIO three times", "ENOSPC"],
)
def test_the_nth_write_or_sync_fails(
    error: int, count: int, start: Callable[..., Server], io: IoControl, rounds: int
) -> None:
    life = Life(start, io)
    per_life = FAILURES_PER_LIFE if rounds == 1 else 1
    failed = 0
    for first in range(1, FAILURES + 1):
        io.fail("/fusion-data/one/", WRITE | SYNC, error, first=first, count=count)
        while io.acted < count:
            answer = life.push()
            if answer.status != 204:
                life.refused(answer)
                failed += 1
        io.calm()
        if first % (2 * per_life) == 0:
            life.restart()
        life.works()
        if first % (2 * per_life) == per_life:
            life.restart()
    assert failed >= FAILURES * 3 // 4  # some only keep pages from going to the database early


@pytest.mark.parametrize("calls", [WRITE, SYNC], ids=["write", "sync"])
def test_nothing_can_be_written_for_a_while(calls: int, start: Callable[..., Server], io: IoControl) -> None:
    life = Life(start, io)
    for _ in range(10):
        assert life.push().status == 204
    io.fail("/fusion-data/one/", calls, errno.EIO)
    for _ in range(10):
        life.refused(life.push())
    assert life.store.heartbeat(life.writer.session).status_code == 200
    io.calm()
    life.works()
    life.restart()
    life.works()


@pytest.mark.parametrize(
    ("files", "calls"),
    [
        ("/one/journal.sqlite3-wal$", WRITE),
        ("/one/journal.sqlite3-wal$", SYNC),
        ("/one/acknowledged$", WRITE),
    ],
    ids=["the log's write", "its sync", "the note of what is acknowledged"],
)
def test_what_no_batch_can_do_without(
    files: str, calls: int, start: Callable[..., Server], io: IoControl
) -> None:
    life = Life(start, io)
    for _ in range(3):
        io.fail(files, calls, errno.EIO, count=1)
        life.refused(life.push())
        assert io.acted == 1
        life.works()
    life.restart()
    life.works()


@pytest.mark.parametrize("count", [1, 2], ids=["once", "once more when it is closed"])
def test_nothing_rests_on_a_log_whose_sync_failed(
    count: int, start: Callable[..., Server], io: IoControl, tmp_path: Path
) -> None:
    """The system may hold pages for clean that never reached the disk: they are written anew, elsewhere."""
    life = Life(start, io)
    database, ahead = (
        tmp_path / "server/fusion-data/one" / name for name in ("journal.sqlite3", "journal.sqlite3-wal")
    )
    mark = "a-name-that-is-nowhere-else"
    # Many rows before it, so that it stands in a page of its record alone, which later ones do not write.
    files = {f"/w/many/{n}": (n, 1000.0) for n in range(1_000)} | {f"/w/many/{mark}": (1, 1.0)}
    assert life.push(Batch(files)).status == 204
    assert mark.encode() in ahead.read_bytes()
    io.fail("/one/journal.sqlite3-wal$", SYNC, errno.EIO, count=count)
    life.refused(life.push())
    life.works()
    assert io.acted == count
    assert mark.encode() in database.read_bytes()
    assert mark.encode() not in ahead.read_bytes()
    life.restart()
    life.works()


@pytest.mark.parametrize("directory", ["/fusion-data$", "/fusion-data/one$"])
def test_names_that_do_not_reach_the_disk(
    directory: str, start: Callable[..., Server], io: IoControl
) -> None:
    """Nothing is kept in files that a power cut may leave without a name."""
    io.fail(directory, SYNC, errno.EIO)
    server = start({"one": ""}, environment=io.environment)
    until(lambda: io.acted >= 2)  # it is tried again
    assert health(server)["state"] == "recovering"
    io.calm()
    until(lambda: server.http.get("/health/ready").status_code == 200)
    store = Store(server, "one")
    store.ready(file("/a"))
    server.kill()
    store = Store(start({"one": ""}), "one")
    until(lambda: store.state() == "ready")
    assert store.paths() == {"/a"}


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ("/one/journal.sqlite3$", 1),
        ("/one/journal.sqlite3$", 2),
        ("/one/journal.sqlite3$", 6),
        ("/one/journal.sqlite3$", 12),
        ("/one/journal.sqlite3-wal$", 1),
        ("/one/journal.sqlite3-wal$", 6),
        ("/one/acknowledged$", 1),
        ("/one/checkpoint-", 1),
        ("/one/checkpoint-", 3),
    ],
)
def test_what_cannot_be_read_for_a_while(
    files: str, first: int, start: Callable[..., Server], io: IoControl
) -> None:
    """Nor is that damage."""
    often = "checkpoint" in files
    names = {"one": f"session_timeout_seconds = 600\ncheckpoint_bytes = {20_000 if often else 1 << 30}"}
    server = start(names | {"other": ""}, environment=io.environment)
    store = Store(server, "one")
    writer = Writer("w", store.ready(), store.key, 1, rows=400)
    line = Line(server, store.key)
    for _ in range(40):
        assert writer.push(line, writer.next_batch()).status == 204
    if often:
        until(lambda: health(server)["journal"]["last_checkpoint"])
    if "wal" in files:
        server.kill()
    else:
        server.stop()  # which brings all of the log to the database
    io.fail(files, READ, errno.EIO, first=first)
    server = start(names | {"other": ""}, environment=io.environment)
    store = Store(server, "one")
    until(lambda: io.acted >= 2)
    until(lambda: health(server)["problem"])
    assert health(server)["state"] == store.state() == "recovering"
    until(lambda: Store(server, "other").state() == "empty")
    io.calm()
    until(lambda: store.state() == "ready")
    settle(store, [writer], certain=True)


@pytest.mark.parametrize("calls", [WRITE, SYNC, RENAME], ids=["write", "sync", "rename"])
def test_a_checkpoint_that_cannot_be_written(calls: int, start: Callable[..., Server], io: IoControl) -> None:
    life = Life(start, io, "checkpoint_bytes = 10000")

    def journal() -> dict[str, Any]:
        """As it is after one more batch."""
        life.works()
        found: dict[str, Any] = life.server.http.get("/health/ready").json()["datastores"]["one"]["journal"]
        return found

    until(lambda: journal()["last_checkpoint"])
    io.fail("/.checkpoint-", calls, errno.EIO)
    until(lambda: journal()["checkpoint_error"])
    before = journal()["last_checkpoint"]
    failures = io.acted
    until(lambda: journal() and io.acted > failures + 2)  # it is tried again
    told = journal()
    assert told["last_checkpoint"] == before
    assert told["checkpoint_error"] and told["error"] is None
    io.calm()
    until(lambda: journal()["last_checkpoint"] > before)
    assert journal()["checkpoint_error"] is None
    life.restart()
    life.works()
