"""After the process was killed and started again with the same data directory everything is as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service import Server, Store, accepted, config, file, folder, refused, until

# Everything replayed from the journal; everything from checkpoints; as it comes.
SETTINGS = {
    "journal": "checkpoint_bytes = 1099511627776",
    "checkpoints": "checkpoint_bytes = 0",
    "both": "checkpoint_bytes = 20000",
}

RAW = rb'{"session_id":"%s","source_type":"message","events":[{"rows":[{"path":"/raw/\udcff"}]}]}'


class Life:
    """A server that can be killed and started again."""

    def __init__(self, directory: Path, datastores: dict[str, str]) -> None:
        self._directory = directory
        self._config = config(datastores)
        self.server = Server(directory, self._config)

    def store(self, name: str = "one") -> Store:
        return Store(self.server, name)

    def configure(self, **datastores: str) -> None:
        """From the next start on."""
        self._config = config(datastores)

    def restart(self, number: int = signal.SIGKILL, *, down_seconds: float = 0.0) -> None:
        if number == signal.SIGKILL:
            self.server.kill()
        else:
            self.server.stop(number)
        time.sleep(down_seconds)
        self.server = Server(self._directory, self._config)
        until(lambda: self.server.http.get("/health/ready").status_code == 200)


Begin = Callable[..., Life]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    lives: list[Life] = []

    def begin(settings: str = "", **more: str) -> Life:
        lives.append(Life(tmp_path / str(len(lives)), {"one": settings, **more}))
        return lives[-1]

    yield begin
    for life in lives:
        life.server.kill()


@pytest.fixture(params=SETTINGS)
def life(request: pytest.FixtureRequest, begin: Begin) -> Life:
    return begin(SETTINGS[request.param])


def test_tree_and_readiness(life: Life) -> None:
    store = life.store()
    session = store.ready(*(file(f"/d{n % 3}/f{n}", n, m=n + 0.125) for n in range(100)), folder("/e", 5.5))
    store.message(session, file("/d1/f1", 7, m=1.5), index=1_700_000_000_000)
    store.delete(session, "/d2")
    store.message(session, file("/d0/new"))
    accepted(store.post(RAW % session.encode()))
    before = store.get_tree().content
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        life.restart(number)
        store = life.store()
        assert store.get_tree().content == before  # to the byte, the order of children too
        assert store.state() == "ready"


def test_sessions_tasks_and_positions(life: Life) -> None:
    store = life.store()
    old = store.open("first")
    store.message(old, file("/a"), index=17)
    session = store.open("task")
    store.snapshot(session, file("/b"), end=True)
    store.message(session, file("/c"), index=23)
    ended = store.open("third")
    store.end_session(ended)
    listed = {key: value | {"last_activity": 0} for key, value in store.sessions().items()}
    life.restart()
    store = life.store()
    assert {key: value | {"last_activity": 0} for key, value in store.sessions().items()} == listed
    refused(store.heartbeat(old), 419)
    refused(store.heartbeat(session), 419)
    refused(store.heartbeat(ended), 404)
    assert store.state() == "stale"
    again = store.open("task")
    assert store.position(again).json() == {"index": 23}
    assert store.position(store.open("first")).json() == {"index": 17}


def test_a_session_goes_on_with_its_old_id(life: Life) -> None:
    session = life.store().ready(file("/a"))
    life.restart()
    store = life.store()
    assert store.heartbeat(session).status_code == 200
    store.message(session, file("/b"))
    store.snapshot(session, file("/c"), end=True)
    assert store.paths() == {"/c"}


def test_a_snapshot_goes_on_where_it_was(life: Life) -> None:
    store = life.store()
    store.ready(file("/old"), file("/kept"))
    session = store.open()
    store.snapshot(session, file("/kept"), file("/new"))
    store.message(session, file("/live", 2, m=200.0))
    store.delete(session, "/gone")
    life.restart()
    store = life.store()
    assert store.state() == "snapshot"
    store.snapshot(session, file("/live", 9, m=100.0), file("/gone/below", m=100.0), file("/last"))
    life.restart()
    store = life.store()
    store.end(session)
    assert store.paths() == {"/kept", "/new", "/live", "/last"}
    assert store.tree("/live")["size"] == 2


def test_the_breaker_stays_open(life: Life) -> None:
    store = life.store()
    session = store.ready(file("/a"))
    assert store.anomaly(session, reason="lost events").status_code == 200
    tripped = store.breaker()
    life.restart()
    store = life.store()
    assert store.state() == "tripped"
    assert store.breaker() == tripped
    store.end(session)
    assert store.state() == "tripped"
    store.snapshot(session, file("/b"), end=True)
    life.restart()
    assert life.store().paths() == {"/b"}
    assert not life.store().breaker()["tripped"]


def test_the_breaker_is_closed_for_good(life: Life) -> None:
    store = life.store()
    session = store.ready(file("/a"))
    store.anomaly(session)
    store.snapshot(session, file("/a"), end=True)
    store.end_session(session)
    life.restart()
    assert life.store().state() == "stale"
    assert not life.store().breaker()["tripped"]


def test_a_reset_lasts(life: Life) -> None:
    store = life.store()
    session = store.ready(file("/a/b"))
    assert store.http.delete("/views/fs/reset").status_code == 204
    store.message(session, file("/c"))
    life.restart()
    store = life.store()
    assert store.paths() == {"/c"}


def test_datastores_do_not_mix(begin: Begin) -> None:
    life = begin(two="", three="allow_concurrent_push = true")
    for name in ("one", "two", "three"):
        life.store(name).ready(file(f"/{name}"))
    life.restart()
    for name in ("one", "two", "three"):
        assert life.store(name).paths() == {f"/{name}"}


def test_timeouts_begin_anew_when_the_server_listens(begin: Begin) -> None:
    life = begin("session_timeout_seconds = 2")
    session = life.store().ready(file("/a"))
    life.restart(down_seconds=2.5)
    store = life.store()
    assert store.heartbeat(session).status_code == 200
    assert store.paths() == {"/a"}
    records = health(life)["one"]["journal"]["last_record"]
    until(lambda: store.state() == "stale")
    refused(store.heartbeat(session), 404)
    until(lambda: health(life)["one"]["journal"]["last_record"] > records)
    life.restart()
    assert life.store().state() == "stale"
    refused(life.store().heartbeat(session), 404)


@pytest.mark.parametrize(("durability", "paths"), [("fsync", {"/a"}), ("os", {"/a"}), ("none", None)])
def test_durability(begin: Begin, durability: str, paths: set[str] | None) -> None:
    life = begin(f'durability = "{durability}"')
    session = life.store().ready(file("/a"))
    life.restart()
    store = life.store()
    if paths is None:
        assert store.state() == "empty"
        refused(store.heartbeat(session), 404)
    else:
        assert store.paths() == paths
        assert store.heartbeat(session).status_code == 200


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_journal_that_was_left_out_for_a_while(begin: Begin, durability: str) -> None:
    """It knows nothing of what was acknowledged meanwhile: its tree is not shown, its sessions are over."""
    life = begin(f'durability = "{durability}"')
    old = life.store().ready(file("/old"))
    life.configure(one='durability = "none"')
    life.restart()
    assert life.store().state() == "empty"
    life.store().ready(file("/new"))
    life.configure(one=f'durability = "{durability}"')
    for _ in range(2):
        life.restart()
        assert life.store().state() == "stale"
        refused(life.store().heartbeat(old), 404)
    life.store().ready(file("/newest"))
    life.restart()
    assert life.store().paths() == {"/newest"}


def test_a_datastore_that_was_left_out_for_a_while(begin: Begin) -> None:
    """Nobody could tell it anything meanwhile."""
    life = begin()
    session = life.store().ready(file("/a"))
    life.configure(two="")
    life.restart()
    life.store("two").ready(file("/b"))
    life.configure(one="", two="")
    life.restart()
    assert life.store().paths() == {"/a"}
    assert life.store().heartbeat(session).status_code == 200


def test_health_tells_of_the_journal(begin: Begin) -> None:
    life = begin("checkpoint_bytes = 0", two='durability = "none"')
    store = life.store()
    session = store.ready(file("/a"))
    until(lambda: health(life)["one"]["journal"]["last_checkpoint"] > 0)
    accepted(store.try_message(session, file("/b")))
    found = health(life)
    assert found["one"]["ok"] and found["one"]["state"] == "ready"
    assert found["one"]["durability"] == "fsync"
    assert found["one"]["journal"]["last_record"] >= 4
    assert found["one"]["journal"]["error"] is None
    assert (found["two"]["durability"], found["two"]["journal"]) == ("none", None)


def health(life: Life) -> dict[str, Any]:
    answer = life.server.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    return answer.json()["datastores"]


def test_a_data_directory_has_one_server(begin: Begin, tmp_path: Path) -> None:
    life = begin()
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "serve", "--config", "fusion.toml"],
        cwd=tmp_path / "0",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    line = f"fusion: fusion-data is in use by another process (id {life.server.process.pid})"
    assert done.stderr == f"{line} (--data-dir names another one)\n"
    life.store().ready(file("/a"))


def test_a_data_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "fusion.toml").write_text(config({"one": ""}))
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "serve", "--config", "fusion.toml", "--data-dir", "file/data"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fusion: file/data cannot be the data directory: Not a directory\n"
