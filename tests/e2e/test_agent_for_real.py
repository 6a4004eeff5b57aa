"""`fusion agent`: the tree is the disk, whatever happens to the disk, to the server and to the agent."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Command, Service, disk, generate, until

KEY = "a key for this test"

Start = Callable[..., Command]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    generate(root)
    return root


class Server:
    """A server that can be killed and comes back with the same address and files."""

    def __init__(self, fusion: Start, folder: Path) -> None:
        self._fusion = fusion
        self._config = folder / "fusion.toml"
        self._config.write_text(
            f'[server]\nport = 0\ndata_dir = "{folder}/data"\n'
            f'[datastores.research]\ndurability = "fsync"\nsession_timeout_seconds = 30\n'
            f'[[keys]]\nkey = "{KEY}"\ndatastore = "research"\nscopes = ["read", "ingest"]\n'
        )
        self._port = "0"
        self.start()

    def start(self) -> None:
        self.command = self._fusion("serve", "--config", str(self._config), "--port", self._port)
        self.url = self.command.match(r"listening on (http://\S+)\n")[1]
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        self.command.end(signal.SIGKILL)


@pytest.fixture
def server(fusion: Start, tmp_path: Path) -> Server:
    return Server(fusion, tmp_path)


@pytest.fixture
def service(server: Server) -> Iterator[Service]:
    service = Service(server.url, KEY)
    yield service
    service.close()


@pytest.fixture
def agent(fusion: Start, server: Server, root: Path, tmp_path: Path) -> Callable[..., Command]:
    """Start an agent."""

    def start(*options: str) -> Command:
        state = ("--state-dir", str(tmp_path / "state"))
        return fusion("agent", str(root), "--url", server.url, *state, *options, FUSION_API_KEY=KEY)

    return start


def shows(service: Service, root: Path) -> bool:
    """Whether the tree is the disk: paths, kinds, sizes and times of modification."""

    def compared(entries: dict[str, tuple[bool, int, float, float]]) -> dict[str, tuple[bool, int, float]]:
        return {path: entry[:3] for path, entry in entries.items()}

    tree = service.tree(root)
    return tree is not None and compared(tree) == compared(disk(root))


def until_shown(service: Service, root: Path, command: Command) -> None:
    def difference() -> str:
        told, real = service.tree(root) or {}, disk(root)
        missing, extra = sorted(real.keys() - told.keys()), sorted(told.keys() - real.keys())
        other = [path for path in real.keys() & told.keys() if told[path][:3] != real[path][:3]]
        return f"missing {missing[:5]}, extra {extra[:5]}, other {other[:5]}\n{command.output}"

    def same() -> bool:
        assert command.process.poll() is None, command.output
        return shows(service, root)

    until(same, difference)


class Churn:
    """Random changes of a tree by a thread, until the block ends."""

    def __init__(self, root: Path, seed: int, pause: float = 0.0005) -> None:
        self.steps = 0
        self._root = root
        self._random = random.Random(seed)
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Churn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def progresses(self, steps: int) -> None:
        """Returns after so many more steps."""
        goal = self.steps + steps
        until(lambda: self.steps >= goal)

    def _run(self) -> None:
        changes = [
            self._write,
            self._write,
            self._append,
            self._make,
            self._rename,
            self._delete,
            self._chmod,
        ]
        while not self._ended.is_set():
            # What one of these cannot do is left: a directory moved below itself, a name that is taken.
            with contextlib.suppress(OSError):
                self._random.choice(changes)(self._directory())
            self.steps += 1
            time.sleep(self._random.random() * self._pause * 2)

    def _directory(self) -> Path:
        found = self._root
        while below := sorted(e.path for e in os.scandir(found) if e.is_dir(follow_symlinks=False)):
            if self._random.random() < 0.3:
                break
            found = Path(self._random.choice(below))
        return found

    def _entry(self, place: Path) -> Path:
        names = sorted(os.listdir(place))
        if not names:
            raise FileNotFoundError
        return place / self._random.choice(names)

    def _write(self, place: Path) -> None:
        (place / f"f{self._random.randrange(30)}").write_bytes(b"x" * self._random.randrange(9999))

    def _append(self, place: Path) -> None:
        with self._entry(place).open("ab") as file:
            file.write(b"more")

    def _make(self, place: Path) -> None:
        new = place / f"d{self._random.randrange(9)}"
        new.mkdir()
        for number in range(self._random.randrange(4)):
            (new / f"f{number}").touch()

    def _rename(self, place: Path) -> None:
        self._entry(place).rename(self._directory() / f"m{self._random.randrange(20)}")

    def _delete(self, place: Path) -> None:
        chosen = self._entry(place)
        if not chosen.is_dir():
            chosen.unlink()
        elif self._random.random() < 0.3:
            shutil.rmtree(chosen)

    def _chmod(self, place: Path) -> None:
        self._entry(place).chmod(self._random.choice([0o700, 0o755, 0o750]))


@pytest.fixture(params=[False, True], ids=["", "server killed"])
def disturbed(
    request: pytest.FixtureRequest, server: Server
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A block in which the server may be killed; it is started again afterwards."""

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        if not request.param:
            yield
            return
        killer = threading.Timer(0.005, server.kill)  # in the midst, or shortly before or after
        killer.start()
        try:
            yield
        finally:
            killer.join()
            server.start()

    return block


def fill(directory: Path, files: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (directory / f"{number}").write_bytes(b"x" * (number % 7))


def empty_directory_renamed(root: Path) -> None:
    (root / "empty").rename(root / "renamed")


BURSTS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "5,000 new files": (lambda root: None, lambda root: fill(root / "empty", 5000)),
    "mv of 50 files": (lambda root: fill(root / "d", 50), lambda root: (root / "d").rename(root / "empty/e")),
    "rm -r of 50 files": (lambda root: fill(root / "d", 50), lambda root: shutil.rmtree(root / "d")),
    "cp -r of 221 nodes": (
        lambda root: [fill(root / f"d/{n}", 21) for n in range(10)],
        lambda root: shutil.copytree(root / "d", root / "copy"),
    ),
    "mv of an empty directory": (lambda root: None, empty_directory_renamed),
}


@pytest.mark.parametrize("burst", BURSTS)
def test_a_burst(
    agent: Callable[..., Command],
    service: Service,
    root: Path,
    burst: str,
    disturbed: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    prepare, change = BURSTS[burst]
    prepare(root)
    command = agent()
    command.match("following changes")
    until_shown(service, root, command)
    with disturbed():
        change(root)
    until_shown(service, root, command)
    assert command.output.count("ready: ") == 1


@pytest.mark.parametrize("seed", range(2))
def test_changes_while_the_server_is_killed_again_and_again(
    agent: Callable[..., Command], server: Server, service: Service, root: Path, seed: int
) -> None:
    command = agent()
    with Churn(root, seed) as churn:
        for _ in range(3):  # the first time while it scans
            churn.progresses(200)
            server.kill()
            churn.progresses(200)
            server.start()
    until_shown(service, root, command)


@pytest.mark.parametrize("seed", range(2))
def test_changes_while_the_agent_is_killed_and_started_again(
    agent: Callable[..., Command], service: Service, root: Path, seed: int
) -> None:
    command = agent()
    with Churn(root, 100 + seed) as churn:
        for _ in range(3):
            churn.progresses(300)
            command.end(signal.SIGKILL)
            churn.progresses(100)
            command = agent()
    until_shown(service, root, command)


def test_both_are_killed(
    agent: Callable[..., Command], server: Server, service: Service, root: Path, tmp_path: Path
) -> None:
    command = agent()
    command.match("following changes")
    with Churn(root, 7) as churn:
        server.kill()
        until(lambda: list(tmp_path.glob("state/spool-*/*.json*")))
        command.end(signal.SIGKILL)
        churn.progresses(100)
        command = agent()
        churn.progresses(100)
        server.start()
    until_shown(service, root, command)
    assert len(list(tmp_path.glob("state/spool-*"))) == 1


def test_what_changes_during_an_outage_waits_in_the_spool_and_no_new_snapshot_is_needed(
    agent: Callable[..., Command], server: Server, service: Service, root: Path, tmp_path: Path
) -> None:
    command = agent()
    command.match("following changes")
    server.kill()
    with Churn(root, 8) as churn:
        until(lambda: len(list(tmp_path.glob("state/spool-*/*.json*"))) >= 3)
        churn.progresses(100)
    server.start()
    until_shown(service, root, command)
    until(lambda: not list(tmp_path.glob("state/spool-*/*.json*")))
    assert command.output.count("ready: ") == 1


def test_a_full_spool_is_made_good_by_a_new_snapshot(
    agent: Callable[..., Command], server: Server, service: Service, root: Path
) -> None:
    command = agent("--spool-bytes", "3000")
    command.match("following changes")
    server.kill()
    with Churn(root, 9):
        command.match("the spool is full")
    server.start()
    command.match("(?s)ready: .*ready: ")
    until_shown(service, root, command)


def test_names_that_are_not_utf8(agent: Callable[..., Command], service: Service, root: Path) -> None:
    place = root / "empty"
    (place / os.fsdecode(b"caf\xe9")).mkdir()
    command = agent()
    command.match("following changes")
    (place / os.fsdecode(b"caf\xe9/\xff")).touch()
    (place / os.fsdecode(b"caf\xe9")).rename(place / os.fsdecode(b"\xb5"))
    until(lambda: service.tree(place / os.fsdecode(b"\xb5/\xff")))
    until(lambda: len(service.tree(place) or ()) == len(disk(place)))


# The command


def test_it_stops_cleanly(
    agent: Callable[..., Command], server: Server, service: Service, root: Path, tmp_path: Path
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        command = agent()
        command.match("following changes, Ctrl-C stops\n")
        assert command.end(number) == 0
        lines = command.output.splitlines()
        assert lines[0] == f"telling {server.url} of {root}"
        assert re.fullmatch(r"ready: [\d,]+ nodes in [\d.]+ s", lines[1])
        assert lines[-1] == "stopped"
        assert "\x1b" not in command.output and "\r" not in command.output
        assert service.stats() is None  # its session is ended: nobody vouches for the tree any more
    assert list((tmp_path / "state").iterdir()) == []


def test_it_is_interrupted_before_the_server_had_anything(
    agent: Callable[..., Command], server: Server
) -> None:
    server.kill()
    command = agent()
    command.match("cannot reach")
    assert command.end(signal.SIGINT) == 130
    assert command.output.endswith("stopped\n")


def test_a_wrong_key_fails(agent: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a wrong key\n")
    command = agent("--api-key-file", str(tmp_path / "key"))
    assert command.process.wait(60) == 1
    assert command.output.splitlines()[-1].startswith("fusion: the server refused the agent: ")
    assert "a wrong key" not in command.output


def test_once(agent: Callable[..., Command], service: Service, root: Path) -> None:
    (root / "left out.tmp").touch()
    command = agent("--once", "--exclude", "*.tmp")
    assert command.process.wait(60) == 0
    assert re.fullmatch(r"telling .*\nready: [\d,]+ nodes in [\d.]+ s\n", command.output)
    tree = until(lambda: service.tree(root))
    assert tree.keys() == disk(root).keys() - {str(root / "left out.tmp")}


def test_the_key_is_seen_nowhere(agent: Callable[..., Command], server: Server, root: Path) -> None:
    command = agent()
    command.match("following changes")
    assert KEY not in Path(f"/proc/{command.process.pid}/cmdline").read_text()
    server.kill()
    (root / "new").touch()
    command.match("cannot reach")
    assert KEY not in command.output


def test_a_second_agent_takes_over_and_the_first_one_waits(
    agent: Callable[..., Command], service: Service, root: Path
) -> None:
    first = agent()
    first.match("following changes")
    second = agent()
    second.match("following changes")
    (root / "new").touch()
    first.match("a newer session feeds this datastore")
    until_shown(service, root, second)
    assert second.end() == 0
    first.match("(?s)ready: .*ready: ")
    until_shown(service, root, first)


def test_a_wide_tree_moves_as_a_whole(agent: Callable[..., Command], service: Service, root: Path) -> None:
    """More than one message holds; changes inside go on while it moves."""
    for number in range(60):
        fill(root / f"wide/{number}", 50)
    command = agent()
    command.match("following changes")
    for number in range(5):
        (root / "wide").rename(root / f"empty/wide{number}")
        (root / f"empty/wide{number}/7/new{number}").touch()
        (root / f"empty/wide{number}").rename(root / "wide")
        fill(root / f"wide/more{number}", 3)
    until_shown(service, root, command)
    assert command.output.count("ready: ") == 1
