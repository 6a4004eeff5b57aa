"""Large answers: one instant however long it takes, whole or not at all, and no harm to anybody else."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from service import STUCK_SECONDS, Server, Store, file, until
from twin import Twin

TREE = "/views/fs/tree"
FILES = 20_000  # 4.6 MB in JSON
MANY = 60_000  # more than sockets hold
RECEIVE_BYTES = 32 * 1024


class Reader:
    """A client that reads an answer as slowly as a test wants."""

    def __init__(self, store: Store, target: str = TREE) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(STUCK_SECONDS)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.connect((store.server.host, store.server.port))
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n\r\n".encode())
        self._data = bytearray()
        while b"\r\n\r\n" not in self._data:
            assert self.some(), "no answer"
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        self._data = bytearray(rest)

    def some(self, size: int = 65_536) -> bool:
        data = self.socket.recv(size)
        self._data += data
        return bool(data)

    def body(self) -> bytes | None:
        """All of the rest, or None when it ends too early."""
        assert self.headers["transfer-encoding"] == "chunked"
        body, at = bytearray(), 0
        while True:
            end = self._data.find(b"\r\n", at)
            if end >= 0:
                size = int(self._data[at:end], 16)
                if len(self._data) >= end + 2 + size + 2:
                    body += self._data[end + 2 : end + 2 + size]
                    assert self._data[end + 2 + size : end + 4 + size] == b"\r\n"
                    at = end + 4 + size
                    if size == 0:
                        assert at == len(self._data)
                        return bytes(body)
                    continue
            try:
                if not self.some():
                    return None
            except ConnectionResetError:
                return None

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def make(store: Store, target: str = TREE) -> Reader:
        readers.append(Reader(store, target))
        return readers[-1]

    yield make
    for made in readers:
        made.close()


def generation(number: int, files: int = FILES) -> list[dict[str, Any]]:
    return [file(f"/data/{n % 100:03}/{n:06}", number, number / 2) for n in range(files)]


def check(body: bytes | None, number: int, expected: int = FILES) -> None:
    assert body is not None
    tree = json.loads(body)
    files = [
        node
        for folder in tree["children"]["data"]["children"].values()
        for node in folder["children"].values()
    ]
    assert len(files) == expected
    assert {node["size"] for node in files} == {number}


@pytest.fixture
def twin(store: Store) -> Twin:
    twin = Twin(store)
    twin.ready(*generation(0))
    return twin


@contextmanager
def memory_watched(server: Server) -> Iterator[list[int]]:
    """Resident bytes before and, in the end, at the most."""
    pid = server.process.pid

    def bytes_of(field: str) -> int:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")
    figures = [bytes_of("VmRSS")]
    yield figures
    figures.append(bytes_of("VmHWM"))


def test_an_answer_is_one_instant_however_slowly_it_is_read(
    twin: Twin, reader: Callable[..., Reader]
) -> None:
    revisions = {twin.push(file("/data/000/000000")): 0}
    readers = []
    for number in range(1, 5):
        readers.append(reader(twin.store))
        assert readers[-1].headers["x-fusion-revision"] == str(max(revisions))
        revisions[twin.push(*generation(number))] = number
    for number, slow in enumerate(readers):
        check(slow.body(), number)


def test_readers_beside_a_writer_see_whole_batches(twin: Twin, reader: Callable[..., Reader]) -> None:
    stop = threading.Event()
    told = {twin.push(*generation(1)): 1}

    def write() -> None:
        number = 2
        while not stop.is_set():
            told[twin.push(*generation(number))] = number
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        bodies = []
        for _ in range(8):
            fast = reader(twin.store)
            bodies.append((int(fast.headers["x-fusion-revision"]), fast.body()))
    finally:
        stop.set()
        writer.join()
    for revision, body in bodies:
        check(body, told[revision])


def test_a_client_that_goes_away_is_forgotten(
    start: Callable[..., Server], reader: Callable[..., Reader]
) -> None:
    """What the index kept for it is let go of; otherwise there would be too much for those who stay."""
    server = start({"one": ""}, "max_kept_bytes = 9000000")
    twin = Twin(Store(server, "one"))
    twin.ready(*generation(0, MANY))
    for number in range(1, 4):
        leaving = reader(twin.store)
        twin.push(*generation(number, MANY))
        leaving.close()
    staying = reader(twin.store)
    time.sleep(2.5)
    check(staying.body(), 3, MANY)


def test_the_oldest_reader_is_cut_off_when_too_much_is_kept(
    start: Callable[..., Server], reader: Callable[..., Reader]
) -> None:
    server = start({"one": "", "other": ""}, "max_kept_bytes = 100000", "--log-level", "warning")
    twin, other = Twin(Store(server, "one")), Twin(Store(server, "other"))
    for each in (twin, other):
        each.ready(*generation(0, MANY))
    unconcerned, oldest = reader(other.store), reader(twin.store)
    twin.push(*generation(1, MANY))
    until(lambda: "max_kept_bytes" in server.errors())
    assert oldest.status == 200
    assert oldest.body() is None
    check(unconcerned.body(), 0, MANY)
    assert twin.get("tree", max_depth=1).status_code == 200
    server.stop(silent=False)


def test_an_answer_that_takes_too_long_is_cut_off(
    start: Callable[..., Server], reader: Callable[..., Reader]
) -> None:
    server = start({"one": ""}, "max_answer_seconds = 1", "--log-level", "warning")
    twin = Twin(Store(server, "one"))
    twin.ready(*generation(0, MANY))
    slow = reader(twin.store)
    until(lambda: "max_answer_seconds" in server.errors())
    assert slow.body() is None
    server.stop(silent=False)


def test_many_readers_take_little_memory_and_hold_up_nobody(
    twin: Twin, reader: Callable[..., Reader]
) -> None:
    expected = twin.oracle.tree_json()
    with memory_watched(twin.store.server) as figures:
        slow = reader(twin.store)
        bodies: list[bytes | None] = []

        def read() -> None:
            bodies.append(reader(twin.store).body())

        threads = [threading.Thread(target=read) for _ in range(23)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert twin.store.http.get(f"{TREE}?path=/data&max_depth=0").status_code == 200
            assert twin.store.heartbeat(twin.session).status_code == 200
        assert bodies == [expected] * 23
        assert slow.body() == expected
    assert figures[1] - figures[0] < 32 * 2**20


def test_views_that_close_meanwhile_do_not_end_an_answer(twin: Twin, reader: Callable[..., Reader]) -> None:
    """It shows an instant at which they were open."""
    begun = reader(twin.store)
    twin.store.anomaly(twin.session)
    twin.store.state()
    check(begun.body(), 0)


def test_large_searches_stream_as_well(twin: Twin, reader: Callable[..., Reader]) -> None:
    found = reader(twin.store, "/views/fs/search?pattern=0")
    twin.push(*generation(1))
    body = found.body()
    assert body is not None
    nodes = json.loads(body)
    assert found.headers["x-total-count"] == str(len(nodes))
    assert {node["size"] for node in nodes} == {0}
    assert sorted(node["path"] for node in nodes) == sorted(
        path for path in (row["path"] for row in generation(0)) if "0" in path.rpartition("/")[2]
    )


def test_a_server_that_stops_cuts_off_what_takes_longer(
    start: Callable[..., Server], reader: Callable[..., Reader]
) -> None:
    server = start({"one": ""})
    twin = Twin(Store(server, "one"))
    twin.ready(*generation(0, MANY))
    slow = reader(twin.store)
    server.send_signal(signal.SIGTERM)
    until(lambda: server.process.poll() is not None)
    assert slow.body() is None
    server.stop(silent=False)
