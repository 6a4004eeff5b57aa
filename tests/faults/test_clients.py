"""Clients that go away, send halves or repeat themselves: a batch is there as a whole or not at all, once."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable

import pytest
from load import Batch, Files
from service import Server, Store, accepted, refused, until, walk

ROWS: Files = {f"/batch/{n}": (n, 1000.0 + n) for n in range(2_000)}
DIRECTORY = "/batch"


class Case:
    """A datastore with one file, and a batch for it as a request in bytes."""

    def __init__(self, start: Callable[..., Server]) -> None:
        self._start = start
        self.serve()
        self.session = self.store.ready()
        self.body = Batch(ROWS).body(self.session)

    def serve(self) -> None:
        self.server = self._start({"one": "session_timeout_seconds = 600"})
        self.store = Store(self.server, "one")

    def head(self, *fields: str) -> bytes:
        lines = [
            "POST /ingestor-api/v1/events/ HTTP/1.1",
            "Host: x",
            f"X-API-Key: {self.store.key}",
            *fields,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def send(self, data: bytes, *, reset: bool) -> None:
        """Send that much and go away: with a reset, or in order, until the server has done so, too."""
        with self.server.connect() as connection:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(data)
            if not reset:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def shows_batch(self) -> bool:
        """All of it, or False: nothing of it. In one answer, so that it may come in meanwhile."""
        nodes = walk(self.store.tree())
        files = {
            node["path"]: (node["size"], node["modified_time"])
            for node in nodes
            if node["content_type"] == "file"
        }
        assert files in ({}, ROWS)
        return bool(files)

    def has_batch(self) -> bool:
        """The same while nothing is on the way."""
        has = self.shows_batch()
        assert self.store.counts() == ((len(ROWS), 2) if has else (0, 1))
        return has

    def restart(self) -> None:
        self.server.kill()
        self.serve()
        until(lambda: self.store.get_tree(max_depth=0).status_code == 200)


@pytest.fixture
def case(start: Callable[..., Server]) -> Case:
    return Case(start)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_goes_away_in_the_middle(case: Case, reset: bool) -> None:
    body, size = case.body, len(case.body)
    for cut in (1, size // 2, size - 1):
        case.send(case.head(f"Content-Length: {size}") + body[:cut], reset=reset)
        chunk = b"%x\r\n%s\r\n" % (cut, body[:cut])
        case.send(case.head("Transfer-Encoding: chunked") + chunk, reset=reset)
        compressed = gzip.compress(body)
        head = case.head(f"Content-Length: {len(compressed)}", "Content-Encoding: gzip")
        case.send(head + compressed[: max(1, cut * len(compressed) // size)], reset=reset)
    # All that without the last byte that says that it was all.
    case.send(case.head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n" % (size, body), reset=reset)
    accepted(case.store.send(case.session, []))  # whatever came before it is through
    assert not case.has_batch()
    case.restart()
    assert not case.has_batch()
    accepted(case.store.post(body))
    assert case.has_batch()


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_does_not_wait_for_the_answer(case: Case, reset: bool) -> None:
    for _ in range(10):
        case.send(case.head(f"Content-Length: {len(case.body)}") + case.body, reset=reset)
        case.shows_batch()
    if not reset:
        until(case.shows_batch)
    had = case.shows_batch()
    case.restart()
    assert case.has_batch() >= had


def test_a_gzip_body_cut_short(case: Case) -> None:
    body = gzip.compress(case.body)
    for cut in (1, 9, 30, len(body) // 2, -9, -8, -1):
        refused(case.store.post(body[:cut], encoding="gzip"), 400)
        assert not case.has_batch()
    accepted(case.store.post(body, encoding="gzip"))
    assert case.has_batch()


def test_half_a_batch_as_a_whole_body(case: Case) -> None:
    for cut in (1, len(case.body) // 2, len(case.body) - 1):
        refused(case.store.post(case.body[:cut]), 400)
    document = json.loads(case.body)
    document["events"][0]["rows"][-1]["size"] = "large"
    refused(case.store.post(document), 422)
    assert not case.has_batch()
    case.restart()
    assert not case.has_batch()


def test_a_repeated_batch(case: Case) -> None:
    for _ in range(3):
        accepted(case.store.post(case.body))
        assert case.has_batch()
    case.restart()
    assert case.has_batch()
    accepted(case.store.post(case.body))
    assert case.has_batch()
    # A repeated deletion, too.
    for _ in range(2):
        case.store.delete(case.session, DIRECTORY)
        assert not case.has_batch()
    case.restart()
    assert not case.has_batch()
