"""Requests that are meant to do harm: one answer of 4xx with a reason, nothing changed, nothing smuggled."""

from __future__ import annotations

import gzip
import json
import socket
import sys

import pytest
from in_process import KEY, Answer, answers
from service import STUCK_SECONDS, Server, Store, file, read_answer, refused, wrong_field

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

EVENTS, SESSIONS = "/ingestor-api/v1/events/", "/ingestor-api/v1/sessions/"
ANOMALY, TREE = "/ingestor-api/v1/consistency/anomaly", "/views/fs/tree"
BODY_ROUTES = [EVENTS, SESSIONS, ANOMALY, TREE]
body_routes = pytest.mark.parametrize("path", BODY_ROUTES)
NEXT = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def head(key: str, *fields: str, path: str = EVENTS) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {key}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def until_closed(connection: socket.socket) -> list[Answer]:
    """All that is answered until the server hangs up; a reset is that, too."""
    connection.settimeout(STUCK_SECONDS)
    sent = b""
    try:
        while data := connection.recv(65536):
            sent += data
    except ConnectionResetError:
        pass
    return answers(sent)


def said(server: Server, request: bytes) -> list[Answer]:
    with server.connect() as connection:
        connection.sendall(request)
        return until_closed(connection)


# The key comes first


@body_routes
@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 1000",),
        ("Transfer-Encoding: chunked",),
        ("Content-Encoding: zstd", "Content-Length: 1000"),
        ("Content-Encoding: zstd", "Transfer-Encoding: chunked"),
    ],
    ids=["length", "chunks", "zstd", "zstd in chunks"],
)
def test_a_wrong_key_is_told_while_the_body_is_still_to_come(
    store: Store, path: str, fields: tuple[str, ...]
) -> None:
    for key, status in (("wrong", 401), (f"{store.name}-admin", 403)):
        refused(store.server.raw(head(key, *fields, path=path)), status)


@body_routes
def test_a_client_with_a_wrong_key_is_not_asked_for_its_body(store: Store, path: str) -> None:
    """It may send it nevertheless, or not: the connection is of no more use."""
    for length in ("Content-Length: 5", "Transfer-Encoding: chunked"):
        with store.server.connect() as connection:
            connection.sendall(head("wrong", "Expect: 100-continue", length, path=path))
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close\r\n" in answer
            assert until_closed(connection) == []


def test_a_client_with_the_right_key_is_asked_for_its_body(store: Store) -> None:
    body = json.dumps({"session_id": store.ready(), "source_type": "message", "events": []}).encode()
    with store.server.connect() as connection:
        connection.sendall(head(store.key, "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection).status_code == 204
        connection.sendall(NEXT)
        assert read_answer(connection).status_code == 200


# One request, read in one way


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"

BAD_HEADS = {
    "a length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
    "the same length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +4\r\n\r\n",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n",
    "a length in another script": POST + "Content-Length: ٤\r\n\r\n".encode(),
    "a length in base 16": POST + b"Content-Length: 0x4\r\n\r\n",
    "a fraction of a length": POST + b"Content-Length: 4.0\r\n\r\n",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "a length of 5,000 digits": POST + b"Content-Length: %b\r\n\r\n" % (b"9" * 5000),
    "another coding after chunks": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "another coding before chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks of chunks": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "chunks in two fields": POST + b"" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "something like chunks": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunks with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 4\r\n\r\n",
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n",
    "a space before the name": POST + b" Content-Length: 4\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\n\r\n",
    "a folded line without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n",
    "a folded first line": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\r\nHost: x\nContent-Length: 4\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rContent-Length: 4\r\n\r\n",
    "a line feed in the request line": b"GET /\nHost:y HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a name beyond ASCII": "GET / HTTP/1.1\r\nHost: x\r\nÄ: b\r\n\r\n".encode(),
    "an empty name": b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a method with a brace": b"GE{T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a small version": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n",
    "an empty line first": b"\r\n\r\n",
    "an authority": b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "a fragment alone": b"GET # HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", BAD_HEADS.values(), ids=BAD_HEADS)
def test_what_could_be_read_in_two_ways_is_400_and_ends_the_connection(
    store: Store, request_bytes: bytes
) -> None:
    (answer,) = said(store.server, request_bytes + NEXT)
    assert (answer.status, answer.code) == (400, "bad_request")
    assert b"connection: close\r\n" in answer.head


BAD_CHUNKS = {
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "another script": "٥\r\nhello\r\n0\r\n\r\n".encode(),
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "an empty line first": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "no size, an extension": b";a=b\r\nhello\r\n0\r\n\r\n",
    "no hex": b"g\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"1" + b"0" * 16 + b"\r\nhello\r\n0\r\n\r\n",
    "a long line": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "an endless line": b"5;" + b"a" * 10_000,
    "a line feed in an extension": b"5;a\n\r\nhello\r\n0\r\n\r\n",
    "a bare line feed": b"5\nhello\r\n0\r\n\r\n",
    "something behind it": b"5\r\nhelloXX0\r\n\r\n",
    "one byte too many": b"5\r\nhello!\r\n0\r\n\r\n",
    "one byte too few": b"5\r\nhell\r\n0\r\n\r\n",
    "a line feed behind it": b"5\r\nhello\n0\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
    "something at the end": b"5\r\nhello\r\n0\r\nXX",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
@pytest.mark.parametrize("path", [EVENTS, "/health/live", "/nothing"])
def test_malformed_chunks_end_the_connection(store: Store, body: bytes, path: str) -> None:
    method = b"GET" if path == "/health/live" else b"POST"
    request = head(store.key, "Transfer-Encoding: chunked", path=path).replace(b"POST", method) + body
    for answer in (found := said(store.server, request + NEXT)):
        # Where the body is not looked at, the answer is given without it.
        assert (answer.status, answer.code) == (
            (404, "route_not_found") if "no" in path else (400, "bad_request")
        )
    assert len(found) == 1


def test_two_bytes_of_garbage_behind_a_chunk_are_no_line_end(store: Store) -> None:
    """A proxy that goes by the line end would take what follows for the body, and we for a request."""
    smuggled = b"5\r\nhelloXX0\r\n\r\nDELETE /views/fs/reset HTTP/1.1\r\nHost: x\r\n\r\n"
    (answer,) = said(store.server, head(store.key, "Transfer-Encoding: chunked") + smuggled)
    assert answer.status == 400


GOOD = {
    "chunks": head(KEY, "Transfer-Encoding: chunked", path="/health/live") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunks with zeros, capitals and extensions": head(KEY, "Transfer-Encoding: chunked", path="/health/live")
    + b'0000A;a;b="c d"\r\n0123456789\r\n00;last\r\n\r\n',
    "no body in chunks": head(KEY, "Transfer-Encoding: chunked", path="/health/live") + b"0\r\n\r\n",
    "spaces around a length": head(KEY, "Content-Length:  \t5 ", path="/health/live") + b"hello",
    "an absolute target": b"GET http://other/health/live?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty host": b"GET /health/live HTTP/1.1\r\nHost:\r\n\r\n",
    "bytes beyond ASCII in a value": b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: \xe4\xff\t\r\n\r\n",
    "an upgrade": b"GET /health/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", GOOD.values(), ids=GOOD)
def test_what_is_merely_odd_is_served_and_so_is_what_follows(store: Store, request_bytes: bytes) -> None:
    last = NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    request = request_bytes.replace(b"POST", b"GET")
    assert [answer.status for answer in said(store.server, request * 2 + last)] == [200, 200, 200]


def test_http_1_0_needs_no_field(store: Store) -> None:
    (answer,) = said(store.server, b"GET /health/live HTTP/1.0\r\n\r\n" + NEXT)
    assert answer.status == 200


def test_no_request_is_answered_with_what_belongs_to_another(store: Store) -> None:
    """Bodies that look like requests, in every framing, refused and taken."""
    inner = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    for path, status in (("/health/live", 200), ("/nothing", 404), (EVENTS, 401)):
        method = b"GET " if status == 200 else b"POST "
        for field, body in ((f"Content-Length: {len(inner)}", inner), ("Transfer-Encoding: chunked", chunk)):
            request = head("wrong", field, path=path).replace(b"POST ", method) + body
            last = NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            found = said(store.server, request + request + last)
            assert [answer.status for answer in found] == [status, status, 200]
            assert all(len(answer.body) < 1000 for answer in found)


# Large


def test_fields_of_more_than_16_kib_are_431(store: Store) -> None:
    for fields in (f"A: {'x' * 20_000}", "\r\n".join(f"A{n}: {'x' * 40}" for n in range(500))):
        (answer,) = said(store.server, head(store.key, fields) + NEXT)
        assert (answer.status, answer.code) == (431, "header_too_large")
        assert json.loads(answer.body)["limit"] == 16 * 1024
    room = 16 * 1024 - len("\r\nHost: x\r\nA: ")
    for size, status in ((room, 200), (room + 1, 431)):
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (b"x" * size)
        assert store.server.raw(request).status_code == status


def test_the_longest_path_still_fits_into_a_url(store: Store) -> None:
    path = "/" + "/".join(["ü" * 127 for _ in range(16)])[:4094]
    path = path.encode()[:4095].decode(errors="ignore")
    store.ready(file(path))
    filler = [("A", "x" * 8000)]
    answer = store.http.get(TREE, params={"path": path}, headers=filler)
    assert answer.status_code == 200, answer.text
    assert answer.json()["path"] == path


def test_a_megabyte_of_name_is_refused(store: Store) -> None:
    session = store.ready()
    for path in ("/" + "x" * 1_000_000, "/" + "x/" * 500_000):
        answer = store.try_message(session, file(path))
        wrong_field(answer, "/events/0/rows/0/path")
    assert store.paths() == set()
    (answer,) = said(store.server, b"GET /views/fs/tree?path=%b HTTP/1.1\r\n" % (b"x" * 1_000_000))
    assert answer.status == 431


@body_routes
@pytest.mark.parametrize("body", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000])
def test_deep_json_is_400(store: Store, path: str, body: bytes) -> None:
    store.ready()
    refused(store.http.post(path, content=body), 400, "malformed_json")
    deep = b'{"session_id":"x","source_type":"message","events":[],"task_id":"t","path":"/","more":%b}' % body
    refused(store.http.post(path, content=deep), 400, "malformed_json")


@pytest.mark.parametrize("size", ["-1", "18446744073709551616", "1e999", "-1e999", "NaN", '"1"', "1.5", "[]"])
def test_a_size_that_is_none_is_refused(store: Store, size: str) -> None:
    session = store.ready()
    body = (
        f'{{"session_id":"{session}","source_type":"message","events":[{{"rows":[{{"path":"/a","size":{size},'
        '"modified_time":0,"created_time":0,"is_dir":false}]}]}'
    )
    answer = store.post(body.encode())
    refused(answer, answer.status_code)
    assert answer.status_code in (400, 422)
    assert store.paths() == set()


@pytest.mark.parametrize(
    "path", ['"/\\u0000"', '"/a\\u0000b"', '"\\ud800"', '"/\\ud800"', '"/\\udfff\\ud800"', '"/\ud800"']
)
def test_nul_and_lone_surrogates_are_refused_or_kept_as_they_are(store: Store, path: str) -> None:
    """Of surrogates those that escape a byte are a name; all others, and NUL, are none."""
    session = store.ready()
    body = f'{{"session_id":"{session}","source_type":"message","events":[{{"rows":[{{"path":{path}}}]}}]}}'
    for document in (body, body.replace('"rows"', '"event_type":"delete","rows"')):
        answer = store.post(document.encode("utf-8", "surrogatepass"))
        refused(answer, answer.status_code)
        assert answer.status_code in (400, 422)
    assert store.paths() == set()


@pytest.mark.parametrize("path", [EVENTS, SESSIONS])
def test_a_bomb_is_413(store: Store, path: str) -> None:
    store.ready()
    for coding, body in (
        ("zstd", zstd.compress(b" " * 50_000_000)),
        ("gzip", gzip.compress(b" " * 50_000_000)),
    ):
        answer = store.http.post(path, content=body, headers={"Content-Encoding": coding})
        refused(answer, 413)
    assert store.paths() == set()
