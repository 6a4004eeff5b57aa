"""kill -9 at random instants and at the worst ones."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checking import check
from io_control import RENAME, SYNC, WRITE, IoControl
from load import Files, SnapshotWriter, Writer, settle
from service import Server, Store, accepted, file, until
from watching import health

KILLS = 50
WRITERS = 8
SHARED = "allow_concurrent_push = true\nsession_timeout_seconds = 600"
# A checkpoint after every few batches.
SETTINGS = f"{SHARED}\ncheckpoint_bytes = 20000"


class Life:
    """One datastore over many processes, and those who write to it."""

    def __init__(self, start: Callable[..., Server], seed: int, **options: object) -> None:
        self._start = start
        self._options = options
        self.server = self._start({"one": SETTINGS}, **self._options)
        store = Store(self.server, "one")
        self.writers: list[Writer] = [
            Writer(f"w{n}", store.open(f"task-{n}"), store.key, seed + n) for n in range(1, WRITERS)
        ]
        # The newest session is the authoritative one.
        self.snapshots = SnapshotWriter("w0", store.ready(), store.key, seed)
        self.writers.append(self.snapshots)
        self.files: Files = {}

    def write(self) -> None:
        self.snapshots.begin(self.server, self.files)
        for writer in self.writers:
            writer.start(self.server)

    def flow(self) -> None:
        """Let everybody get some answers."""
        before = {writer: writer.book.acknowledged for writer in self.writers}
        until(lambda: all(writer.book.acknowledged > before[writer] + 2 for writer in self.writers))

    def kill(self) -> None:
        self.server.send_signal(signal.SIGKILL)

    def die(self) -> None:
        """Wait for the end."""
        assert self.server.process.wait(60) == -signal.SIGKILL
        for writer in self.writers:
            writer.join()
        self.server.kill()

    def restart(self, *, certain: bool = False) -> None:
        """Everything is as the books say, in the first tree that is shown, and the sessions go on."""
        self.server = self._start({"one": SETTINGS}, **self._options)
        store = Store(self.server, "one")
        until(lambda: store.get_tree(max_depth=0).status_code == 200)
        self.files = settle(store, self.writers, certain=certain)
        assert store.sessions().keys() == {writer.session for writer in self.writers}
        for writer in self.writers:
            number = self.files.get(f"/{writer.book.name}/last", (0, 0.0))[0]
            assert store.position(writer.session).json().get("index", 0) == number
            accepted(store.send(writer.session, []))


def test_killed_at_random_instants(start: Callable[..., Server], tmp_path: Path, rounds: int) -> None:
    seed = int(os.environ.get("FUSION_FAULT_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"FUSION_FAULT_SEED={seed}")
    instants = random.Random(seed)
    life = Life(start, seed)
    checkpoints = set()
    for number in range(KILLS * rounds):
        life.write()
        time.sleep(instants.uniform(0.0, 0.2))
        life.kill()
        life.die()
        if number % 10 == 9:
            status, text = check(tmp_path / "server")
            assert status == 0 and "one: sound" in text, text
        checkpoints |= {path.name for path in (tmp_path / "server/fusion-data/one").glob("checkpoint-*")}
        life.restart()
    acknowledged = [writer.book.acknowledged for writer in life.writers]
    print(f"acknowledged: {acknowledged}; checkpoints seen: {len(checkpoints)}")
    assert all(acknowledged)
    assert len(checkpoints) > KILLS // 2  # the load is such that they are hit, too
    life.server.stop()


POINTS = {
    "the journal's commit": ("journal.sqlite3-wal", SYNC, "after"),
    "the commit, before its sync": ("journal.sqlite3-wal", SYNC, "before"),
    "in the middle of a commit": ("journal.sqlite3-wal", WRITE, "after"),
    "the note of what is acknowledged": ("/acknowledged", WRITE, "before"),
    "that note, before the answer": ("/acknowledged", WRITE, "after"),
    "pages go to the database": ("/journal.sqlite3$", WRITE, "after"),
    "a checkpoint begins": (".checkpoint-", WRITE, "after"),
    "a checkpoint, before its sync": (".checkpoint-", SYNC, "before"),
    "a checkpoint, before its name": (".checkpoint-", RENAME, "before"),
    "a checkpoint, before the trimming": (".checkpoint-", RENAME, "after"),
    "a checkpoint, before its name is on the disk": ("/fusion-data/one$", SYNC, "before"),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, start: Callable[..., Server], io: IoControl, rounds: int) -> None:
    files, calls, when = POINTS[point]
    order = io.kill_before if when == "before" else io.kill_after
    life = Life(start, 1, environment=io.environment)
    for first in range(1, 1 + rounds):
        life.write()
        life.flow()
        order(files, calls, first=first)
        life.die()
        assert io.acted == 1
        io.calm()
        life.restart()
    life.server.stop()


def test_killed_before_anything_of_a_group_is_written(start: Callable[..., Server], io: IoControl) -> None:
    """Nobody was answered, and nothing of it is there."""
    life = Life(start, 1, environment=io.environment)
    life.write()
    life.flow()
    io.stuck("journal.sqlite3-wal", WRITE)
    until(lambda: io.acted)
    until(lambda: sum(health(life.server)[name] for name in ("queue", "inflight")) >= WRITERS)
    life.kill()
    life.die()
    io.calm()
    life.restart(certain=True)
    life.server.stop()


CHANGES: dict[str, Callable[[Store, str], object]] = {
    "files": lambda store, session: store.message(session, file("/a"), file("/b"), index=2),
    "a deletion": lambda store, session: store.delete(session, "/a", index=3),
    "a snapshot's row": lambda store, session: store.snapshot(session, file("/c")),
    "a snapshot's end": lambda store, session: store.end(session),
    "an anomaly": lambda store, session: store.anomaly(session),
    "another session": lambda store, session: store.open("another"),
    "the end of a session": lambda store, session: store.end_session(session),
}


def test_the_newest_checkpoint_has_it_all(start: Callable[..., Server]) -> None:
    """Each change is the last one before a checkpoint and a kill: none of the journal is applied again."""
    names = {"one": f"{SHARED}\ncheckpoint_bytes = 0"}

    def saved() -> int | None:
        """The last record in a checkpoint, once none is being written."""
        journal = health(server)["journal"]
        return None if journal["checkpoint_running"] else int(journal["last_checkpoint"])

    def last_record() -> int:
        return int(health(server)["journal"]["last_record"])

    def recovered() -> bool:
        return store.state() != "recovering"

    def outcome() -> dict[str, Any]:
        tree = store.get_tree()
        return {
            "tree": tree.json() if tree.status_code == 200 else store.state(),
            "sessions": store.sessions().keys(),
            "position": store.position(session).json(),
            "breaker": store.breaker(),
        }

    server = start(names)
    store = Store(server, "one")
    session = store.ready()
    for change in CHANGES.values():
        until(saved)
        change(store, session)
        assert until(saved) == last_record()
        expected = outcome()
        server.kill()
        server = start(names)
        store = Store(server, "one")
        until(recovered)
        assert outcome() == expected
    server.stop()
