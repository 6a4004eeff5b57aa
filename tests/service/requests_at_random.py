"""Requests as they should be, the parts of which harmful ones are made, and what comes of mixing them."""

from __future__ import annotations

import re
from random import Random

from in_process import SESSION

# Where what is sent is cut in two pieces that come one after the other.
CUT = b"@cut"
MOST_BYTES = 4096


def request(method: str, target: str, *fields: str, body: bytes | None = None) -> bytes:
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "X-API-Key: key", *length, *fields, "", ""]
    return "\r\n".join(lines).encode() + (body or b"")


def in_chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


EVENTS, SESSIONS = "/ingestor-api/v1/events/", "/ingestor-api/v1/sessions/"
ANOMALY, TREE = "/ingestor-api/v1/consistency/anomaly", "/views/fs/tree"

PUSH = (
    b'{"session_id":"%b","source_type":"message","is_snapshot_end":false,"events":[{"event_type":"update",'
    b'"index":7,"rows":[{"path":"/d/new","size":1,"modified_time":1.5,"created_time":1e0,"is_dir":false}]}]}'
) % SESSION
ARRAYS = (
    b'{"session_id":"%b","source_type":"snapshot","events":[{"event_type":"update","fields":["path","size",'
    b'"modified_time"],"rows":[["/d/\\u00fc",2,3.0]]}]}'
) % SESSION
DELETE = (
    b'{"session_id":"%b","source_type":"message","events":[{"event_type":"delete","rows":[{"path":"/d"}]}]}'
    % SESSION
)
ASKED = b'{"path":"/d","recursive":true,"max_depth":2,"fields":["name","size"],"format":"ndjson","limit":5}'
TRIPPED = (
    b'{"session_id":"%b","reason":"r","detected_at":1.5,"differences":[{"path":"/d","kind":"missing"}]}'
    % SESSION
)

SEEDS = [
    request("GET", "/"),
    request("GET", "/health/live"),
    request("GET", "/health/ready"),
    request("GET", "/view"),
    request("GET", TREE),
    request("HEAD", TREE),
    request("GET", f"{TREE}?path=/d&recursive=false&max_depth=1&only_path=true&fields=name,size"),
    request(
        "GET", f"{TREE}?path=%2Fd&format=ndjson&limit=1&cursor=start", "Accept-Encoding: gzip, zstd;q=0.5"
    ),
    request("GET", f"{TREE}?min_revision=1", 'If-None-Match: "a", W/"b"'),
    request("POST", TREE, "Content-Type: application/json", body=ASKED),
    request("GET", "/views/fs/stats"),
    request("GET", "/views/fs/stats?path=/d"),
    request(
        "GET", "/views/fs/search?pattern=f*&match=path&type=any&min_size=0&max_size=9&sort=size&order=desc"
    ),
    request("GET", "/views/fs/search?pattern=*&modified_after=0.5&modified_before=1e3&limit=2&cursor=start"),
    request("GET", "/views/fs/du?path=/&top=3"),
    request("GET", "/views/fs/histogram?path=/&by=age"),
    request("DELETE", "/views/fs/reset"),
    request("POST", SESSIONS, body=b'{"task_id":"t","client_info":{"a":1}}'),
    request("GET", SESSIONS),
    request("DELETE", SESSIONS, f"session-id: {SESSION.decode()}"),
    request("POST", f"{SESSIONS}heartbeat", f"session-id: {SESSION.decode()}", body=b""),
    request("POST", EVENTS, body=PUSH),
    request("POST", EVENTS, body=ARRAYS),
    request("POST", EVENTS, body=DELETE),
    request("POST", EVENTS, "Expect: 100-continue", body=PUSH),
    request("POST", EVENTS, "Transfer-Encoding: chunked") + in_chunks(PUSH),
    request("POST", EVENTS, "Transfer-Encoding: chunked") + b"5;a=b\r\n{    \r\n" + in_chunks(PUSH[1:]),
    request("GET", f"{EVENTS}position?session_id={SESSION.decode()}"),
    request("GET", f"{EVENTS}stats"),
    request("POST", ANOMALY, body=TRIPPED),
    request("GET", "/ingestor-api/v1/consistency/status"),
    request("GET", "http://x/health/live?a=b#c", "Connection: close"),
    request("GET", "/ingestor-api/v1/ingestor-api/v1/events/stats").replace(b"HTTP/1.1", b"HTTP/1.0"),
]

TOKENS = [
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"/",
        b"//",
        b"%",
        b"%2F",
        b"%00",
    ),
    *(
        b"%ff",
        b"\xff",
        b"\xc3\xbc",
        b"&",
        b"=",
        b"?",
        b"#",
        b"*",
        b"..",
        b"/../",
        b"+",
        b"-",
        b"_",
        b"0x",
        b"0",
    ),
    *(
        b"1",
        b"-1",
        b"1e999",
        b"-0.0",
        b"1e-400",
        b"18446744073709551616",
        b"9223372036854775808",
        b"NaN",
        b"null",
    ),
    *(
        b"true",
        b"{}",
        b"[]",
        b"[" * 200,
        b'{"a":' * 200,
        b'"',
        b"\\ud800",
        b"\\u0000",
        b"\\udc80",
        b"\\",
        b"/a" * 99,
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Encoding: gzip\r\n", b"chunked"),
    *(
        b"Content-Encoding: zstd\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: websocket\r\n",
    ),
    *(
        b"Accept-Encoding: gzip\r\n",
        b"X-API-Key: wrong\r\n",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"HEAD",
        b"POST",
    ),
    *(
        b"0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\n \r\n",
        b"\x28\xb5\x2f\xfd",
        b"\x1f\x8b\x08",
    ),
    *(
        b"session-id: ",
        SESSION,
        CUT,
        b"NONE",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A: " + b"x" * 3000 + b"\r\n",
    ),
    *(
        b"cursor=",
        b"limit=0",
        b"min_revision=99",
        b"is_snapshot_end",
        b"source_type",
        b"fields",
        b"rows",
        b"events",
    ),
]


def mutated(source: Random, data: bytes | None = None) -> bytes:
    """A request, or several, with parts put in, replaced, repeated or left out; the length may be right."""
    data = source.choice(SEEDS) if data is None else data
    for _ in range(source.randrange(1, 5)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(6)
        if kind == 0:
            data = data[:at] + source.choice(TOKENS) + data[at:]
        elif kind == 1:
            token = source.choice(TOKENS)
            data = data[:at] + token + data[at + len(token) :]
        elif kind == 2:
            data = data[:at] + data[at + source.randrange(1, 9) :]
        elif kind == 3:
            data = data[:at] + bytes([source.randrange(256)]) + data[at + source.randrange(2) :]
        elif kind == 4:
            other = source.choice(SEEDS)
            start = source.randrange(len(other))
            data = data[:at] + other[start : start + source.randrange(200)] + data[at:]
        else:
            data = data + source.choice(SEEDS)
    return (refitted(data) if source.randrange(2) else data)[:MOST_BYTES]


def refitted(data: bytes) -> bytes:
    """The same with the length of the body that it has, where it is one request with a length."""
    head, end, body = data.partition(b"\r\n\r\n")
    return re.sub(rb"(?i)(content-length: )[0-9]+", rb"\g<1>%d" % len(body), head) + end + body


def pieces(data: bytes) -> list[bytes]:
    return data.split(CUT)
