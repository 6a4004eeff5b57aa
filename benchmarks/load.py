"""A client that costs little beside the server: raw HTTP/1.1 over keep-alive connections."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from corpora import NO_SESSION
from processes import KEY, Process

EVENTS = "/ingestor-api/v1/events/"
POLL_SECONDS = 0.002


class Answer(NamedTuple):
    """A whole answer; `raw` is its bytes, head and all."""

    status: int
    body: bytes
    raw: bytes


class Connection:
    """A blocking keep-alive connection with one request at a time."""

    def __init__(self, port: int, key: str = KEY) -> None:
        self.key = key
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def send(self, *parts: bytes | memoryview) -> None:
        rest = [memoryview(part) for part in parts]
        while rest:
            sent = self._socket.sendmsg(rest)
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][sent:]

    def answer(self) -> Answer:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._some()
        status = int(data[9:12])
        length = 0
        for line in data[:end].lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
            elif line == b"transfer-encoding: chunked":
                return self._chunked(status, bytearray(data), end + 4)
        whole = bytearray(end + 4 + length)
        assert len(data) <= len(whole), "more than one answer"
        whole[: len(data)] = data
        rest = memoryview(whole)[len(data) :]
        while rest:
            received = self._socket.recv_into(rest)
            assert received, "the server hung up"
            rest = rest[received:]
        raw = bytes(whole)
        return Answer(status, raw[end + 4 :], raw)

    def _chunked(self, status: int, data: bytearray, at: int) -> Answer:
        """The rest of an answer in chunks, the first of which begins at `at`."""
        body = bytearray()
        while True:
            while (end := data.find(b"\r\n", at)) < 0:
                data += self._some()
            size = int(data[at:end], 16)
            at = end + 2 + size + 2
            while len(data) < at:
                data += self._some()
            body += memoryview(data)[end + 2 : end + 2 + size]
            if not size:
                assert len(data) == at, "more than one answer"
                return Answer(status, bytes(body), bytes(data))

    def _some(self) -> bytes:
        data = self._socket.recv(1 << 18)
        assert data, "the server hung up"
        return data

    def call(self, method: str, target: str, body: bytes = b"") -> Answer:
        self.send(head(method, target, len(body), self.key), body)
        return self.answer()

    def get_ready(self, target: str) -> Answer:
        """Ask for it until it is not answered 503 any more, nor anything but 200."""
        while (answer := self.call("GET", target)).status == 503:
            time.sleep(POLL_SECONDS)
        assert answer.status == 200, answer.body
        return answer


def head(method: str, target: str, length: int = 0, key: str = KEY) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"X-API-Key: {key}"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


class Pushes:
    """Push bodies ready to be sent, but for their session."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.requests: list[tuple[bytes, memoryview]] = []
        for body in bodies:
            at = body.index(NO_SESSION.encode())
            self.requests.append((body[:at], memoryview(body)[at + len(NO_SESSION) :]))

    def send(self, connections: Sequence[Connection], session: str, target: str = EVENTS) -> None:
        """Push everything, each connection the next body as soon as its last one is answered 204."""
        waiting = iter(self.requests)
        failures: list[BaseException] = []

        def work(connection: Connection) -> None:
            try:
                for start, rest in waiting:
                    length = len(start) + len(session) + len(rest)
                    request = head("POST", target, length, connection.key)
                    connection.send(request, start, session.encode(), rest)
                    answer = connection.answer()
                    assert answer.status == 204, answer.body
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Getters:
    """Connections that ask for some things again and again and check every answer byte by byte."""

    def __init__(
        self, server: Process, targets: Sequence[str], connections: int, headers: Sequence[str] = ()
    ) -> None:
        first = Connection(server.port, server.key)
        self._requests = [with_headers(head("GET", target, key=server.key), headers) for target in targets]
        self.expected = []
        for request in self._requests:
            first.send(request)
            self.expected.append(first.answer())
        first.close()
        for answer in self.expected:
            assert answer.status in (200, 304), answer.body
        longest = max(len(answer.raw) for answer in self.expected)
        self._sockets = {}
        self._poll = select.epoll()
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self._sockets[connection.fileno()] = (connection, bytearray(longest))
            self._poll.register(connection.fileno(), select.EPOLLIN)

    def close(self) -> None:
        self._poll.close()
        for connection, _ in self._sockets.values():
            connection.close()

    def run(self, requests: int) -> int:
        """Ask `requests` times in all, one at a time on each connection; returns the right answers."""
        filled = dict.fromkeys(self._sockets, 0)
        asked = dict.fromkeys(self._sockets, 0)
        sent = right = 0

        def ask(number: int) -> None:
            nonlocal sent
            asked[number] = sent % len(self._requests)
            filled[number] = 0
            self._sockets[number][0].send(self._requests[asked[number]])
            sent += 1

        for number in list(self._sockets)[:requests]:
            ask(number)
        while right < requests:
            for number, _ in self._poll.poll():
                connection, buffer = self._sockets[number]
                expected = self.expected[asked[number]].raw
                at = filled[number]
                received = connection.recv_into(memoryview(buffer)[at:] if at else buffer)
                assert received, "the server hung up"
                at += received
                if at < len(expected):
                    filled[number] = at
                    continue
                whole = buffer if at == len(buffer) else memoryview(buffer)[:at]
                assert whole == expected, "the answer is not the one of before"
                right += 1
                if sent < requests:
                    ask(number)
        return right


def with_headers(request: bytes, headers: Sequence[str]) -> bytes:
    lines = "".join(f"\r\n{header}" for header in headers).encode()
    return request[:-4] + lines + request[-4:]
