"""The public agent, unchanged, keeps a served tree equal to the disk."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Command, Entry, Service, disk, generate, until
from public_agent import PublicAgent, environment

KEY = "a key for this test"
REMIND_SECONDS = 1.0


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    environment()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    generate(root)
    return root


@pytest.fixture
def serve(fusion: Callable[..., Command], tmp_path: Path) -> Callable[[], str]:
    """Start the server, or kill the one that runs and start it anew at the same address, which it returns."""
    config = tmp_path / "fusion.toml"
    config.write_text(
        f'[server]\nport = 0\ndata_dir = "{tmp_path}/data"\n[datastores.research]\n'
        f'[[keys]]\nkey = "{KEY}"\ndatastore = "research"\nscopes = ["read", "ingest"]\n'
    )
    port = "0"
    running: list[Command] = []

    def serve() -> str:
        nonlocal port
        for command in running:
            command.end(signal.SIGKILL)
        running[:] = [fusion("serve", "--config", str(config), "--port", port)]
        url = running[0].match(r"listening on (http://\S+)\n")[1]
        port = url.rpartition(":")[2]
        return url

    return serve


@pytest.fixture
def url(serve: Callable[[], str]) -> str:
    return serve()


@pytest.fixture
def service(url: str) -> Iterator[Service]:
    service = Service(url, KEY)
    yield service
    service.close()


@pytest.fixture
def agent(tmp_path: Path, root: Path, url: str) -> Iterator[Callable[[], Command]]:
    """Start the agent, or end the one that runs and start it anew."""
    public = PublicAgent(tmp_path / "home", root, url, KEY)
    running: list[Command] = []

    def start() -> Command:
        for command in running:
            command.close()
        running[:] = [public.start()]
        running[0].match("WatchManager started")
        return running[0]

    yield start
    for command in running:
        command.close()


def told(entries: dict[str, Entry] | None) -> dict[str, Entry]:
    """What the agent tells of a changing tree: never that a directory's own times have changed."""
    return {
        path: entry if not entry.is_dir else Entry(True, 0, 0.0, 0.0)
        for path, entry in (entries or {}).items()
    }


def test_the_tree_is_the_disk_before_and_after_live_changes(
    agent: Callable[[], Command], service: Service, root: Path
) -> None:
    command = agent()
    until(lambda: service.tree(root) == disk(root), lambda: command.output)

    def write(name: str, text: str = "") -> Path:
        with open(root / name, "a") as file:
            file.write(text)
        return root / name

    def rename(old: str, new: str) -> Path:
        os.replace(root / old, root / new)
        return root / new

    # One at a time: of several changes within a millisecond the agent itself loses some.
    changes: list[Callable[[], Path | None]] = [
        lambda: write("new"),
        lambda: write("new", "more"),
        lambda: rename("new", "renamed ü"),
        lambda: rename("renamed ü", "empty/moved"),
        lambda: (root / "empty/moved").unlink(),
        lambda: (root / "made").mkdir(),
        lambda: write("made/file", "text"),
        lambda: (root / "made/file").unlink(),
        lambda: (root / "made").rmdir(),
        lambda: rename("file_000.dat", "file_001.dat"),
    ]
    for number, change in enumerate(changes):
        written = change()
        again = time.monotonic() + REMIND_SECONDS

        def seen(written: Path | None = written) -> bool:
            nonlocal again
            if written and time.monotonic() > again:
                # A rename is two changes, of which the agent may lose the second: closing the file tells it.
                written.open("a").close()
                again = time.monotonic() + REMIND_SECONDS
            return told(service.tree(root)) == told(disk(root))

        until(seen, lambda number=number: f"change {number}: {command.output}")


def test_a_restarted_agent_takes_over_and_its_snapshot_mends_what_it_had_lost(
    agent: Callable[[], Command], service: Service, root: Path
) -> None:
    command = agent()
    until(lambda: service.tree(root) == disk(root), lambda: command.output)
    first = next(root.glob("dir 0*"))
    shutil.copytree(first, root / "copied")
    first.rename(root / "moved")
    shutil.rmtree(next(root.glob("dir 1*")))
    (root / 'quote" and\nnewline').unlink()
    command = agent()
    until(lambda: service.tree(root) == disk(root), lambda: command.output)
    (root / "after").touch()
    until(lambda: told(service.tree(root)) == told(disk(root)), lambda: command.output)


def test_it_goes_on_after_the_server_was_killed_and_started_again(
    agent: Callable[[], Command], service: Service, serve: Callable[[], str], root: Path
) -> None:
    """It never opens a second session by itself: the one it has must still be good, and so must the tree."""
    command = agent()
    until(lambda: service.tree(root) == disk(root), lambda: command.output)
    (root / "before").touch()
    until(lambda: told(service.tree(root)) == told(disk(root)), lambda: command.output)
    serve()
    until(lambda: told(service.tree(root)) == told(disk(root)), lambda: command.output)
    (root / "after").touch()
    until(lambda: told(service.tree(root)) == told(disk(root)), lambda: command.output)
