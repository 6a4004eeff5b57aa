"""Writes and syncs that fail: only what is kept is acknowledged, and all goes on when they work again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from io_control import RENAME, SYNC, WRITE, IoControl
from load import Answer, Line, Writer, settle
from service import Server, Store, until

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
        until(lambda: self.server.http.get("/health/ready").status_code == 200)

    def push(self) -> Answer:
        return self.writer.push(self.line, self.writer.next_batch())

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
