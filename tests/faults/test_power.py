"""Power cuts: with `fsync` nothing acknowledged is lost; with `os` what is lost is never hidden."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from io_control import SYNC, IoControl
from load import Writer, settle
from service import Server, Store, accepted, until
from volumes import Volume, volume
from watching import health

CUTS = 6
# The server takes this file for the system's: each cut is a new start of the machine.
BOOT_ID = """
import pathlib, sys
from fusion import unsynced
unsynced.BOOT_ID = pathlib.Path({!r})
from fusion.cli import main
sys.exit(main())
"""
VOLUME_BYTES = 64 << 20
WRITERS = 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    """To be asked for before servers are, so that it ends after them."""
    with volume(tmp_path / "disk", VOLUME_BYTES) as made:
        yield made


class Life:
    """One datastore on a disk that loses its power now and then."""

    def __init__(
        self,
        start: Callable[..., Server],
        disk: Volume,
        durability: str,
        environment: Mapping[str, str] = {},
    ) -> None:
        self._start = start
        self._environment = environment
        self._disk = disk
        self._boot_id = disk.path.with_name("boot-id")
        self.new_boot()
        self._settings = (
            f'allow_concurrent_push = true\nsession_timeout_seconds = 600\ndurability = "{durability}"\n'
            "checkpoint_bytes = 20000"
        )
        self.restart()
        key = self.store.key
        self.writers = [
            Writer(f"w{n}", self.store.open(f"task-{n}"), key, n, last_words=("journal_failed",))
            for n in range(WRITERS)
        ]
        self.store.ready()

    def restart(self) -> None:
        # The watermark has a test of its own.
        where = f'data_dir = "{self._disk.path}/data"\nmin_free_bytes = 0'
        program = ("-c", BOOT_ID.format(str(self._boot_id)))
        self.server = self._start(
            {"one": self._settings}, where, environment=self._environment, program=program
        )
        self.store = Store(self.server, "one")
        until(lambda: self.store.state() != "recovering")

    def write_until_the_power_goes(self, seconds: float) -> None:
        for writer in self.writers:
            writer.start(self.server)
        time.sleep(seconds)
        self._disk.cut_power()
        self.kill()
        self._come_back()

    def write_a_little(self) -> None:
        for writer in self.writers:
            writer.start(self.server)
        until(lambda: all(writer.book.acknowledged > 2 for writer in self.writers))

    def kill(self) -> None:
        """While the writers write."""
        self.server.send_signal(signal.SIGKILL)
        for writer in self.writers:
            writer.join()
        self.server.kill()

    def lose_power(self) -> None:
        """When no server runs."""
        self._disk.cut_power()
        self._come_back()

    def _come_back(self) -> None:
        self._disk.unmount()
        self._disk.mount()
        self.new_boot()

    def new_boot(self) -> None:
        self._boot_id.write_text(str(uuid4()))

    def last_record(self) -> int:
        health = self.server.http.get("/health/ready").json()
        return int(health["datastores"]["one"]["journal"]["last_record"])


def test_nothing_acknowledged_is_lost(disk: Volume, start: Callable[..., Server], rounds: int) -> None:
    life = Life(start, disk, "fsync")
    instants = random.Random(1)
    for _ in range(CUTS * rounds):
        life.write_until_the_power_goes(instants.uniform(0.0, 0.5))
        life.restart()
        assert life.store.state() == "ready"
        settle(life.store, life.writers)
        for writer in life.writers:
            accepted(life.store.send(writer.session, []))
    life.server.stop()


def test_what_is_lost_is_not_hidden(disk: Volume, start: Callable[..., Server], rounds: int) -> None:
    """Views stay closed until a new snapshot makes the tree whole."""
    instants = random.Random(2)
    losses = 0
    for _ in range(CUTS * rounds):
        life = Life(start, disk, "os")
        assert life.store.paths() == set()
        before = life.last_record()
        life.write_until_the_power_goes(instants.uniform(0.0, 0.5))
        life.restart()
        if life.last_record() < before + sum(writer.book.acknowledged for writer in life.writers):
            losses += 1
        assert life.store.state() in ("stale", "empty")
        life.server.kill()
    assert losses


def test_without_a_power_cut_nothing_is_lost(disk: Volume, start: Callable[..., Server]) -> None:
    """Killed while the power stays, or stopped in order before it goes."""
    life = Life(start, disk, "os")
    life.write_a_little()
    life.kill()
    life.restart()
    assert life.store.state() == "ready"
    settle(life.store, life.writers)
    life.server.stop()
    life.lose_power()
    life.restart()
    assert life.store.state() == "ready"
    settle(life.store, life.writers, certain=True)


def test_stopped_in_order_but_for_the_last_moment(
    disk: Volume, start: Callable[..., Server], io: IoControl
) -> None:
    """Once the note is gone that the journal's end may be lost, it may not."""
    life = Life(start, disk, "os", io.environment)
    life.write_a_little()
    for writer in life.writers:
        writer.stop()
        writer.join()
    until(lambda: not health(life.server)["journal"]["checkpoint_running"])  # it syncs the directory, too
    io.kill_after("/data/one$", SYNC)
    life.server.send_signal(signal.SIGTERM)
    assert life.server.process.wait(60) == -signal.SIGKILL
    life.server.kill()
    io.calm()
    life.lose_power()
    life.restart()
    assert life.store.state() == "ready"
    settle(life.store, life.writers, certain=True)
