"""Messages that wait: in which order, for how long, and what is given up."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.agent import outbox as outbox_module
from fusion.agent.failures import ChangesLost
from fusion.agent.outbox import IN_MEMORY, Outbox
from fusion.agent.spool import Spool, default_state_dir
from fusion.agent.wire import Body, plain

STUCK_SECONDS = 60.0


def body(text: str, coding: str = "identity") -> Body:
    return Body(text.encode(), coding)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "state", 100)
    yield spool
    spool.close()


def test_first_in_first_out_in_files(spool: Spool) -> None:
    spool.put(body("one"))
    spool.put(body("two", "zstd"))
    assert [file.name[-9:] for file in sorted(spool.directory.iterdir())] == ["0001.json", ".json.zst"]
    assert (len(spool), spool.bytes) == (2, 6)
    assert spool.first() == body("one") == spool.first()
    spool.remove_first()
    assert spool.first() == body("two", "zstd")
    spool.remove_first()
    assert (len(spool), spool.bytes, list(spool.directory.iterdir())) == (0, 0, [])


def test_long_messages_are_compressed(spool: Spool) -> None:
    spool.put(body("x" * 5000))
    assert spool.bytes < 100
    assert plain(spool.first()) == body("x" * 5000)


def test_what_does_not_fit_is_refused(spool: Spool) -> None:
    spool.put(body("x" * 99))
    spool.put(body("y"))
    with pytest.raises(ChangesLost, match=r"full \(100 bytes\)"):
        spool.put(body("z"))
    spool.remove_first()
    spool.put(body("z" * 99))


def test_a_spool_that_cannot_be_written_or_read(spool: Spool) -> None:
    spool.put(body("one"))
    (file,) = spool.directory.iterdir()
    file.unlink()
    with pytest.raises(ChangesLost, match="cannot be read: No such file"):
        spool.first()
    spool.directory.rmdir()
    with pytest.raises(ChangesLost, match="cannot be written: No such file"):
        spool.put(body("two"))


def test_clear_gives_up_what_is_being_written(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def slow(file: Path, content: bytes) -> None:
        write_bytes(file, content)
        spool.clear()

    spool.put(body("one"))
    monkeypatch.setattr(Path, "write_bytes", slow)
    spool.put(body("two"))
    assert (len(spool), spool.bytes, list(spool.directory.iterdir())) == (0, 0, [])


def test_a_spool_goes_with_its_process_and_others_stay(tmp_path: Path) -> None:
    state = tmp_path / "state"
    killed, running = Spool(state, 100), Spool(state, 100)
    killed.put(body("old"))
    running.put(body("mine"))
    os.close(killed._owned)  # what the end of its process does
    new = Spool(state, 100)
    assert set(state.iterdir()) == {running.directory, new.directory}
    assert (len(new), running.first()) == (0, body("mine"))
    running.close()
    new.close()
    assert list(state.iterdir()) == []
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Spool(tmp_path / "file", 100)


def test_the_state_directory_follows_the_xdg_specification(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for home, expected in (("/var/s", "/var/s/fusion"), ("relative", f"{tmp_path}/.local/state/fusion")):
        monkeypatch.setenv("XDG_STATE_HOME", home)
        assert default_state_dir() == Path(expected)


# The outbox


class Server:
    """Takes bodies while it is open."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.open = asyncio.Event()

    async def push(self, body: Body) -> None:
        await self.open.wait()
        await asyncio.sleep(0)
        self.got.append(body.content.decode())


async def until(true: object) -> None:
    assert callable(true)
    async with asyncio.timeout(STUCK_SECONDS):
        while not true():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("patience", [0.01, STUCK_SECONDS])
def test_only_what_waits_too_long_goes_to_files(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_SECONDS", patience)
    names = [f"{number}" for number in range(IN_MEMORY + 3)]

    async def run() -> None:
        server = Server()
        outbox = Outbox(server.push, spool)
        running = asyncio.create_task(outbox.run())
        if patience == STUCK_SECONDS:
            server.open.set()
        for name in names:
            await outbox.put(body(name))
        assert outbox.backlogged is (patience < STUCK_SECONDS)
        server.open.set()
        await outbox.delivered()
        assert server.got == names
        assert not outbox.backlogged
        running.cancel()

    asyncio.run(run())


def test_what_comes_while_files_wait_goes_behind_them(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_SECONDS", 0.0)
    turns = asyncio.Semaphore(0)
    got: list[str] = []

    async def push(body: Body) -> None:
        await turns.acquire()
        got.append(body.content.decode())

    async def run() -> None:
        outbox = Outbox(push, spool)
        running = asyncio.create_task(outbox.run())
        names = [f"{number}" for number in range(IN_MEMORY + 3)]
        for name in names[:-1]:
            await outbox.put(body(name))
        for _ in range(2):
            turns.release()
        await until(lambda: len(got) == 2)
        await outbox.put(body(names[-1]))  # there is room in memory again
        for _ in names:
            turns.release()
        await outbox.delivered()
        assert got == names
        running.cancel()

    asyncio.run(run())


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.sampled_from(["put", "open", "close", "wait"]), max_size=60))
def test_everything_arrives_once_and_in_order(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("state"), 1000)
    patience, outbox_module.PATIENCE_SECONDS = outbox_module.PATIENCE_SECONDS, 0.0

    async def run() -> None:
        server = Server()
        outbox = Outbox(server.push, spool)
        running = asyncio.create_task(outbox.run())
        made: list[str] = []
        for step in steps:
            if step == "put":
                made.append(f"{len(made)}")
                await outbox.put(body(made[-1]))
            elif step == "wait":
                await asyncio.sleep(0.0005)
            else:
                (server.open.set if step == "open" else server.open.clear)()
        server.open.set()
        async with asyncio.timeout(STUCK_SECONDS):
            await outbox.delivered()
        assert server.got == made
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    try:
        asyncio.run(run())
    finally:
        outbox_module.PATIENCE_SECONDS = patience
        spool.close()


def test_two_threads(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    names = [f"{number}" for number in range(500)]

    def put() -> None:
        for name in names:
            spool.put(body(name))

    thread = threading.Thread(target=put)
    thread.start()
    got = []
    while len(got) < len(names):
        if spool:
            got.append(spool.first().content.decode())
            spool.remove_first()
    thread.join()
    assert got == names
    spool.close()
