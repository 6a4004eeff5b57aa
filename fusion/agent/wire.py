"""Bodies in the wire format."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import orjson

SourceType = Literal["snapshot", "message", "anomaly"]


def encode(document: Any) -> bytes:
    """JSON; names that are not UTF-8 go as surrogate escapes, which orjson refuses to write."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def joined(rows: Sequence[Any]) -> bytes:
    """Encoded row objects with commas between them, without brackets."""
    return encode(rows)[1:-1]


def event(event_type: Literal["update", "delete"], index: int, rows: bytes) -> bytes:
    """One event: `index` is its time in milliseconds since the epoch, `rows` are encoded and joined."""
    return b'{"event_type":"%b","index":%d,"rows":[%b]}' % (event_type.encode(), index, rows)


def push_body(
    session_id: str, source_type: SourceType, events: Iterable[bytes], *, is_snapshot_end: bool = False
) -> bytes:
    """The body of one push of encoded events."""
    return b'{"session_id":%b,"source_type":"%b","is_snapshot_end":%b,"events":[%b]}' % (
        encode(session_id),
        source_type.encode(),
        b"true" if is_snapshot_end else b"false",
        b",".join(events),
    )
