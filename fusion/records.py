"""The records of a datastore's log, and their bytes.

Every change is a record; a record holds all that a replay needs. As bytes it is its kind (one byte), its time
(a little-endian double) and the rest: a push's packed batch, or a JSON object.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from fusion._index import Batch
from fusion.errors import DamagedRecord


@dataclass(frozen=True, slots=True)
class OpenSession:
    session_id: str
    task_id: str
    client_ip: str
    timeout_seconds: int
    at: float  # arrival, epoch seconds; the same in every record


@dataclass(frozen=True, slots=True)
class EndSession:
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class ExpireSession:
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Push:
    batch: Batch
    at: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    session_id: str
    reason: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Reset:
    at: float


Record = OpenSession | EndSession | ExpireSession | Push | Anomaly | Reset

_HEAD = struct.Struct("<cd")
_KINDS: dict[bytes, type[Any]] = {
    b"O": OpenSession,
    b"E": EndSession,
    b"X": ExpireSession,
    b"P": Push,
    b"A": Anomaly,
    b"R": Reset,
}
_BYTE_OF = {kind: byte for byte, kind in _KINDS.items()}


def encode(record: Record) -> bytes:
    head = _HEAD.pack(_BYTE_OF[type(record)], record.at)
    if isinstance(record, Push):
        return head + record.batch.pack()
    fields = {name: getattr(record, name) for name in record.__slots__ if name != "at"}
    return head + orjson.dumps(fields)


def decode(data: bytes) -> Record:
    """The record again. Raises DamagedRecord."""
    try:
        byte, at = _HEAD.unpack_from(data)
        kind = _KINDS[byte]
        rest = data[_HEAD.size :]
        record: Record = kind(Batch.unpack(rest), at) if kind is Push else kind(at=at, **orjson.loads(rest))
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise DamagedRecord(f"it is no record of this version ({error})") from None
    return record
