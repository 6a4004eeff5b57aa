"""Server processes to measure: Fusion's, and a bare Sanic beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

KEY = "benchmark"
SESSION_SECONDS = 120
CONFIG = f"""
[server]
port = 0
[datastores.bench]
session_timeout_seconds = {SESSION_SECONDS}
[[keys]]
key = "{KEY}"
datastore = "bench"
scopes = ["read", "ingest", "admin"]
"""
BARE = Path(__file__).with_name("bare_sanic.py")
STOP_SECONDS = 60


class Process(NamedTuple):
    """A server that is listening on 127.0.0.1, and a key for it."""

    pid: int
    port: int
    key: str = KEY


@contextmanager
def fusion_server(
    directory: Path, program: Sequence[str] = ("-m", "fusion"), **settings: str | int
) -> Iterator[Process]:
    """`fusion serve` with one datastore, whose key is KEY, with these settings; what it keeps is in data/.

    `program` is how Python runs `fusion`.
    """
    lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    (directory / "fusion.toml").write_text(CONFIG.replace("[[keys]]", f"{lines}[[keys]]"))
    command = [*program, "serve", "--config", "fusion.toml", "--data-dir", "data"]
    with running(command, directory) as process:
        yield process


@contextmanager
def bare_server(*files: Path) -> Iterator[Process]:
    """A Sanic that answers `GET /<name>` with the bytes of a file, and any POST with 204."""
    with running([str(BARE), *map(str, files)]) as process:
        yield process


def kill(process: Process) -> None:
    """End it without a chance to tidy up, and wait until it is gone."""
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@contextmanager
def running(
    arguments: list[str],
    directory: Path | None = None,
    *,
    python: str | Path = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run Python until the block ends; its first line of output ends with the port it listens on.

    `variables` are added to its environment. The block may kill it, see `kill`.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("FUSION_", "FUSTOR_"))
    }
    process = subprocess.Popen(
        [str(python), *arguments],
        cwd=directory,
        env={**inherited, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert line, "the server ended at once"
            yield Process(process.pid, int(line.rpartition(":")[2]))
            if process.poll() is None:
                process.terminate()
                assert process.wait(STOP_SECONDS) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
