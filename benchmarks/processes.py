"""Server processes to measure: Fusion's, and a bare Sanic beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

KEY = "benchmark"
CONFIG = f"""
[server]
port = 0
[datastores.bench]
session_timeout_seconds = 120
[[keys]]
key = "{KEY}"
datastore = "bench"
scopes = ["read", "ingest", "admin"]
"""
BARE = Path(__file__).with_name("bare_sanic.py")
STOP_SECONDS = 60


class Process(NamedTuple):
    """A server that is listening on 127.0.0.1."""

    pid: int
    port: int


@contextmanager
def fusion_server(directory: Path) -> Iterator[Process]:
    """`fusion serve` with one datastore, whose key is KEY."""
    (directory / "fusion.toml").write_text(CONFIG)
    command = ["-m", "fusion", "serve", "--config", "fusion.toml", "--data-dir", "data"]
    with _running(command, directory) as process:
        yield process


@contextmanager
def bare_server(*files: Path) -> Iterator[Process]:
    """A Sanic that answers `GET /<name>` with the bytes of a file, and any POST with 204."""
    with _running([str(BARE), *map(str, files)], None) as process:
        yield process


@contextmanager
def _running(arguments: list[str], directory: Path | None) -> Iterator[Process]:
    """Run Python until the block ends; its first line of output ends with the port it listens on."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("FUSION_")},
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
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
