"""`fusion watch`: one command from nothing to a tree that follows the disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import FUSION, Command, Service, disk, generate, until

Start = Callable[..., Command]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    generate(root)
    return root


@contextmanager
def watching(fusion: Start, root: Path, **environment: str) -> Iterator[tuple[Command, Service]]:
    command = fusion("watch", str(root), "--port", "0", **environment)
    url = command.match(r"serving .* at (http://\S+)\n")[1]
    key = command.match(r"API key .*: (fus_[0-9a-f]+_[A-Za-z0-9_-]{43})\n")[1]
    service = Service(url, key)
    try:
        yield command, service
    finally:
        service.close()


def server_of(command: Command) -> int:
    """The process id of the server that the command started."""
    children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children")
    return int(until(lambda: children.read_text().split())[0])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ready_tells_the_servers_figures_and_the_tree_is_the_disk(fusion: Start, root: Path) -> None:
    with watching(fusion, root) as (command, service):
        files, directories = command.match(
            r"ready: ([\d,]+) files, ([\d,]+) directories in [\d.]+ s\n"
        ).groups()
        stats = service.stats()
        assert stats is not None
        assert service.tree(root) == disk(root)
        assert int(files.replace(",", "")) == stats["total_files"]
        assert int(directories.replace(",", "")) == stats["total_directories"]
        on_disk = disk(root)
        assert stats["total_files"] == sum(not entry.is_dir for entry in on_disk.values())
        above = len(root.parts) - 1
        assert stats["total_directories"] == sum(entry.is_dir for entry in on_disk.values()) + above


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_printed_curl_works(fusion: Start, root: Path) -> None:
    with watching(fusion, root) as (command, _):
        line = command.match(r"\n  (curl .*)\n")[1]
        command.match("ready: ")
        answer = subprocess.run(
            line.replace("curl", "curl -sS", 1), shell=True, capture_output=True, check=True
        )
        assert answer.stdout.startswith(b'{"name":"root","content_type":"directory"')


def test_live_changes(fusion: Start, root: Path, tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    outside = tmp_path / "outside"
    generate(outside, directories=5)
    steps: list[Callable[[], object]] = [
        lambda: write("new", "1"),
        lambda: write("new", "more than before"),
        lambda: (root / "new").rename(root / "renamed"),
        lambda: (root / "renamed").unlink(),
        lambda: write("a/b/c/d/e", "deep"),
        lambda: (root / "a").rename(root / "empty/moved"),
        lambda: write("empty/moved/b/c/later", "in a moved directory"),
        lambda: shutil.rmtree(root / "empty/moved/b"),
        lambda: (root / "link").symlink_to("empty"),
        lambda: (root / os.fsdecode(b"caf\xe9")).touch(),
        lambda: (root / os.fsdecode(b"caf\xe9")).unlink(),
        lambda: os.utime(root / "file_000.dat", (1e9, 1e9)),
        lambda: outside.rename(root / "outside"),
        lambda: shutil.copytree(root / "outside", root / "copy"),
        lambda: shutil.rmtree(root / "outside"),
        lambda: (root / "copy").rename(tmp_path / "gone"),
    ]
    with watching(fusion, root) as (command, service):
        command.match("ready: ")
        for number, step in enumerate(steps):
            step()
            if number == 9:  # the path of a name that is not UTF-8 is not shown byte for byte
                until(lambda: len(service.tree(root) or ()) == len(disk(root)))
            else:
                until(lambda: service.tree(root) == disk(root), lambda n=number: f"step {n}")


def test_the_servers_own_files_are_left_out(fusion: Start, root: Path) -> None:
    temporary = root / "empty"
    with watching(fusion, root, TMPDIR=str(temporary)) as (command, service):
        command.match("ready: ")
        (own,) = temporary.iterdir()
        assert (own / "fusion.toml").exists()
        assert set(service.tree(temporary) or ()) == {str(temporary), str(own)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly(fusion: Start, root: Path, number: signal.Signals) -> None:
    with watching(fusion, root) as (command, _):
        command.match("following changes")
        server = server_of(command)
        assert command.end(number) == 0
        assert command.output.endswith("\nstopped\n")
        assert gone(server)


def test_the_server_ends_with_a_killed_command(fusion: Start, root: Path) -> None:
    with watching(fusion, root) as (command, _):
        command.match("ready: ")
        server = server_of(command)
        command.end(signal.SIGKILL)
        until(lambda: gone(server))


def test_a_server_that_dies_ends_the_command(fusion: Start, root: Path) -> None:
    with watching(fusion, root) as (command, _):
        command.match("ready: ")
        os.kill(server_of(command), signal.SIGKILL)
        assert command.process.wait(60) == 1
        assert "fusion: the server ended" in command.output


def test_a_port_that_is_taken(fusion: Start, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = fusion("watch", str(root), "--port", str(port))
        assert command.process.wait(60) == 1
        (line,) = command.output.splitlines()
        assert line.startswith(f"fusion: cannot listen on 127.0.0.1:{port}: address already in use")


def test_queries(fusion: Start, root: Path) -> None:
    with watching(fusion, root) as (command, _):
        command.match("ready: ")
        url = command.match(r" at (http://\S+)\n")[1]
        key = command.match(r"API key .*: (\S+)\n")[1]

        def ask(*arguments: str) -> str:
            environment = {**os.environ, "FUSION_URL": url, "FUSION_API_KEY": key}
            done = subprocess.run([*FUSION, *arguments], env=environment, capture_output=True, check=True)
            assert done.stderr == b""
            return done.stdout.decode()

        assert ask("tree", str(root / "empty")) == f"{root}/empty/\n\n0 directories, 0 files\n"
        assert ask("find", "EMOJI").splitlines() == [str(root / "emoji 🗂")]
        assert ask("stats").startswith("files")
