"""The agent against a stand-in: what it tells, in which order, and how it recovers."""

import asyncio
import contextlib
import logging
import mmap
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from fake_fusion import STUCK_SECONDS, Answer, FakeFusion, Request

from fusion.agent import Agent, Phase, Pusher, Refused
from fusion.agent import agent as agent_module
from fusion.agent import audit as audit_module
from fusion.agent import outbox as outbox_module
from fusion.agent import push as push_module
from fusion.agent.scope import Scope
from fusion.agent.selection import Selection
from fusion.agent.spool import Spool
from fusion.agent.watch import Changes, Watcher, WatchUnavailable


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(push_module, "_LONGEST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(agent_module, "ROOT_POLL_SECONDS", 0.01)


@pytest.fixture
def fake() -> Iterator[FakeFusion]:
    with FakeFusion() as fake:
        yield fake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("a", "d/b", "d/e/c", "empty/"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text(name)
    return root


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(STUCK_SECONDS):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def made(
    fake: FakeFusion,
    root: Path,
    *,
    selection: Selection | None = None,
    skip: Iterable[Path] = (),
    spool_bytes: int = 1 << 20,
    **options: Any,
) -> AsyncIterator[Agent]:
    """An agent that does not run yet."""
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(closing(Spool(root.parent / "state", spool_bytes)))
        pusher = Pusher(fake.url, "key")
        stack.push_async_callback(pusher.close)
        yield Agent(Scope.of(str(root), selection or Selection(), skip), pusher, spool, **options)


async def outcome(
    fake: FakeFusion, root: Path, run: Callable[[Agent], Coroutine[Any, Any, None]] = Agent.run
) -> None:
    """Runs an agent until it ends by itself."""
    async with made(fake, root) as agent, asyncio.timeout(STUCK_SECONDS):
        await run(agent)


@asynccontextmanager
async def running(fake: FakeFusion, root: Path, **options: Any) -> AsyncIterator[Agent]:
    """An agent until the end of the block, which fails when the agent does."""
    async with made(fake, root, **options) as agent, asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        yield agent
        task.cancel()


def follow(fake: FakeFusion, root: Path, *steps: Callable[[], Any], **options: Any) -> None:
    """Run an agent; after the snapshot do the steps, each of which the stand-in must come to show."""

    async def run() -> None:
        async with running(fake, root, **options):
            await until(lambda: fake.ends)
            assert fake.shows(root)
            for step in steps:
                step()
                await until(lambda: fake.shows(root))

    asyncio.run(run())


class Gate:
    """Holds requests of one kind until it is opened."""

    def __init__(self, fake: FakeFusion, holds: Callable[[Request], bool]) -> None:
        self.held = 0
        self.open = threading.Event()
        self._holds = holds
        fake.intercept = self

    def __call__(self, request: Request) -> None:
        if self._holds(request):
            self.held += 1
            self.open.wait(STUCK_SECONDS)


# The snapshot


def test_a_session_the_rows_and_the_end(fake: FakeFusion, root: Path) -> None:
    follow(fake, root)
    (opened, *pushes, ended) = fake.requests
    assert opened.document["task_id"].endswith(f":{root}")
    assert all(push.document["session_id"] == "session-1" for push in pushes)
    assert [push.is_push("snapshot", end=True) for push in pushes] == [False] * (len(pushes) - 1) + [True]
    assert (ended.method, ended.headers["session-id"]) == ("DELETE", "session-1")


def test_one_event_a_push_and_at_most_a_thousand_rows(fake: FakeFusion, root: Path) -> None:
    for number in range(2500):
        (root / f"d/{number}").touch()
    follow(fake, root)
    pushes = [push.document for push in fake.pushes("snapshot")]
    assert [len(push["events"]) for push in pushes] == [1] * len(pushes)
    assert max(len(push["events"][0]["rows"]) for push in pushes) == 1000
    assert len({push["events"][0]["index"] for push in pushes}) == 1


def test_several_pushes_are_in_flight_and_the_end_waits_for_them(fake: FakeFusion, root: Path) -> None:
    for number in range(5000):
        (root / f"d/{number}").touch()
    gate = Gate(fake, lambda request: request.is_push("snapshot"))

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: gate.held == agent_module.CONNECTIONS)
            assert not fake.pushes("snapshot", end=True)
            gate.open.set()
            await until(lambda: fake.ends)
            assert fake.shows(root)

    asyncio.run(run())


def test_a_change_during_the_snapshot_is_told_at_once_and_again_before_the_end(
    fake: FakeFusion, root: Path
) -> None:
    gate = Gate(fake, lambda request: request.is_push("snapshot"))

    def told(name: str) -> int:
        return sum(
            row["file_path"] == str(root / name)
            for push in fake.pushes("message")
            for event in push.document["events"]
            for row in event["rows"]
        )

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: gate.held)
            (root / "a").write_text("longer than before")
            (root / "d/b").unlink()
            await until(lambda: told("a") and told("d/b"))
            assert not fake.ends
            before = told("a"), told("d/b")
            gate.open.set()
            await until(lambda: fake.ends)
            assert (told("a"), told("d/b")) == (before[0] + 1, before[1] + 1)
            assert fake.shows(root)

    asyncio.run(run())
    end = fake.requests.index(fake.pushes("snapshot", end=True)[0])
    assert all(fake.requests.index(push) < end for push in fake.pushes("message"))


def test_names_that_are_not_utf8_and_links(fake: FakeFusion, root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    (root / os.fsdecode(b"caf\xe9/\xff")).touch()
    (root / "link").symlink_to("d")
    (root / "broken").symlink_to("nowhere")
    follow(
        fake,
        root,
        lambda: (root / os.fsdecode(b"caf\xe9/\xfe")).touch(),
        lambda: (root / os.fsdecode(b"caf\xe9")).rename(root / os.fsdecode(b"caf\xe8")),
        lambda: (root / "d/b").rename(root / os.fsdecode(b"\xb5")),
    )
    assert b"caf\\udce9" in b"".join(push.body for push in fake.pushes("snapshot"))


def test_a_root_that_is_not_utf8(fake: FakeFusion, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xe9")
    root.mkdir()
    follow(fake, root, (root / "x").touch)
    assert fake.sessions()[0].document["task_id"].endswith("/\\udce9")


# Changes


def test_files(fake: FakeFusion, root: Path) -> None:
    follow(
        fake,
        root,
        lambda: (root / "new").write_text("1"),
        lambda: (root / "new").write_text("12"),
        lambda: (root / "new").chmod(0o600),
        lambda: os.utime(root / "new", (5, 1e9 + 0.25)),
        lambda: (root / "new").rename(root / "d/renamed"),
        lambda: (root / "d/renamed").replace(root / "a"),
        lambda: (root / "a").unlink(),
    )


def test_directories(fake: FakeFusion, root: Path) -> None:
    def grow() -> None:
        for name in ("x/y/1", "x/y/z/2", "x/3"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)

    follow(
        fake,
        root,
        grow,
        lambda: (root / "x/y/z/later").touch(),
        lambda: (root / "x").rename(root / "moved"),
        lambda: (root / "moved/y/z/deep").touch(),
        lambda: (root / "moved").rename(root / "empty/moved"),
        lambda: (root / "empty/moved/y").rename(root / "y"),
        lambda: (root / "y/z/2").write_text("changed"),
        lambda: shutil.rmtree(root / "empty/moved"),
        lambda: shutil.rmtree(root / "y"),
        lambda: (root / "empty").rmdir(),
    )


def test_a_tree_moved_in_and_out(fake: FakeFusion, root: Path, tmp_path: Path) -> None:
    for name in ("tree/1/2/3", "tree/4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    follow(
        fake,
        root,
        lambda: (tmp_path / "tree").rename(root / "tree"),
        lambda: (root / "tree/1/2/new").touch(),
        lambda: (root / "tree").rename(tmp_path / "tree"),
        lambda: (tmp_path / "tree/1/2/unseen").touch() or (root / "seen").touch(),
    )
    assert not any("unseen" in push.body.decode() for push in fake.pushes("message"))


def test_a_rename_is_the_end_of_the_old_place_and_the_whole_of_the_new_one(
    fake: FakeFusion, root: Path
) -> None:
    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            (root / "d").rename(root / "empty/new")
            await until(lambda: fake.shows(root))

    asyncio.run(run())
    (push,) = fake.pushes("message")
    told = [
        (event["event_type"], row["file_path"].removeprefix(f"{root}/"))
        for event in push.document["events"]
        for row in event["rows"]
    ]
    assert told.index(("delete", "d")) < told.index(("delete", "empty/new"))
    content = {"empty/new/b", "empty/new/e", "empty/new/e/c", "empty/new"}
    assert {path for kind, path in told[told.index(("delete", "empty/new")) :] if kind == "update"} >= content


def test_an_empty_directory_is_renamed(fake: FakeFusion, root: Path) -> None:
    follow(
        fake,
        root,
        lambda: (root / "empty").rename(root / "other"),
        lambda: (root / "other").rename(root / "d/e/other"),
        lambda: (root / "d/e/other/x").touch(),
        lambda: (root / "d/e/other").rename(root / "empty"),
    )


def test_a_directory_that_takes_the_place_of_one_that_is_being_scanned(
    fake: FakeFusion, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan lists the one that was there and watches the one that came."""
    (tmp_path / "other/below").mkdir(parents=True)
    (tmp_path / "other/below/x").touch()
    add = Watcher.add

    def replaced(watcher: Watcher, path: str) -> None:
        if path == str(root / "new") and (tmp_path / "other").exists():
            (root / "new").rename(tmp_path / "old")
            (tmp_path / "other").rename(root / "new")
        add(watcher, path)

    monkeypatch.setattr(Watcher, "add", replaced)
    follow(fake, root, (root / "new").mkdir)


def test_a_file_becomes_a_directory_and_back(fake: FakeFusion, root: Path) -> None:
    def directory() -> None:
        (root / "a").unlink()
        (root / "a").mkdir()
        (root / "a/x").touch()

    def file() -> None:
        shutil.rmtree(root / "a")
        (root / "a").touch()

    follow(fake, root, directory, lambda: (root / "a/y").touch(), file)


def test_many_changes_at_once(fake: FakeFusion, root: Path) -> None:
    def fill() -> None:
        for number in range(2100):
            (root / f"d/{number}").touch()

    follow(fake, root, fill, lambda: shutil.rmtree(root / "d"))
    assert max(sum(len(e["rows"]) for e in p.document["events"]) for p in fake.pushes("message")) <= 2000


def test_changes_come_in_order_one_push_at_a_time(fake: FakeFusion, root: Path) -> None:
    gate = Gate(fake, lambda request: request.is_push("message"))

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            (root / "a").write_text("first")
            await until(lambda: gate.held == 1)
            (root / "a").unlink()
            (root / "other").touch()
            assert len(fake.pushes("message")) == 1
            gate.open.set()
            await until(lambda: fake.shows(root))

    asyncio.run(run())


def test_a_directory_that_becomes_readable_is_scanned(
    fake: FakeFusion, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = {str(root / "d")}
    add = Watcher.add

    def refused(watcher: Watcher, path: str) -> None:
        if path in closed:
            raise PermissionError(13, "Permission denied", path)
        add(watcher, path)

    monkeypatch.setattr(Watcher, "add", refused)

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            assert str(root / "d/b") not in fake.rows and str(root / "d") in fake.rows
            closed.clear()
            (root / "d").chmod(0o711)
            await until(lambda: fake.shows(root))
            (root / "d/e/new").touch()
            await until(lambda: fake.shows(root))

    asyncio.run(run())


class Mischief:
    """Random changes of a tree: files and directories come, go, move, leave and return."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self._outside = root.parent / "outside"
        self._outside.mkdir()
        self._random = random.Random(seed)
        self._number = 0

    def step(self) -> None:
        self._number += 1
        change = self._random.choice(
            [self._write, self._make, self._move, self._leave, self._return, self._remove]
        )
        with contextlib.suppress(OSError, IndexError):  # a directory moved below itself, or nothing there
            change(self._directory())

    def _directory(self) -> Path:
        """A directory, more often one of the upper ones."""
        found = self.root
        while below := [entry.path for entry in os.scandir(found) if entry.is_dir(follow_symlinks=False)]:
            if self._random.random() < 0.4:
                break
            found = Path(self._random.choice(sorted(below)))
        return found

    def _write(self, place: Path) -> None:
        (place / f"f{self._random.randrange(5)}").write_text("x" * self._random.randrange(99))

    def _make(self, place: Path) -> None:
        (place / f"d{self._number}/a/b").mkdir(parents=True)
        (place / f"d{self._number}/a/b/c").touch()

    def _move(self, place: Path) -> None:
        place.rename(self._directory() / f"m{self._random.randrange(9)}")

    def _leave(self, place: Path) -> None:
        if place != self.root:
            place.rename(self._outside / f"{self._number}")
            for file in self._outside.rglob("f*"):
                file.unlink()

    def _return(self, place: Path) -> None:
        self._random.choice(sorted(self._outside.iterdir())).rename(place / f"m{self._random.randrange(9)}")

    def _remove(self, place: Path) -> None:
        chosen = place / self._random.choice(sorted(os.listdir(place)))
        shutil.rmtree(chosen) if chosen.is_dir() else chosen.unlink()


@pytest.mark.parametrize("seed", range(5))
def test_random_changes(fake: FakeFusion, root: Path, seed: int) -> None:
    mischief = Mischief(root, seed)
    pause = random.Random(seed)

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            for _ in range(10):
                for _ in range(60):
                    mischief.step()
                    if pause.random() < 0.3:
                        await asyncio.sleep(pause.random() * 0.004)  # lets the agent see something in between
                await until(lambda: fake.shows(root))

    asyncio.run(run())
    assert not fake.signals() and fake.ends == 1  # no audit has helped


# What is left out


def test_only_what_is_selected_is_told(fake: FakeFusion, root: Path) -> None:
    (root / "d/x.log").touch()
    (root / "d/cache").mkdir()
    (root / "d/cache/y").touch()
    selection = Selection(exclude=["*.log", "cache/"])

    def paths() -> set[str]:
        return {path.removeprefix(f"{root}/") for path in dict(fake.rows)}

    async def run() -> None:
        async with running(fake, root, selection=selection):
            await until(lambda: fake.ends)
            before = paths()
            assert before == {str(root), "a", "d", "d/b", "d/e", "d/e/c", "empty"}
            (root / "d/x.log").write_text("changed")
            (root / "d/cache/z").touch()
            (root / "d/e").rename(root / "d/e.log")
            (root / "empty/cache").mkdir()
            (root / "empty/cache/y").touch()
            (root / "last").touch()
            await until(lambda: "last" in paths())
            assert paths() == before - {"d/e", "d/e/c"} | {"last"}
            (root / "d/e.log").rename(root / "d/e")
            (root / "empty/cache").rename(root / "empty/kept")
            await until(lambda: {"d/e/c", "empty/kept/y"} <= paths())
            shutil.rmtree(root / "d/cache")
            (root / "d/cache").touch()
            await until(lambda: "d/cache" in paths())
            (root / "d/cache").unlink()
            (root / "d/cache").mkdir()
            await until(lambda: "d/cache" not in paths())

    asyncio.run(run())
    assert b".log" not in b"".join(push.body for push in fake.pushes("message"))


def test_the_content_of_skipped_directories_is_left_out_also_through_a_link(
    fake: FakeFusion, root: Path
) -> None:
    state = root / "d/state"
    state.mkdir()
    (state / "old").touch()
    (root.parent / "link").symlink_to("root")
    through = Scope.of(str(root.parent / "link"), Selection(), [state])
    assert through.skip >= {str(root.parent / "link/d/state")}

    async def run() -> None:
        async with running(fake, root, skip=[state]):
            await until(lambda: fake.ends)
            (state / "new").touch()
            (root / "last").touch()
            await until(lambda: str(root / "last") in fake.rows)

    asyncio.run(run())
    told = b"".join(push.body for push in fake.pushes("message") + fake.pushes("snapshot"))
    assert b"d/state" in told and b"d/state/" not in told


# Audits


@pytest.fixture
def audits_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "AUDIT_SECONDS", 0.01)
    monkeypatch.setattr(audit_module, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(audit_module, "DOUBT_SECONDS", 0.3)


@pytest.mark.usefixtures("audits_often")
def test_what_is_written_through_a_memory_map_is_found_and_told(fake: FakeFusion, root: Path) -> None:
    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            with (root / "a").open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
                file.write(b"A")
                file.flush()
                await until(lambda: fake.shows(root))
                content[0] = 66
                content.flush()
                await until(lambda: fake.shows(root))

    before = (root / "a").stat().st_mtime_ns
    asyncio.run(run())
    assert (root / "a").stat().st_mtime_ns > before
    assert not fake.signals() and fake.ends == 1


@pytest.mark.usefixtures("audits_often")
def test_a_lost_change_is_signalled_and_mended_by_a_new_snapshot(
    fake: FakeFusion, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = Watcher.read
    losing = False

    def forgetful(watcher: Watcher) -> Changes:
        changes = read(watcher)
        return Changes() if losing else changes

    monkeypatch.setattr(Watcher, "read", forgetful)

    async def run() -> None:
        nonlocal losing
        async with running(fake, root):
            await until(lambda: fake.ends)
            (root / "d/first").touch()
            await until(lambda: fake.shows(root))
            losing = True
            (root / "d/second").touch()
            await until(lambda: fake.ends == 2)
            losing = False
            assert fake.shows(root)

    asyncio.run(run())
    (signal,) = fake.signals()
    assert signal["session_id"] == "session-1"
    assert {"path": str(root / "d"), "kind": "stale"}.items() <= signal["differences"][0].items()
    assert "changes were not told" in caplog.text


@pytest.mark.usefixtures("audits_often")
def test_audits_raise_no_false_alarms(fake: FakeFusion, root: Path) -> None:
    mischief = Mischief(root, 11)

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends)
            for _ in range(300):
                mischief.step()
                await asyncio.sleep(0.002)
            await until(lambda: fake.shows(root))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert not fake.signals() and fake.ends == 1


# Once


def test_once(fake: FakeFusion, root: Path) -> None:
    asyncio.run(outcome(fake, root, Agent.run_once))
    assert fake.shows(root) and fake.ends == 1
    assert all(request.method != "DELETE" for request in fake.requests)
    assert not fake.pushes("message")


def test_once_begins_anew_when_its_session_is_lost(fake: FakeFusion, root: Path) -> None:
    gone = Answer(404, {"detail": "unknown session"})
    fake.intercept = lambda r: gone if r.path.endswith("/events/") and b"session-1" in r.body else None
    asyncio.run(outcome(fake, root, Agent.run_once))
    assert fake.shows(root) and fake.ends == 1


# Outages


def test_an_outage_fills_the_spool_and_what_it_holds_is_told_in_order(
    fake: FakeFusion, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(agent_module, "BACKLOG_GATHER_SECONDS", 0.01)
    busy = Answer(503, {"detail": "busy"})

    async def run() -> None:
        async with running(fake, root) as agent:
            await until(lambda: fake.ends)
            fake.intercept = lambda request: busy if request.is_push("message") else None
            for number in range(30):
                (root / f"d/{number}").touch()
                await asyncio.sleep(0.02)
            await until(lambda: len(agent._spool) > 3)
            fake.intercept = lambda request: None
            await until(lambda: fake.shows(root) and not agent._spool)

    asyncio.run(run())
    assert fake.ends == 1


def test_a_full_spool_is_signalled_once_the_server_answers(
    fake: FakeFusion, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(agent_module, "BACKLOG_GATHER_SECONDS", 0.01)
    busy = Answer(503, {"detail": "busy"})

    async def run() -> None:
        async with running(fake, root, spool_bytes=1000) as agent:
            await until(lambda: fake.ends)
            fake.intercept = lambda request: busy if request.method == "POST" else None
            number = 0
            while "the spool is full" not in caplog.text:
                number += 1
                (root / f"d/{number}").touch()
                await asyncio.sleep(0.01)
            assert not agent._spool
            fake.intercept = lambda request: None
            await until(lambda: fake.ends == 2 and fake.shows(root))

    asyncio.run(run())
    assert fake.signals()[-1]["reason"] == "the spool is full (1,000 bytes)"


# Trouble


def test_a_lost_session_is_replaced_by_a_new_one_with_a_new_snapshot(fake: FakeFusion, root: Path) -> None:
    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends == 1)
            gone = Answer(404, {"detail": "unknown session"})
            fake.intercept = lambda r: (
                gone if r.path.endswith("/events/") and b"session-1" in r.body else None
            )
            (root / "a").write_text("changed")
            await until(lambda: fake.ends == 2 and fake.shows(root))
            assert len(fake.sessions()) == 2

    asyncio.run(run())


def test_an_expired_session_is_noticed_by_its_heartbeat(fake: FakeFusion, root: Path) -> None:
    fake.heartbeat_seconds = 0.01
    gone = Answer(404, {"detail": "expired"})

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends == 1)
            await until(lambda: sum(r.path.endswith("/heartbeat") for r in list(fake.requests)) >= 3)
            fake.intercept = lambda r: gone if r.headers.get("session-id") == "session-1" else None
            await until(lambda: fake.ends == 2 and fake.shows(root))

    asyncio.run(run())


def test_a_superseded_agent_waits_until_the_newer_session_has_ended(fake: FakeFusion, root: Path) -> None:
    async def run() -> None:
        async with running(fake, root) as agent:
            await until(lambda: fake.ends == 1)
            obsolete = Answer(419, {"detail": "obsolete"})
            fake.intercept = lambda r: obsolete if b"session-1" in r.body else None
            (root / "a").write_text("changed")
            asked = Request("GET", "/ingestor-api/v1/sessions/", {}, b"").path
            await until(lambda: sum(r.method == "GET" and r.path == asked for r in list(fake.requests)) >= 3)
            assert agent.phase is Phase.SUPERSEDED
            assert len(fake.sessions()) == 1
            fake.authoritative = False
            await until(lambda: fake.ends == 2 and fake.shows(root))

    asyncio.run(run())


def test_a_server_that_comes_later(root: Path) -> None:
    with FakeFusion() as fake:
        port = fake.port

    async def run() -> None:
        async with running(fake, root):
            with FakeFusion(port) as later:
                await until(lambda: later.ends and later.shows(root))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "intercepted"),
    [
        (Answer(401, {"detail": "unknown key"}), lambda request: True),
        (Answer(422, {"detail": "bad row"}), lambda request: request.is_push("snapshot")),
    ],
)
def test_an_agent_that_is_not_wanted_gives_up(
    fake: FakeFusion, root: Path, answer: Answer, intercepted: Callable[[Request], bool]
) -> None:
    fake.intercept = lambda request: answer if intercepted(request) else None
    with pytest.raises(Refused, match=answer.document["detail"]):
        asyncio.run(outcome(fake, root))


def test_an_overflow_is_signalled_and_mended_by_a_new_snapshot(
    fake: FakeFusion, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends == 1)
            for number in range(limit // 2 + 2):  # the agent cannot read while this loop has the thread
                name = root / f"d/{number % 500}"
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
                os.remove(name)
            (root / "d/e/last").touch()
            await until(lambda: fake.ends == 2 and fake.shows(root))

    with caplog.at_level(logging.WARNING, "fusion.agent"):
        asyncio.run(run())
    (signal,) = fake.signals()
    assert signal["session_id"] == "session-1"
    assert signal["reason"] == "changes came faster than they could be read"
    assert len(fake.sessions()) == 2
    assert "faster than they could be read" in caplog.text


@pytest.mark.parametrize("loss", ["limited", "unavailable"])
def test_without_all_watches_the_tree_is_scanned_again_and_again(
    fake: FakeFusion, root: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    def limited(self: Watcher, path: str) -> None:
        self.limited = True

    def unavailable(self: Watcher, root: str) -> None:
        raise WatchUnavailable("this system has no inotify")

    if loss == "limited":
        monkeypatch.setattr(Watcher, "add", limited)
    else:
        monkeypatch.setattr(Watcher, "__init__", unavailable)

    async def run() -> None:
        async with running(fake, root, rescan_seconds=0.01):
            await until(lambda: fake.ends)
            (root / "new").touch()
            await until(lambda: fake.shows(root))
        assert len(fake.sessions()) == 1

    asyncio.run(run())


def test_a_cancellation_is_not_lost_in_the_moment_of_a_wake_up(fake: FakeFusion, root: Path) -> None:
    async def run() -> None:
        async with running(fake, root) as agent:
            await until(lambda: fake.ends)
            (root / "new").touch()
            await until(lambda: fake.shows(root))  # and now it gathers for a while
            agent._hurry.set()

    asyncio.run(run())


@pytest.mark.parametrize("removed", ["root", "parent"])
def test_a_root_that_goes_away_and_comes_back(fake: FakeFusion, tmp_path: Path, removed: str) -> None:
    fake.heartbeat_seconds = 0.02
    root = tmp_path / "parent/root"
    root.mkdir(parents=True)
    (root / "x").touch()
    moved = root if removed == "root" else root.parent

    async def run() -> None:
        async with running(fake, root):
            await until(lambda: fake.ends == 1)
            moved.rename(tmp_path / "elsewhere")
            await until(lambda: not fake.rows)
            root.mkdir(parents=True)
            (root / "y").touch()
            await until(lambda: fake.ends == 2 and fake.shows(root))
            (root / "z").touch()
            await until(lambda: fake.shows(root))

    asyncio.run(run())


def test_phases(fake: FakeFusion, root: Path) -> None:
    phases: list[Phase] = []

    async def run() -> None:
        async with running(fake, root, on_phase=phases.append):
            await until(lambda: len(phases) == 3)  # the last one begins once the snapshot's end is answered

    asyncio.run(run())
    assert phases == [Phase.CONNECTING, Phase.SCANNING, Phase.FOLLOWING]


def test_a_session_that_cannot_be_ended_is_left_to_expire(fake: FakeFusion, root: Path) -> None:
    fake.intercept = lambda request: Answer(500, {}) if request.method == "DELETE" else None
    follow(fake, root)
    assert fake.requests[-1].method == "DELETE"


def test_nothing_is_left_open(fake: FakeFusion, root: Path) -> None:
    follow(fake, root)
    open_files = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    assert "anon_inode:inotify" not in [os.readlink(file) for file in open_files if file.is_symlink()]
