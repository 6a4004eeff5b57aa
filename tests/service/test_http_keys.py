"""API keys and scopes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from service import Server, Store, file, read_answer, refused

ROUTES = [
    ("GET", "/views/fs/tree", "read"),
    ("GET", "/views/fs/stats", "read"),
    ("GET", "/views/fs/search?pattern=a", "read"),
    ("DELETE", "/views/fs/reset", "admin"),
    ("POST", "/ingestor-api/v1/sessions/", "ingest"),
    ("GET", "/ingestor-api/v1/sessions/", "ingest"),
    ("DELETE", "/ingestor-api/v1/sessions/", "ingest"),
    ("POST", "/ingestor-api/v1/sessions/heartbeat", "ingest"),
    ("POST", "/ingestor-api/v1/events/", "ingest"),
    ("GET", "/ingestor-api/v1/events/position?session_id=x", "ingest"),
    ("GET", "/ingestor-api/v1/events/stats", "ingest"),
    ("POST", "/ingestor-api/v1/consistency/anomaly", "ingest"),
    ("GET", "/ingestor-api/v1/consistency/status", "ingest"),
]
OPEN = ["/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/view"]

every_route = pytest.mark.parametrize(("method", "path", "scope"), ROUTES)


@every_route
def test_a_missing_key_is_401(store: Store, method: str, path: str, scope: str) -> None:
    document = refused(store.server.http.request(method, path), 401, "unauthorized")
    assert set(document) == {"detail", "code"}


@every_route
def test_an_unknown_key_is_401(store: Store, method: str, path: str, scope: str) -> None:
    answer = store.server.http.request(method, path, headers={"X-API-Key": store.key + "x"})
    refused(answer, 401, "unauthorized")


@every_route
def test_a_key_without_the_scope_is_403(store: Store, method: str, path: str, scope: str) -> None:
    for other in {"read", "ingest", "admin"} - {scope}:
        headers = {"X-API-Key": f"{store.name}-{other}"}
        refused(store.server.http.request(method, path, headers=headers), 403, "forbidden")


@every_route
def test_a_key_with_the_scope_alone_is_enough(store: Store, method: str, path: str, scope: str) -> None:
    headers = {"X-API-Key": f"{store.name}-{scope}"}
    answer = store.server.http.request(method, path, headers=headers)
    assert answer.status_code not in (401, 403, 404, 405) or answer.json()["code"] == "session_not_found"


@pytest.mark.parametrize("path", OPEN)
def test_open_routes_need_no_key(store: Store, path: str) -> None:
    assert store.server.http.get(path).status_code == 200


@pytest.mark.parametrize("path", [*OPEN, "/ingestor-api/v1/sessions/"])
def test_a_body_that_no_route_takes_is_dropped(store: Store, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\nContent-Length: 5\r\n\r\nhello"
    with store.server.connect() as connection:
        for _ in range(2):
            connection.sendall(request.encode())
            assert read_answer(connection).status_code == 200


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key", "X-Api-KEY"])
def test_the_header_name_has_no_case(store: Store, name: str) -> None:
    request = f"GET /ingestor-api/v1/sessions/ HTTP/1.1\r\nHost: x\r\n{name}: {store.key}\r\n\r\n"
    assert store.server.raw(request.encode()).status_code == 200


def test_an_empty_or_odd_key_is_401(store: Store) -> None:
    for key in (b"", b" ", b"\xff\xfe", store.key.upper().encode()):
        request = b"GET /ingestor-api/v1/sessions/ HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key + b"\r\n\r\n"
        refused(store.server.raw(request), 401, "unauthorized")


@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["sessions/", "events/", "sessions/heartbeat", "consistency/anomaly"])
def test_401_comes_before_the_body_is_read(store: Store, path: str, length: str) -> None:
    request = f"POST /ingestor-api/v1/{path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"
    refused(store.server.raw(request.encode()), 401)


def test_401_wins_over_a_body_that_is_too_large(store: Store) -> None:
    request = b"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    refused(store.server.raw(request), 401)


def test_the_connection_serves_on_after_a_401(store: Store) -> None:
    with store.server.connect() as connection:
        connection.sendall(b"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        refused(read_answer(connection), 401)
        connection.sendall(b"helloGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).status_code == 200


def test_a_key_never_sees_another_datastore(neighbours: list[Store]) -> None:
    one, other = neighbours
    one.ready(file("/mine"))
    other.ready(file("/theirs"))
    assert one.paths() == {"/mine"}
    assert one.search("theirs") == []
    assert not one.has("/theirs")


def test_a_key_never_counts_another_datastore(neighbours: list[Store]) -> None:
    one, other = neighbours
    one.ready()
    session = other.ready(file("/a"), file("/b"))
    other.message(session, file("/c"), index=1_000)
    assert one.counts() == (0, 1)
    assert len(one.sessions()) == 1
    stats = one.http.get("/ingestor-api/v1/events/stats").json()
    assert stats["metrics"]["total_volume"] == 0


def test_a_key_never_changes_another_datastore(neighbours: list[Store]) -> None:
    one, other = neighbours
    one.ready()
    session = other.ready(file("/a"))
    refused(one.try_message(session, file("/b")), 404)
    refused(one.heartbeat(session), 404)
    refused(one.end_session(session), 404)
    refused(one.position(session), 404)
    refused(one.anomaly(session), 404)
    assert one.http.delete("/views/fs/reset").status_code == 204
    assert other.paths() == {"/a"}


def test_a_key_may_be_configured_by_its_sha256(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    config = (
        "[server]\nport = 0\n[datastores.one]\n"
        f'[[keys]]\nkey_sha256 = "{digest}"\ndatastore = "one"\nscopes = ["ingest"]\n'
    )
    server = Server(tmp_path / "hashed", config)
    try:
        url = "/ingestor-api/v1/sessions/"
        assert server.http.get(url, headers={"X-API-Key": "secret"}).status_code == 200
        assert server.http.get(url, headers={"X-API-Key": digest}).status_code == 401
    finally:
        server.stop()
