"""What a server under load tells of its queue, and how much memory it takes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from service import Server


def health(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get("/health/ready").json()["datastores"]["one"]
    return found


class Watch:
    """Looks at the queue all the time, from a thread of its own."""

    def __init__(self, server: Server) -> None:
        self.most = 0  # records held
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with self._server.client() as client:
            while not self._stopping.wait(0.005):
                found = client.get("/health/ready").json()["datastores"]["one"]
                self.most = max(self.most, found["queue"] + found["inflight"])


def peak_bytes(server: Server) -> int:
    """The most memory that the server ever had."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024
