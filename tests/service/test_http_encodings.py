"""Compressed request bodies: Content-Encoding gzip and zstd on every route that takes a body."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from service import Server, Store, accepted, file, folder, read_answer, refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "zstd": zstd.compress,
}
# 50 kB that compress to more than is decompressed at once.
NUMBERS = " ".join(map(str, range(10_000)))
SESSIONS, HEARTBEAT = "/ingestor-api/v1/sessions/", "/ingestor-api/v1/sessions/heartbeat"
EVENTS, ANOMALY = "/ingestor-api/v1/events/", "/ingestor-api/v1/consistency/anomaly"

codings = pytest.mark.parametrize("coding", COMPRESS)
body_routes = pytest.mark.parametrize("path", [SESSIONS, EVENTS, ANOMALY])


def post(store: Store, path: str, body: bytes | Iterator[bytes], coding: str) -> httpx.Response:
    return store.http.post(path, content=body, headers={"Content-Encoding": coding})


def batch(session: str, *rows: dict[str, Any], **more: Any) -> bytes:
    document = {"session_id": session, "source_type": "message", "events": [{"rows": list(rows)}], **more}
    return json.dumps(document).encode()


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    """A body whose length is not told: it is sent in chunks."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


# Taken


@codings
def test_compressed_pushes_lead_to_the_tree_of_plain_ones(neighbours: list[Store], coding: str) -> None:
    """Small bodies, which are decompressed at once, and large ones, which take the way over a thread."""
    compressed, plain = neighbours
    rows = [folder("/d", 5.5), *(file(f"/d/{number}", number, number + 0.25) for number in range(5_000))]
    for store, encoding in ((compressed, coding), (plain, "identity")):
        session = store.open()
        compress = COMPRESS.get(encoding, bytes)
        for part in (rows[:1], rows[1:20], rows[20:]):
            accepted(post(store, EVENTS, compress(batch(session, *part, source_type="snapshot")), encoding))
        end = batch(session, source_type="snapshot", is_snapshot_end=True)
        accepted(post(store, EVENTS, compress(end), encoding))
    assert compressed.counts() == (5_000, 2)
    assert compressed.tree() == plain.tree()


@codings
def test_every_route_that_takes_a_body_takes_it_compressed(store: Store, coding: str) -> None:
    compress = COMPRESS[coding]
    for padding in ("", NUMBERS):
        body = json.dumps({"task_id": "t", "more": padding}).encode()
        answer = post(store, SESSIONS, compress(body), coding)
        assert answer.status_code == 200, answer.text
        session = answer.json()["session_id"]
        accepted(post(store, EVENTS, compress(batch(session, file("/a"), is_snapshot_end=True)), coding))
        body = json.dumps({"session_id": session, "reason": padding}).encode()
        answer = post(store, ANOMALY, compress(body), coding)
        assert answer.status_code == 200, answer.text
        assert store.breaker()["reason"] == padding


@pytest.mark.parametrize("coding", ["GZIP", "Gzip", "X-GZip", "ZSTD", ", gzip,", "gzip ,"])
def test_case_and_empty_elements_do_not_matter(store: Store, coding: str) -> None:
    compress = COMPRESS[coding.strip(", ").lower()]
    accepted(post(store, EVENTS, compress(batch(store.ready(), file("/a"))), coding))
    assert store.has("/a")


@pytest.mark.parametrize("coding", ["identity", "Identity", "", ","])
def test_identity_and_nothing_are_as_absent(store: Store, coding: str) -> None:
    accepted(post(store, EVENTS, batch(store.ready(), file("/a")), coding))
    assert store.has("/a")


@codings
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_chunks_may_be_compressed(store: Store, coding: str, size: int) -> None:
    body = COMPRESS[coding](batch(store.ready(), *(file(f"/{number}", number) for number in range(200))))
    accepted(post(store, EVENTS, pieces(body, size), coding))
    assert store.counts() == (200, 1)


@codings
def test_several_members_are_one_body(store: Store, coding: str) -> None:
    body = batch(store.ready(), *(file(f"/{number}", number) for number in range(200)))
    accepted(post(store, EVENTS, b"".join(COMPRESS[coding](part) for part in pieces(body, 777)), coding))
    assert store.counts() == (200, 1)


def test_a_route_that_takes_no_body_does_not_look_at_its_coding(store: Store) -> None:
    session = store.open()
    headers = {"session-id": session, "Content-Encoding": "br"}
    assert store.http.post(HEARTBEAT, content=b"anything", headers=headers).status_code == 200
    assert store.http.get("/health/live", headers=headers).status_code == 200


# Refused


@body_routes
@pytest.mark.parametrize(
    "coding", ["br", "deflate", "compress", "*", "gzip, gzip", "identity, gzip", "gzip;q=1"]
)
def test_any_other_coding_is_415(store: Store, path: str, coding: str) -> None:
    answer = post(store, path, b"{}", coding)
    refused(answer, 415, "unsupported_encoding")
    assert answer.headers["accept-encoding"] == "gzip, zstd"


def test_two_fields_are_a_list(store: Store) -> None:
    headers = [("X-API-Key", store.key), ("Content-Encoding", "gzip"), ("Content-Encoding", "zstd")]
    refused(store.server.http.post(EVENTS, content=b"", headers=headers), 415, "unsupported_encoding")


def head(path: str, key: str, *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {key}", *fields, "", ""]
    return "\r\n".join(lines).encode()


@body_routes
def test_a_415_does_not_wait_for_the_body(store: Store, path: str) -> None:
    for length in ("Content-Length: 1000", f"Content-Length: {1 << 30}", "Transfer-Encoding: chunked"):
        answer = store.server.raw(head(path, store.key, "Content-Encoding: br", length))
        refused(answer, 415, "unsupported_encoding")


@body_routes
def test_the_key_is_checked_first(store: Store, path: str) -> None:
    fields = ("Content-Encoding: br", "Content-Length: 1000")
    refused(store.server.raw(head(path, "wrong", *fields)), 401)
    refused(store.server.raw(head(path, f"{store.name}-read", *fields)), 403)


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_the_connection_serves_on_after_a_refusal(store: Store, coding: str) -> None:
    """The body comes after the answer where it was not waited for, and is no gzip where it was."""
    body = b"x" * 3_000
    request = head(EVENTS, store.key, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
    with store.server.connect() as connection:
        for _ in range(3):
            connection.sendall(request)
            if coding == "br":
                refused(read_answer(connection), 415)
            connection.sendall(body)
            if coding == "gzip":
                refused(read_answer(connection), 400, "malformed_encoding")
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection).status_code == 200


@codings
@body_routes
def test_damage_is_400_and_changes_nothing(store: Store, path: str, coding: str) -> None:
    session = store.ready()
    whole = COMPRESS[coding](batch(session, *(file(f"/{number}") for number in range(10)), task_id="t"))
    for body in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", b"{}", whole[1:]):
        refused(post(store, path, body, coding), 400, "malformed_encoding")
    assert store.paths() == set()
    assert list(store.sessions()) == [session]


@codings
def test_what_comes_out_is_checked_like_a_plain_body(store: Store, coding: str) -> None:
    compress = COMPRESS[coding]
    refused(post(store, EVENTS, compress(b""), coding), 400, "malformed_json")
    refused(post(store, EVENTS, compress(b"{"), coding), 400, "malformed_json")
    document = refused(post(store, SESSIONS, compress(b"{}"), coding), 422, "invalid_field")
    assert document["pointer"] == "/task_id"


# Bounds

LIMIT = 100_000


@pytest.fixture
def small(start: Callable[..., Server]) -> Store:
    """A datastore of a server that takes bodies up to 100,000 bytes."""
    return Store(start({"one": ""}, f"max_body_bytes = {LIMIT}"), "one")


@codings
def test_the_limit_is_for_what_comes_out(small: Store, coding: str) -> None:
    compress = COMPRESS[coding]
    body = batch(small.ready(), file("/a"), numbers=NUMBERS)
    body += b" " * (LIMIT - len(body))
    accepted(post(small, EVENTS, compress(body), coding))
    document = refused(post(small, EVENTS, compress(body + b" "), coding), 413, "body_too_large")
    assert document["limit"] == LIMIT


@codings
def test_the_limit_is_for_the_compressed_bytes_too(small: Store, coding: str) -> None:
    """A declared length over it is refused before a byte is read."""
    declared = head(EVENTS, small.key, f"Content-Encoding: {coding}", f"Content-Length: {LIMIT + 1}")
    assert refused(small.server.raw(declared), 413, "body_too_large")["limit"] == LIMIT
    empty = COMPRESS[coding](b"")
    answer = post(small, EVENTS, pieces(empty * (LIMIT // len(empty) + 1), 10_000), coding)
    refused(answer, 413, "body_too_large")


def peak_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_bombs_are_413_and_cost_the_server_little_memory(small: Store, coding: str) -> None:
    """50 MB each, from eight connections at once."""
    zeros = bytes(50_000_000)
    bomb = COMPRESS[coding](zeros)
    if coding == "zstd":
        bombs = [bomb, COMPRESS[coding](zeros[:90_000]), bomb * 10]
    else:
        bombs = [bomb, COMPRESS[coding](zeros[:1_000_000]) * 50]
    small.ready(file("/a"))
    before = peak_kib(small.server)

    def attack(number: int) -> None:
        attacker = Store(small.server, "one")
        for path in (EVENTS, SESSIONS, ANOMALY):
            for bomb in bombs:
                document = refused(post(attacker, path, bomb, coding), 413)
                assert document["code"] in ("body_too_large", "compression_ratio")

    with ThreadPoolExecutor(8) as attackers:
        list(attackers.map(attack, range(8)))
    assert peak_kib(small.server) - before < 30_000
    assert small.paths() == {"/a"}


def test_a_ratio_too_high_is_told(store: Store) -> None:
    body = zstd.compress(json.dumps({"task_id": "t"}).encode() + b" " * 1_000_000)
    document = refused(post(store, SESSIONS, body, "zstd"), 413, "compression_ratio")
    assert document["ratio"] == 1000
    assert store.sessions() == {}
