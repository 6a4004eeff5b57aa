"""Real processes, each in a session of its own, and what they show of a tree."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

STUCK_SECONDS = 60.0
FUSION = [sys.executable, "-m", "fusion"]


def until(true: Callable[[], Any], explain: Callable[[], object] = lambda: "") -> Any:
    """Poll until a condition holds, and return what it yields."""
    deadline = time.monotonic() + STUCK_SECONDS
    while not (result := true()):
        assert time.monotonic() < deadline, f"waited in vain: {explain()}"
        time.sleep(0.01)
    return result


class Command:
    """A process whose output goes to a file, so that it never waits for its reader."""

    def __init__(
        self, arguments: list[str], output: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=output.parent,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def match(self, pattern: str) -> re.Match[str]:
        """Waits for a line of output."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.output)
            assert match or self.process.poll() is None, self.output
            return match

        match = until(found, lambda: self.output)
        assert isinstance(match, re.Match)
        return match

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STUCK_SECONDS)

    def close(self) -> None:
        """Ends the whole process group, however the test went."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STUCK_SECONDS)


class Entry(NamedTuple):
    is_dir: bool
    size: int
    modified_time: float
    created_time: float


def disk(root: Path) -> dict[str, Entry]:
    """Every path at and below the root, read with os.walk."""
    paths = [os.fspath(root)]
    for directory, subdirectories, files in os.walk(root):
        paths += [os.path.join(directory, name) for name in subdirectories + files]
    entries = {}
    for path in paths:
        status = os.lstat(path)
        is_dir = os.path.isdir(path) and not os.path.islink(path)
        entries[path] = Entry(is_dir, status.st_size, status.st_mtime, status.st_ctime)
    return entries


class Service:
    """The reading side of a server."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"X-API-Key": key}, timeout=STUCK_SECONDS, trust_env=False
        )

    def close(self) -> None:
        self._client.close()

    def stats(self) -> dict[str, Any] | None:
        """None while it is not ready."""
        response = self._client.get("/views/fs/stats")
        return response.json() if response.status_code == 200 else None

    def tree(self, path: Path) -> dict[str, Entry] | None:
        """Every path at and below one, or None while the server is not ready or does not know it."""
        response = self._client.get(f"/views/fs/tree?path={quote(os.fsencode(path))}")
        if response.status_code != 200:
            assert response.status_code in (404, 503), response.text
            return None
        entries: dict[str, Entry] = {}
        pending = [response.json()]
        while pending:
            node = pending.pop()
            is_dir = node["content_type"] == "directory"
            entries[node["path"]] = Entry(is_dir, node["size"], node["modified_time"], node["created_time"])
            pending += node.get("children", {}).values()
        return entries


def generate(root: Path, directories: int = 30, files: int = 12) -> None:
    """A tree of directories at several depths, files of different sizes, and odd names."""
    places = [root]
    for number in range(directories):
        place = places[number // 3] / f"dir {number} ü"
        place.mkdir(parents=True)
        places.append(place)
    for number, place in enumerate(places):
        for index in range(files):
            (place / f"file_{index:03}.dat").write_bytes(b"x" * (number * 7 + index))
    (root / "empty").mkdir()
    (root / 'quote" and\nnewline').touch()
    (root / "emoji 🗂").touch()
