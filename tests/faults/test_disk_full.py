"""A disk that fills up: pushes are refused, nothing is lost, and all goes on by itself when there is room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from load import Answer, Line, Writer, settle
from service import Server, Store, accepted, until
from volumes import Volume, volume

MIB = 1 << 20
ROWS = 2_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    """To be asked for before servers are, so that it ends after them."""
    with volume(tmp_path / "disk", 96 * MIB) as made:
        yield made


class Life:
    """One datastore, one writer of large batches, and somebody else's file on the same disk."""

    def __init__(self, start: Callable[..., Server], disk: Volume, min_free_bytes: int) -> None:
        self._start = start
        self._disk = disk
        self._settings = f'data_dir = "{disk.path}/data"\nmin_free_bytes = {min_free_bytes}'
        self._filler = disk.path / "filler"
        self.restart()
        self.writer = Writer("w", self.store.ready(), self.store.key, 1, rows=ROWS)

    def restart(self) -> None:
        self.server = self._start({"one": "session_timeout_seconds = 600"}, self._settings)
        self.store = Store(self.server, "one")
        self._line = Line(self.server, self.store.key)

    def kill(self) -> None:
        self.server.kill()

    def push(self) -> Answer:
        return self.writer.push(self._line, self.writer.next_batch())

    def free_bytes(self) -> int:
        found = os.statvfs(self._disk.path)
        return found.f_bavail * found.f_frsize

    def fill(self, left_bytes: int) -> None:
        with self._filler.open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, self.free_bytes() - left_bytes)

    def make_room(self) -> None:
        self._filler.unlink()

    def push_until_full(self) -> None:
        answer = until(self.refusal)
        assert (answer.status, answer.document["code"]) == (507, "disk_full")
        assert int(answer.headers["retry-after"]) >= 1

    def refusal(self) -> Answer | None:
        answer = self.push()
        return None if answer.status == 204 else answer


def test_there_is_a_watermark(disk: Volume, start: Callable[..., Server]) -> None:
    life = Life(start, disk, min_free_bytes=24 * MIB)
    assert life.push().status == 204
    life.fill(left_bytes=24 * MIB + MIB // 2)
    life.push_until_full()
    assert life.free_bytes() > 16 * MIB
    # All else goes on.
    settle(life.store, [life.writer], certain=True)
    assert life.store.heartbeat(life.writer.session).status_code == 200
    assert life.server.http.get("/health/live").status_code == 200
    assert life.server.http.get("/health/ready").status_code == 503
    assert life.push().status == 507
    life.make_room()
    until(lambda: life.push().status == 204)
    assert life.server.http.get("/health/ready").status_code == 200
    settle(life.store, [life.writer], certain=True)
    life.fill(left_bytes=24 * MIB + MIB // 2)
    life.push_until_full()
    newer = life.store.open()
    assert life.store.heartbeat(life.writer.session).status_code == 419
    assert life.store.heartbeat(newer).status_code == 200
    life.make_room()
    until(lambda: life.store.try_snapshot(newer, end=True).status_code == 204)
    assert life.store.paths() == set()
    life.server.stop()


def test_it_may_be_full_to_the_last_byte(disk: Volume, start: Callable[..., Server]) -> None:
    life = Life(start, disk, min_free_bytes=0)
    assert life.push().status == 204
    life.fill(left_bytes=1 * MIB)
    life.push_until_full()
    for _ in range(5):
        assert life.push().status == 507
    settle(life.store, [life.writer], certain=True)
    ready = life.server.http.get("/health/ready")
    assert ready.status_code == 503
    assert "full" in ready.json()["datastores"]["one"]["problem"]
    life.make_room()
    until(lambda: life.push().status == 204)
    assert life.server.http.get("/health/ready").status_code == 200
    settle(life.store, [life.writer], certain=True)
    life.fill(left_bytes=1 * MIB)
    life.push_until_full()
    life.kill()
    life.restart()
    until(lambda: life.store.state() == "ready")
    life.make_room()
    settle(life.store, [life.writer])
    accepted(life.store.send(life.writer.session, []))
    assert life.push().status == 204
    settle(life.store, [life.writer], certain=True)
