"""Errors are always JSON, say what was wrong, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from service import Server, Store, accepted, file, read_answer, refused, wrong_field

JSON_ROUTES = [
    "/ingestor-api/v1/sessions/",
    "/ingestor-api/v1/events/",
    "/ingestor-api/v1/consistency/anomaly",
]
json_routes = pytest.mark.parametrize("path", JSON_ROUTES)


@json_routes
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,", b"hello", b'{"a":1}}', b'{"a":"\xff"}', b'"\xc3"', b"{'a':1}"]
)
def test_what_is_no_json_is_400(store: Store, path: str, body: bytes) -> None:
    refused(store.http.post(path, content=body), 400, "malformed_json")


@json_routes
@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"true"])
def test_a_wrong_document_is_422_with_an_empty_pointer(store: Store, path: str, body: bytes) -> None:
    wrong_field(store.http.post(path, content=body), "")


@json_routes
@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_and_infinity_are_refused(store: Store, path: str, literal: bytes) -> None:
    body = b'{"session_id":"x","task_id":"x","source_type":"message","events":[],"extra":' + literal + b"}"
    answer = store.http.post(path, content=body)
    refused(answer, answer.status_code)
    assert answer.status_code in (400, 422)


@json_routes
def test_1e999_is_422(store: Store, path: str) -> None:
    body = b'{"session_id":"x","task_id":"x","source_type":"message","events":[],"detected_at":1e999}'
    wrong_field(store.http.post(path, content=body), "/detected_at")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/ingestor-api/v1/sessions/", {}, "/task_id"),
        ("/ingestor-api/v1/events/", {"source_type": "message", "events": []}, "/session_id"),
        ("/ingestor-api/v1/events/", {"session_id": "x", "events": []}, "/source_type"),
        ("/ingestor-api/v1/events/", {"session_id": "x", "source_type": "message"}, "/events"),
        ("/ingestor-api/v1/consistency/anomaly", {}, "/session_id"),
    ],
)
def test_the_pointer_of_a_missing_field_names_it(store: Store, path: str, body: Any, pointer: str) -> None:
    wrong_field(store.http.post(path, json=body), pointer)


def test_the_pointer_goes_down_to_the_field(store: Store) -> None:
    session = store.ready()
    rows = [file(f"/{number}") for number in range(20)]
    events = [{"rows": rows} for _ in range(4)]
    body = {"session_id": session, "source_type": "message", "events": events}
    rows[17]["size"] = "large"
    events[0:3] = [{}, {}, {}]
    wrong_field(store.post(body), "/events/3/rows/17/size")


def test_unknown_fields_are_ignored(store: Store) -> None:
    answer = store.http.post("/ingestor-api/v1/sessions/", json={"task_id": "t", "colour": {"is": ["red"]}})
    session = answer.json()["session_id"]
    store.end(session)
    event = {"rows": [file("/a", colour=None, inode=7)], "colour": [1, {}]}
    accepted(store.post({"session_id": session, "source_type": "message", "events": [event], "colour": 1.5}))
    assert store.has("/a")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/views/fs/tree"),
        ("POST", "/views/fs/search"),
        ("DELETE", "/views/fs/stats"),
        ("GET", "/views/fs/reset"),
        ("PUT", "/ingestor-api/v1/events/"),
        ("GET", "/ingestor-api/v1/events/"),
        ("GET", "/ingestor-api/v1/sessions/heartbeat"),
        ("PATCH", "/ingestor-api/v1/sessions"),
        ("POST", "/"),
        ("DELETE", "/openapi.json"),
    ],
)
def test_a_wrong_method_is_405(store: Store, method: str, path: str) -> None:
    answer = store.http.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/views/fs", "/views/fs/tree/x", "/ingestor-api/v1/", "/health/what"]
)
def test_an_unknown_route_is_404(store: Store, path: str) -> None:
    refused(store.http.get(path), 404, "route_not_found")


def test_errors_are_json_for_a_browser_too(store: Store) -> None:
    for path in ("/nothing", "/views/fs/tree"):
        refused(store.server.http.get(path, headers={"Accept": "text/html"}), 404 if "no" in path else 401)


def test_errors_are_json_for_curl_too(store: Store) -> None:
    headers = {"Accept": "*/*", "User-Agent": "curl/8.5.0"}
    refused(store.server.http.get("/nothing", headers=headers), 404)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET ? HTTP/1.1\r\n\r\n",
        b"GET x HTTP/1.1\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
        b"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(store: Store, request_bytes: bytes) -> None:
    refused(store.server.raw(request_bytes), 400, "bad_request")


def test_a_malformed_chunk_is_400(store: Store) -> None:
    head = f"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n"
    refused(store.server.raw(head.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), 400)


def test_an_endless_header_is_refused(store: Store) -> None:
    refused(store.server.raw(b"GET /" + b"a" * 200_000), 431, "header_too_large")


def test_an_unknown_expectation_is_417(store: Store) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: miracles\r\n\r\n"
    refused(store.server.raw(request), 417)


LIMIT = 1_000


@pytest.fixture
def small(start: Callable[..., Server]) -> Store:
    """A datastore of a server that takes bodies up to 1,000 bytes."""
    return Store(start({"one": ""}, f"max_body_bytes = {LIMIT}"), "one")


def head(store: Store, length: str) -> bytes:
    request = (
        f"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n{length}\r\n\r\n"
    )
    return request.encode()


def test_a_declared_length_over_the_limit_is_413_without_the_body(small: Store) -> None:
    document = refused(small.server.raw(head(small, f"Content-Length: {LIMIT + 1}")), 413, "body_too_large")
    assert document["limit"] == LIMIT


def test_a_chunked_body_over_the_limit_is_413(small: Store) -> None:
    request = head(small, "Transfer-Encoding: chunked") + b"400\r\n" + b" " * 1024 + b"\r\n"
    refused(small.server.raw(request), 413, "body_too_large")


def test_a_chunked_body_of_many_chunks_over_the_limit_is_413(small: Store) -> None:
    request = head(small, "Transfer-Encoding: chunked") + b"64\r\n%b\r\n" % (b" " * 100) * 11
    refused(small.server.raw(request), 413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_read(small: Store) -> None:
    session = small.open()
    body = json.dumps({"session_id": session, "source_type": "message", "events": []}).encode()
    accepted(small.post(body + b" " * (LIMIT - len(body))))
    refused(small.post(body + b" " * (LIMIT + 1 - len(body))), 413)


def test_the_sender_of_a_body_far_over_the_limit_gets_to_read_the_413(small: Store) -> None:
    for _ in range(5):
        refused(small.post(b" " * 20_000_000), 413)


def test_a_413_changes_nothing_and_the_connection_serves_on(small: Store) -> None:
    with small.server.connect() as connection:
        connection.sendall(head(small, f"Content-Length: {LIMIT + 1}"))
        refused(read_answer(connection), 413)
        connection.sendall(b" " * (LIMIT + 1) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).status_code == 200


def test_the_limit_is_16_mib_unless_configured(store: Store) -> None:
    limit = 16 * 1024 * 1024
    answer = store.server.raw(head(store, f"Content-Length: {limit + 1}"))
    assert refused(answer, 413)["limit"] == limit
    session = store.open()
    body = json.dumps({"session_id": session, "source_type": "message", "events": []}).encode()
    accepted(store.post(body + b" " * (limit - len(body))))


def test_retry_after_is_a_whole_number_of_seconds(store: Store) -> None:
    answer = store.http.get("/views/fs/tree")
    refused(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
