"""A stand-in for the service: records every request, keeps the rows it was told, and can be made to fail."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STUCK_SECONDS = 60.0


def until(true: Callable[[], Any]) -> Any:
    """Poll until a condition holds, and return what it yields."""
    deadline = time.monotonic() + STUCK_SECONDS
    while not (result := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return result


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_push(self, source_type: str, *, end: bool = False) -> bool:
        if self.path != "/ingestor-api/v1/events/":
            return False
        return (
            self.document["source_type"] == source_type and self.document.get("is_snapshot_end", False) == end
        )


class Answer(NamedTuple):
    status: int
    document: Any = None
    headers: dict[str, str] = {}


class FakeFusion:
    """Answers like the service; `intercept(request)` may answer instead, or wait before it returns None."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.rows: dict[str, dict[str, Any]] = {}  # what pushes left, without the rules of a snapshot
        self.ends = 0
        self.authoritative = True  # does the list of sessions show one that counts
        self.heartbeat_seconds: float = 10
        self.intercept: Callable[[Request], Answer | None] = lambda request: None
        self._sessions = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FakeFusion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pushes(self, source_type: str, *, end: bool = False) -> list[Request]:
        return [request for request in list(self.requests) if request.is_push(source_type, end=end)]

    def sessions(self) -> list[Request]:
        return [
            r for r in list(self.requests) if r.method == "POST" and r.path == "/ingestor-api/v1/sessions/"
        ]

    def signals(self) -> list[dict[str, Any]]:
        """The anomaly signals."""
        return [r.document for r in list(self.requests) if r.path == "/ingestor-api/v1/consistency/anomaly"]

    def shows(self, root: Path) -> bool:
        """Whether exactly the entries below the root, and the root, are known, each as it is."""
        return dict(self.rows) == disk(root)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.intercept(request) or self._answer(request)

    def _answer(self, request: Request) -> Answer:
        match request.method, request.path:
            case "POST", "/ingestor-api/v1/sessions/":
                with self._lock:
                    self._sessions += 1
                    self.rows.clear()
                    grant = {
                        "session_id": f"session-{self._sessions}",
                        "session_timeout_seconds": 30,
                        "suggested_heartbeat_interval_seconds": self.heartbeat_seconds,
                    }
                return Answer(200, grant)
            case "GET", "/ingestor-api/v1/sessions/":
                return Answer(200, {"active_sessions": [{"authoritative": True}] * self.authoritative})
            case "POST", "/ingestor-api/v1/events/":
                with self._lock:
                    self._apply(request.document)
                return Answer(204)
            case _:
                return Answer(200, {"status": "ok"})

    def _apply(self, document: dict[str, Any]) -> None:
        for event in document["events"]:
            for row in event["rows"]:
                path = row["file_path"]
                if event["event_type"] == "delete":
                    for known in list(self.rows):
                        if known == path or known.startswith(path + "/"):
                            del self.rows[known]
                else:
                    self.rows[path] = row
        self.ends += document["is_snapshot_end"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    fake: FakeFusion

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "zstd":
            body = zstd.decompress(body)
        answer = self.server.fake.answer(Request(self.command, self.path, dict(self.headers.items()), body))
        content = b"" if answer.document is None else json.dumps(answer.document).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        pass


def disk(root: Path) -> dict[str, dict[str, Any]]:
    """Rows by path of a tree, made with os.walk: the root and everything below it."""
    paths = [str(root)]
    for directory, subdirectories, files in os.walk(root):
        paths += [os.path.join(directory, name) for name in subdirectories + files]
    rows = {}
    for path in paths:
        status = os.stat(path) if path == str(root) else os.lstat(path)
        rows[path] = {
            "file_path": path,
            "size": status.st_size,
            "modified_time": status.st_mtime,
            "created_time": status.st_ctime,
            "is_dir": os.path.isdir(path) and not (os.path.islink(path) and path != str(root)),
        }
    return rows
