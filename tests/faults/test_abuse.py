"""Clients that mean to do harm, many at once: they are cut off, and readers are served all the while."""

from __future__ import annotations

import json
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from service import STUCK_SECONDS, Server, Store, accepted, file, read_answer, refused, until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def head(store: Store, *fields: str) -> bytes:
    lines = ["POST /ingestor-api/v1/events/ HTTP/1.1", "Host: x", f"X-API-Key: {store.key}", *fields, "", ""]
    return "\r\n".join(lines).encode()


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """This process opens as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Connections of many clients."""

    def __init__(self, server: Server, count: int) -> None:
        self._stack = ExitStack()
        self.open: list[socket.socket] = []
        for _ in range(count):
            self.open.append(self._stack.enter_context(server.connect()))
        self.answers: list[bytes] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def drip(self, byte: bytes) -> None:
        """One byte from each; those that the server has closed are gone, with what it told them."""
        for connection in list(self.open):
            try:
                connection.sendall(byte)
                connection.setblocking(False)
                told = connection.recv(65536)
                connection.settimeout(STUCK_SECONDS)
            except BlockingIOError:
                connection.settimeout(STUCK_SECONDS)
                continue
            except ConnectionError:
                told = b""
            self.open.remove(connection)
            self.answers.append(told)


def test_300_dripping_clients_are_cut_off_while_readers_are_served(start: Callable[..., Server]) -> None:
    """Each of them sends a byte all the time, so that no timer of inactivity ever runs out."""
    server = start(
        {"one": "session_timeout_seconds = 600"}, "request_head_seconds = 2\nrequest_body_seconds = 3"
    )
    store = Store(server, "one")
    store.ready(file("/a"))
    begun = [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        head(store, "Content-Length: 9000"),
    ]
    with Crowd(server, 300) as crowd:
        for number, connection in enumerate(crowd.open):
            connection.sendall(begun[number % 3])

        def all_are_cut_off() -> bool:
            crowd.drip(b"x")
            assert store.has("/a")
            return not crowd.open

        until(all_are_cut_off)
    told = [answer for answer in crowd.answers if answer]
    assert told and all(answer.startswith(b"HTTP/1.1 408 ") for answer in told)
    assert store.has("/a")


def connections_of(server: Server) -> int:
    """Sockets that the server has open, its listening one among them."""
    directory = Path(f"/proc/{server.process.pid}/fd")
    count = 0
    for entry in directory.iterdir():
        try:
            count += entry.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def test_idle_connections_make_room_for_new_ones(start: Callable[..., Server]) -> None:
    """The ones idle for longest go; what is busy stays, and what is new is served."""
    most = 100
    server = start({"one": "session_timeout_seconds = 600"}, f"max_connections = {most}")
    store = Store(server, "one")
    session = store.ready(file("/a"))
    body = json.dumps({"session_id": session, "source_type": "message", "events": []}).encode()
    with ExitStack() as stack:
        busy = stack.enter_context(server.connect())
        busy.sendall(head(store, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert read_answer(busy).status_code == 100
        crowd = stack.enter_context(Crowd(server, 5 * most))
        for connection in crowd.open[-most // 2 :]:
            connection.sendall(GET)
            assert read_answer(connection).status_code == 200
        assert store.has("/a")
        busy.sendall(body)
        assert read_answer(busy).status_code == 204
        until(lambda: connections_of(server) <= most + 20)
        for connection in crowd.open[-most // 2 :]:
            connection.sendall(GET)
            assert read_answer(connection).status_code == 200


def test_where_none_is_idle_the_slowest_senders_make_room(start: Callable[..., Server]) -> None:
    most = 100
    server = start({"one": "session_timeout_seconds = 600"}, f"max_connections = {most}")
    store = Store(server, "one")
    store.ready(file("/a"))
    with ExitStack() as stack:
        for _ in range(3 * most):
            dripping = stack.enter_context(server.connect())
            dripping.sendall(b"GET / HTTP/1.1\r\n")
        with server.connect() as connection:
            connection.sendall(GET)
            assert read_answer(connection).status_code == 200
        until(lambda: connections_of(server) <= most + 20)


def test_a_thousand_idle_connections_stay_and_hurt_nobody(start: Callable[..., Server]) -> None:
    server = start({"one": "session_timeout_seconds = 600"})
    store = Store(server, "one")
    store.ready(file("/a"))
    with Crowd(server, 1000) as crowd:
        for connection in crowd.open:
            connection.sendall(GET)
            assert read_answer(connection).status_code == 200
        for _ in range(100):
            assert store.has("/a")
        for connection in crowd.open:
            connection.sendall(GET)
            assert read_answer(connection).status_code == 200


def memory(server: Server, field: str) -> int:
    """A figure of the server process in bytes: VmRSS, now, or VmHWM, the most since `grown`."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field}")


@contextmanager
def grows_at_most(server: Server, most_bytes: int) -> Iterator[None]:
    """The resident memory of the server never grows by more in this block."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # VmHWM begins anew
    before = memory(server, "VmRSS")
    yield
    assert memory(server, "VmHWM") - before <= most_bytes


def at_once(*jobs: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@pytest.fixture
def store(start: Callable[..., Server]) -> Store:
    store = Store(start({"one": "session_timeout_seconds = 600"}), "one")
    store.ready(file("/a"))
    return store


def test_ten_clients_that_declare_99_mb_are_refused_at_once(store: Store) -> None:
    def declare() -> None:
        with store.server.connect() as connection:
            connection.sendall(head(store, "Content-Length: 99000000"))
            refused(read_answer(connection), 413, "body_too_large")
            try:
                for _ in range(99):
                    connection.sendall(bytes(1_000_000))
            except ConnectionError:  # it may hang up
                pass

    with grows_at_most(store.server, 64 * MIB):
        at_once(*[declare] * 10)
    assert store.paths() == {"/a"}


def test_ten_clients_with_endless_chunks_are_refused(store: Store) -> None:
    def send() -> None:
        chunk = b"10000\r\n%b\r\n" % (b" " * 65536)
        with store.server.connect() as connection:
            connection.sendall(head(store, "Transfer-Encoding: chunked"))
            for _ in range(16 * 16 + 1):  # one more than a body may have
                connection.sendall(chunk)
            refused(read_answer(connection), 413, "body_too_large")

    with grows_at_most(store.server, 64 * MIB):
        at_once(*[send] * 10)
    assert store.paths() == {"/a"}


def test_bodies_in_pieces_of_a_byte_take_no_more_memory_than_others(store: Store) -> None:
    chunks = b"2\r\n  \r\n" * 20_000

    def send() -> None:
        with store.server.connect() as connection:
            connection.sendall(head(store, "Transfer-Encoding: chunked"))
            for _ in range(10):
                connection.sendall(chunks)
            connection.sendall(b"0\r\n\r\n")
            refused(read_answer(connection), 400, "malformed_json")

    with grows_at_most(store.server, 16 * MIB):
        at_once(*[send] * 3)


def test_ten_bombs_are_refused(store: Store) -> None:
    bomb = zstd.compress(b" " * 50_000_000)
    assert len(bomb) < 5_000

    def send() -> None:
        with store.server.connect() as connection:
            connection.sendall(head(store, "Content-Encoding: zstd", f"Content-Length: {len(bomb)}") + bomb)
            refused(read_answer(connection), 413, "compression_ratio")

    with grows_at_most(store.server, 64 * MIB):
        at_once(*[send] * 10)
    assert store.paths() == {"/a"}


def test_bodies_that_nobody_takes_leave_the_memory_for_bodies_to_others(store: Store) -> None:
    """Their senders need no key, and are slow: pushes go on beside them."""
    session = store.ready(file("/a"))
    large = 16 * MIB
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(store.server.connect())
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n " % large)
        assert store.has("/a")
        body = json.dumps({"session_id": session, "source_type": "message", "events": []}).encode()
        accepted(store.post(body + b" " * (large - len(body))))
