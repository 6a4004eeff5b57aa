"""A real server process and the client side of a datastore in it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

SCOPES = ("read", "ingest", "admin")
# What goes well, and what datastores and clients meet with, is not told.
QUIET = ("--log-level", "error")
LISTENING = "fusion: listening on "
# Far more than anything takes; a test that waits this long is stuck.
STUCK_SECONDS = 60.0


def until(true: Callable[[], Any]) -> Any:
    """Poll until a condition holds, and return what it yields."""
    deadline = time.monotonic() + STUCK_SECONDS
    while True:
        if result := true():
            return result
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def file(path: str, size: Any = 0, m: Any = 0.0, **more: Any) -> dict[str, Any]:
    return {"path": path, "size": size, "modified_time": m, "created_time": m, "is_dir": False, **more}


def folder(path: str, m: Any = 0.0, **more: Any) -> dict[str, Any]:
    return {"path": path, "size": 0, "modified_time": m, "created_time": m, "is_dir": True, **more}


def config(names: Mapping[str, str], server: str = "") -> str:
    """A configuration of datastores by name; each has a key of all scopes and one per scope."""
    lines = ["[server]", "port = 0", server]
    for name, settings in names.items():
        lines += [f"[datastores.{name}]", settings]
        for scopes in (SCOPES, *((scope,) for scope in SCOPES)):
            key = f"{name}-{'all' if len(scopes) > 1 else scopes[0]}"
            listed = ", ".join(f'"{scope}"' for scope in scopes)
            lines += ["[[keys]]", f'key = "{key}"', f'datastore = "{name}"', f"scopes = [{listed}]"]
    return "\n".join(lines)


class Server:
    """``fusion serve`` in a process group of its own, on a port the system chose.

    It logs troubles alone. A later one in the same directory goes on with the data of the one before.
    `environment` comes beside the own one without Fusion's variables; `program` is what the interpreter runs.
    """

    def __init__(
        self,
        directory: Path,
        config: str,
        *arguments: str,
        environment: Mapping[str, str] = {},
        program: Sequence[str] = ("-m", "fusion"),
    ) -> None:
        self.directory = directory
        self._clients: list[httpx.Client | HTTPConnection] = []
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "fusion.toml").write_text(config)
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", "--config", "fusion.toml", *QUIET, *arguments],
                cwd=directory,
                env={
                    **{name: value for name, value in os.environ.items() if not name.startswith("FUSION_")},
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(LISTENING):
            self.kill()
            raise AssertionError(f"no server: {line!r} {self.errors()}")
        self.url = line.removeprefix(LISTENING).strip()
        self.host, _, port = self.url.partition("://")[2].rpartition(":")
        self.port = int(port)
        self.http = self.client()

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client that ends with the server. There is no TLS, whose set-up takes long."""
        client = httpx.Client(base_url=self.url, verify=False, **options)
        self._clients.append(client)
        return client

    def connection(self) -> HTTPConnection:
        """The same without a library's pool and retries."""
        connection = HTTPConnection(self.host, self.port, timeout=STUCK_SECONDS)
        self._clients.append(connection)
        return connection

    def errors(self) -> str:
        return self._errors.read_text()

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self, number: int = signal.SIGTERM, *, silent: bool = True) -> None:
        """End it in order; `silent`: it must have said nothing on standard error in all its life."""
        if self.process.poll() is None:
            self.send_signal(number)
        try:
            self.process.wait(STUCK_SECONDS)
        finally:
            self.kill()
        assert self.process.returncode == 0, self.errors()
        assert not silent or not self.errors(), self.errors()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for client in self._clients:
            client.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), STUCK_SECONDS)

    def raw(self, request: bytes) -> httpx.Response:
        """Send bytes as they are and read one answer; the sending side stays open."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_answer(connection)


def read_answer(connection: socket.socket) -> httpx.Response:
    """One answer with a content-length, or without a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    response = httpx.Response(int(status_line.split()[1]), headers=headers)
    expected = int(response.headers.get("content-length", 0))
    while len(body) < expected:
        body += _some(connection)
    return httpx.Response(response.status_code, headers=headers, content=body)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the server hung up without an answer"
    return data


class Store:
    """One datastore of a running server, seen with one key."""

    def __init__(self, server: Server, name: str, scopes: str = "all") -> None:
        self.server = server
        self.name = name
        self.key = f"{name}-{scopes}"
        self.http = server.client(headers={"X-API-Key": self.key})

    # Sessions

    def open(self, task: str | None = None) -> str:
        answer = self.http.post(
            "/ingestor-api/v1/sessions/", json={"task_id": task or f"task-{secrets.token_hex(4)}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["session_id"]

    def heartbeat(self, session: str) -> httpx.Response:
        return self.http.post("/ingestor-api/v1/sessions/heartbeat", headers={"session-id": session})

    def end_session(self, session: str) -> httpx.Response:
        return self.http.delete("/ingestor-api/v1/sessions/", headers={"session-id": session})

    def sessions(self) -> dict[str, dict[str, Any]]:
        """The active sessions by their id."""
        document = self.http.get("/ingestor-api/v1/sessions/").json()
        return {session["session_id"]: session for session in document["active_sessions"]}

    # Events

    def post(self, body: Any, *, encoding: str | None = None) -> httpx.Response:
        """A push as it stands: a document, or bytes of that content coding."""
        if isinstance(body, bytes):
            headers = {} if encoding is None else {"Content-Encoding": encoding}
            return self.http.post("/ingestor-api/v1/events/", content=body, headers=headers)
        return self.http.post("/ingestor-api/v1/events/", json=body)

    def send(
        self, session: str, events: list[dict[str, Any]], source: str = "message", *, end: bool = False
    ) -> httpx.Response:
        return self.post(
            {"session_id": session, "source_type": source, "is_snapshot_end": end, "events": events}
        )

    def try_message(self, session: str, *rows: dict[str, Any], **event: Any) -> httpx.Response:
        return self.send(session, [{"event_type": "update", **event, "rows": list(rows)}])

    def message(self, session: str, *rows: dict[str, Any], **event: Any) -> None:
        accepted(self.try_message(session, *rows, **event))

    def delete(self, session: str, *paths: str, **event: Any) -> None:
        self.message(session, *({"path": path} for path in paths), event_type="delete", **event)

    def try_snapshot(self, session: str, *rows: dict[str, Any], end: bool = False) -> httpx.Response:
        events = [{"event_type": "update", "rows": list(rows)}] if rows else []
        return self.send(session, events, "snapshot", end=end)

    def snapshot(self, session: str, *rows: dict[str, Any], end: bool = False) -> None:
        accepted(self.try_snapshot(session, *rows, end=end))

    def end(self, session: str) -> None:
        self.snapshot(session, end=True)

    def ready(self, *rows: dict[str, Any]) -> str:
        """A session whose first snapshot carried these rows and has ended."""
        session = self.open()
        if rows:
            self.snapshot(session, *rows)
        self.end(session)
        return session

    def position(self, session: str) -> httpx.Response:
        return self.http.get("/ingestor-api/v1/events/position", params={"session_id": session})

    def anomaly(self, session: str, **fields: Any) -> httpx.Response:
        return self.http.post("/ingestor-api/v1/consistency/anomaly", json={"session_id": session, **fields})

    def breaker(self) -> dict[str, Any]:
        answer = self.http.get("/ingestor-api/v1/consistency/status")
        assert answer.status_code == 200, answer.text
        return answer.json()

    # Views

    def get_tree(self, path: str | bytes = "/", **parameters: Any) -> httpx.Response:
        query = "&".join(
            [f"path={quote(path, safe='/')}", *(f"{name}={quote(str(v))}" for name, v in parameters.items())]
        )
        return self.http.get(f"/views/fs/tree?{query}")

    def tree(self, path: str | bytes = "/", **parameters: Any) -> dict[str, Any]:
        answer = self.get_tree(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def has(self, path: str | bytes) -> bool:
        status = self.get_tree(path, max_depth=0).status_code
        assert status in (200, 404)
        return status == 200

    def paths(self) -> set[str]:
        """All paths but the root's."""
        return {node["path"] for node in walk(self.tree())} - {"/"}

    def search(self, pattern: str) -> list[str]:
        answer = self.http.get("/views/fs/search", params={"pattern": pattern})
        assert answer.status_code == 200, answer.text
        return sorted(node["path"] for node in answer.json())

    def stats(self) -> dict[str, Any]:
        answer = self.http.get("/views/fs/stats")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def counts(self) -> tuple[int, int]:
        """Files and directories, the root among them."""
        stats = self.stats()
        return stats["total_files"], stats["total_directories"]

    def state(self) -> str:
        answer = self.http.get("/views/fs/stats")
        if answer.status_code == 200:
            return "ready"
        assert answer.status_code == 503, answer.text
        return answer.json()["state"]


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = [node]
    for child in node.get("children", {}).values():
        nodes += walk(child)
    return nodes


def accepted(answer: httpx.Response) -> None:
    assert answer.status_code == 204, answer.text


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The document of an error in the contract's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert isinstance(document["detail"], str) and document["detail"]
    assert document["code"] == document["code"].lower() and " " not in document["code"]
    assert "Traceback" not in answer.text
    if code is not None:
        assert document["code"] == code
    return document


def wrong_field(answer: httpx.Response, pointer: str) -> None:
    assert refused(answer, 422)["pointer"] == pointer
