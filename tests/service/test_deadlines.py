"""How long a request may take to arrive, and an answer to be taken: in process, with the time told to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import EVENTS, KEY, Answer, InProcess, answers

from fusion.api import connections
from fusion.api.connections import BODY_BYTES_PER_SECOND, STALL_SECONDS

# So long that the time a test takes itself does not matter.
HEAD_SECONDS, BODY_SECONDS, MARGIN = 10_000, 50_000, 1_000
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def push(*fields: bytes, key: str = KEY) -> bytes:
    lines = [b"POST %b HTTP/1.1" % EVENTS, b"Host: x", b"X-API-Key: %b" % key.encode(), *fields, b"", b""]
    return b"\r\n".join(lines)


class Client:
    """A connection whose client sends when it likes."""

    def __init__(self, service: InProcess) -> None:
        self._service = service
        self.protocol, self.transport = service.connect()

    def wait(self, seconds: float) -> None:
        """As if so much time had gone by when the server looks after its clients again."""
        if self.protocol.due:
            self.protocol.due -= seconds
        if self.protocol._paused:
            self.protocol._paused -= seconds
        self.protocol.sweep(self._service.loop.time())
        self.send(b"")

    def send(self, data: bytes) -> None:
        async def sent() -> None:
            for _ in range(10):  # for what was cut off to end
                await asyncio.sleep(0)
            if data and self.open:
                self.protocol.data_received(data)
                await self._service.settled(self.protocol)

        self._service.run(sent())

    @property
    def open(self) -> bool:
        return not self.transport.closed

    @property
    def answers(self) -> list[Answer]:
        return answers(bytes(self.transport.sent))

    def cut(self, status: int) -> None:
        """The connection has to be cut off after one answer."""
        (answer,) = self.answers
        assert answer.status == status and answer.code
        assert not self.open


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    seconds = {"request_head_seconds": HEAD_SECONDS, "request_body_seconds": BODY_SECONDS}
    with InProcess(tmp_path_factory.mktemp("data"), **seconds) as service:
        yield service


@pytest.fixture
def connect(service: InProcess) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(service))
        return clients[-1]

    yield connect
    for client in clients:
        client.transport.close()
        client.send(b"")


@pytest.mark.parametrize("begun", [b"G", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_a_head_is_cut_off_however_steadily_it_drips(
    connect: Callable[[], Client], begun: bytes, before: bytes
) -> None:
    client = connect()
    client.send(before + begun)
    for _ in range(9):
        client.wait(HEAD_SECONDS / 10)
        client.send(b"x")
    assert client.open
    client.wait(HEAD_SECONDS / 10 + MARGIN)
    assert [answer.status for answer in client.answers] == ([200] if before else []) + [408]
    assert client.answers[-1].code == "request_timeout"
    assert not client.open


BODIES = {
    "length": push(b"Content-Length: 1000"),
    "chunk": push(b"Transfer-Encoding: chunked") + b"3e8\r\n",
    "size of a chunk": push(b"Transfer-Encoding: chunked") + b"1;",
    "compressed": push(b"Content-Length: 1000", b"Content-Encoding: zstd"),
    "upgrade": push(b"Content-Length: 1000", b"Upgrade: websocket"),
}


@pytest.mark.parametrize("begun", BODIES.values(), ids=BODIES)
def test_a_body_is_cut_off_however_steadily_it_drips(connect: Callable[[], Client], begun: bytes) -> None:
    client = connect()
    client.send(begun)
    for _ in range(9):
        client.wait(BODY_SECONDS / 10)
        client.send(b"x")
    assert client.open and not client.answers
    client.wait(BODY_SECONDS / 10 + MARGIN)
    client.cut(408)


def test_a_body_that_was_refused_is_not_waited_for_either(connect: Callable[[], Client]) -> None:
    client = connect()
    client.send(push(b"Content-Length: 5000000", key="wrong"))
    client.send(b"x" * 4_000_000)
    client.wait(BODY_SECONDS - MARGIN)
    client.send(b"x")
    assert client.open
    client.wait(2 * MARGIN)
    client.cut(401)


def test_a_body_earns_time_with_what_comes(connect: Callable[[], Client]) -> None:
    size = 3 * MARGIN * BODY_BYTES_PER_SECOND // 10
    for head in (b"Content-Length: %d" % (size * 2), b"Transfer-Encoding: chunked"):
        client = connect()
        client.send(push(head))
        if b"chunked" in head:
            client.send(b"%x\r\n" % (size * 2))
        for _ in range(1):
            client.send(b" " * size)
        client.wait(BODY_SECONDS + MARGIN / 10)
        assert client.open
        client.wait(MARGIN)
        client.cut(408)


def test_each_request_has_its_own_time(connect: Callable[[], Client], service: InProcess) -> None:
    body = b'{"session_id":"x","source_type":"message","events":[]}'
    client = connect()
    for count in range(1, 6):
        # In one piece with the beginning of the next one, so that the server never waits for a first byte.
        client.send(push(b"Content-Length: %d" % len(body)))
        client.wait(BODY_SECONDS - MARGIN)
        client.send(body + b"GET /health/live ")
        client.wait(HEAD_SECONDS - MARGIN)
        client.send(GET[len("GET /health/live ") :] + GET[:5])
        client.wait(HEAD_SECONDS - MARGIN)
        client.send(GET[5:])
        assert client.open
        assert [answer.status for answer in client.answers] == [404, 200, 200] * count


def test_an_idle_connection_is_not_cut_off(connect: Callable[[], Client]) -> None:
    new, used = connect(), connect()
    used.send(GET)
    for client in (new, used):
        client.wait(HEAD_SECONDS + BODY_SECONDS + MARGIN)
        assert client.open


@given(st.data())
def test_what_comes_in_time_is_answered_and_what_does_not_is_cut_off(
    service: InProcess, data: st.DataObject
) -> None:
    """Any request in any pieces: open before its time is over, closed after it."""
    request = data.draw(st.sampled_from([GET, push(b"Content-Length: 2") + b"{}"]))
    client = Client(service)
    sent = data.draw(st.integers(1, len(request) - 1))
    client.send(request[:sent])
    allowed = HEAD_SECONDS if b"\r\n\r\n" not in request[:sent] else BODY_SECONDS
    client.wait(data.draw(st.integers(0, allowed - MARGIN)))
    assert client.open
    if data.draw(st.booleans()):
        client.send(request[sent:])
        assert client.open
        assert client.answers[0].status in (200, 422)
    else:
        client.wait(allowed + MARGIN)
        client.cut(408)
    client.transport.close()
    client.send(b"")


def test_a_client_that_takes_no_answers_is_cut_off(
    connect: Callable[[], Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unsent = [500]
    monkeypatch.setattr(connections, "unsent_bytes", lambda _: unsent[0])
    client = connect()
    client.send(GET)
    client.protocol.pause_writing()
    client.protocol.data_received(GET)  # its answer cannot be written
    for _ in range(5):
        client.wait(STALL_SECONDS - 1)
        unsent[0] -= 100  # slow, but taking something
    assert client.open
    with caplog.at_level(logging.WARNING):
        client.wait(STALL_SECONDS + 30)
        client.wait(STALL_SECONDS + 30)
    assert not client.open
    assert "took nothing" in caplog.text
