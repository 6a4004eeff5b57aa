"""The whole service without a socket: bytes go into its protocol as they would come, and come out of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sanic import Sanic

from fusion.api.app import create_app
from fusion.api.connections import Connection
from fusion.api.freshness import Patience
from fusion.settings import DatastoreSettings, KeySettings, ServerSettings, Settings, sha256_of

KEY = "key"
# Stands for the session in what is sent, whose id is as long and another one each time.
SESSION = b"00000000-0000-4000-8000-000000000000"
LOGGERS = ("asyncio", "fusion", "sanic")
EVENTS, SESSIONS = b"/ingestor-api/v1/events/", b"/ingestor-api/v1/sessions/"
_HEAD = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n((?:[^:\r\n]+: ?[^\r\n]*\r\n)*)\r\n")


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def code(self) -> str:
        """Of an error in the contract's form, which this has to be."""
        assert b"content-type: application/json\r\n" in self.head, self
        document = json.loads(self.body)
        assert isinstance(document["detail"], str) and document["detail"], self
        assert re.fullmatch("[a-z_]+", document["code"]), self
        return str(document["code"])


class Transport:
    """What the protocol writes is kept; nothing blocks, unless the test says so."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False
        self.protocol: Connection

    def connect(self, protocol: Connection) -> None:
        self.protocol = protocol
        protocol.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.sent += part

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, **_: int) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)


class Complaints(logging.Handler):
    """What is logged as an error: an exception that nobody expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class InProcess:
    """One datastore with one file, and any number of connections, one after the other."""

    def __init__(self, directory: Path, **server: Any) -> None:
        settings = Settings(
            ServerSettings(data_dir=directory, **server),
            {"one": DatastoreSettings(durability="none", session_timeout_seconds=86_400)},
            (KeySettings(sha256_of(KEY), "one"),),
        )
        self._runner = asyncio.Runner()
        self._complaints = Complaints()
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self._complaints)
        self.loop = self._runner.get_loop()
        self.app = create_app(settings)
        # Sanic would make some of its functions anew from their source, which works but once in a process.
        self.app.config.TOUCHUP = False
        self.datastore = self.app.ctx.datastores["one"]
        self.connections: set[Connection] = set()
        self._socket = socket.socket()  # which nobody listens on
        self._server = self.run(
            self.app.create_server(
                sock=self._socket, protocol=Connection, asyncio_server_kwargs={"start_serving": False}
            )
        )
        self.run(self._server.startup())
        self.run(self._server.before_start())
        self.session = b""
        self.fill()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self._complaints)
        self.run(self._server.before_stop())
        self.run(self._server.after_stop())
        Sanic.unregister_app(self.app)
        self._socket.close()
        self._runner.close()

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def connect(self) -> tuple[Connection, Transport]:
        protocol = Connection(loop=self.loop, app=self.app, connections=self.connections, state={})
        transport = Transport()
        transport.connect(protocol)
        return protocol, transport

    async def settled(self, protocol: Connection) -> None:
        """Wait until the server waits for the client, or has hung up."""
        while protocol.http is not None and protocol._data_received.is_set():
            await asyncio.sleep(0)

    def converse(self, *pieces: bytes) -> tuple[list[Answer], bool]:
        """What is answered to the pieces of one connection, and whether it was closed by the server."""

        async def conversation() -> tuple[bytes, bool]:
            protocol, transport = self.connect()
            await asyncio.sleep(0)
            for piece in filter(None, pieces):
                if transport.closed:
                    break
                protocol.data_received(piece.replace(SESSION, self.session))
                await self.settled(protocol)
            closed = transport.closed
            transport.close()
            while protocol.http is not None or protocol in self.connections:
                await asyncio.sleep(0)
            return bytes(transport.sent), closed

        sent, closed = self.run(conversation())
        return answers(sent), closed

    def ask(self, method: str, path: bytes, document: Any = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        head = b"%b %b HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n"
        (answer,), _ = self.converse(head % (method.encode(), path, KEY.encode(), len(body)) + body)
        return answer

    def fill(self) -> None:
        """A session that may push, and the tree of one file, ready."""
        answer = self.ask("POST", SESSIONS, {"task_id": "t"})
        assert answer.status == 200, answer
        self.session = json.loads(answer.body)["session_id"].encode()
        row = {"path": "/d/file", "size": 1, "modified_time": 1.0, "created_time": 1.0, "is_dir": False}
        document = {
            "session_id": self.session.decode(),
            "source_type": "snapshot",
            "is_snapshot_end": True,
            "events": [{"rows": [row]}],
        }
        assert self.ask("POST", EVENTS, document).status == 204
        while self.ask("GET", b"/views/fs/stats").status == 503:
            pass

    def tree(self) -> bytes:
        answer = self.ask("GET", b"/views/fs/tree")
        assert answer.status == 200, answer
        return answer.body

    def check(self, *pieces: bytes) -> list[Answer]:
        """Send them, whatever they are: no 5xx, errors in the contract's form, a change only with a 204.

        What they have changed is undone. 503 is right where they are what made the tree unready.
        """
        before = self.datastore.index.revision
        self._complaints.lines.clear()
        found, _ = self.converse(*pieces)
        for answer in found:
            if answer.status >= 400 and answer.body:
                code = answer.code
                assert answer.status < 500 or code in ("not_ready", "revision_not_reached"), answer
            assert answer.status < 500 or answer.status == 503, answer
        assert not self._complaints.lines, "\n".join(self._complaints.lines)
        changed = self.datastore.index.revision != before
        if not any(answer.status == 204 for answer in found):
            assert not changed, found
        active = [session["session_id"] for session in self.datastore.sessions()]
        if changed or self.session.decode() not in active or self.datastore.state != "ready":
            self.reset()
        return found

    def reset(self) -> None:
        self.fill()  # only what is ready can be reset
        assert self.ask("DELETE", b"/views/fs/reset").status == 204
        self.fill()


def answers(sent: bytes) -> list[Answer]:
    """All answers of one connection; those to HEAD have no body whatever their length."""
    found = []
    while sent:
        match = _HEAD.match(sent)
        assert match is not None, sent
        sent = sent[match.end() :]
        status, head = int(match[1]), match[2].lower()
        length = re.search(rb"content-length: ?([0-9]+)", head)
        size = int(length[1]) if length and not sent.startswith(b"HTTP/1.1 ") else 0
        body, sent = sent[:size], sent[size:]
        assert len(body) in (0, size), sent
        if status != 100:
            found.append(Answer(status, head, body))
    return found


def impatient(monkeypatch: Any) -> None:
    """Waiting for a revision that never comes is over at once."""
    monkeypatch.setattr(Patience, "sleep", give_up)


async def give_up(patience: Patience, seconds: float) -> None:
    patience.left_seconds = 0
    await asyncio.sleep(0)
