"""Clients that read large answers and keep nothing of them."""

from __future__ import annotations

import socket
import threading
import time
from typing import NamedTuple

from load import head
from processes import Process

BUFFER_BYTES = 1 << 20
LAST_CHUNK = b"\r\n0\r\n\r\n"


class Drained(NamedTuple):
    """What an answer took, `first` until its first byte, and its `bytes`, with the sizes of chunks."""

    seconds: float
    first: float
    bytes: int


def drain(server: Process, target: str) -> Drained:
    """Ask on a connection of its own and read to the end; the answer has to be whole."""
    buffer = bytearray(BUFFER_BYTES)
    request = head("GET", target, key=server.key).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        received = connection.recv_into(buffer)
        first = time.perf_counter() - started
        start = bytes(buffer[:received])
        top = start.partition(b"\r\n\r\n")[0]
        assert top.startswith(b"HTTP/1.1 200 "), top
        total, last = received, start
        while received := connection.recv_into(buffer):
            total += received
            last = (last + bytes(memoryview(buffer)[max(0, received - 16) : received]))[-16:]
        seconds = time.perf_counter() - started
    size = total - len(top) - 4
    if b"transfer-encoding: chunked" in top.lower():
        assert last.endswith(LAST_CHUNK), "the answer was cut off"
    else:
        declared = next(line for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        assert size == int(declared[15:]), "the answer was cut off"
    return Drained(seconds, first, size)


class SlowReader:
    """A client that reads so many bytes a second, until it is told to stop."""

    def __init__(self, server: Process, target: str, bytes_per_second: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self._socket.connect(("127.0.0.1", server.port))
        self._socket.sendall(head("GET", target, key=server.key))
        self._rate = bytes_per_second
        self._stopping = threading.Event()
        self.bytes = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            received = len(self._socket.recv(self._rate // 10))
            assert received, "the slow reader was cut off"
            self.bytes += received

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()
