"""Packed batches: what was packed is unpacked to the bit, and only what the decoder could have made."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from bodies import body, deletes, directory, file, upserts
from hypothesis import given
from hypothesis import strategies as st
from test_scanner import decoded, rows_of, usual_bodies

from fusion import Batch, PathIndex
from fusion.errors import DamagedBatch, FusionError

MAX_PATH = 65_535
ANOMALY = b'{"session_id":"s","source_type":"anomaly","is_snapshot_end":true}'


def repacked(batch: Batch) -> Batch:
    """The batch unpacked, after holding it against the one that was packed."""
    packed = batch.pack()
    unpacked = Batch.unpack(packed)
    assert decoded(unpacked) == decoded(batch)
    assert unpacked.n_rows == batch.n_rows
    assert unpacked.nbytes == len(packed)
    assert unpacked.pack() == packed
    return unpacked


def column_bytes(index: PathIndex) -> dict[str, bytes]:
    return {name: column.tobytes() for name, column in index.columns().items()}


@given(usual_bodies(), usual_bodies())
def test_what_was_packed_is_unpacked_and_does_the_same(first: bytes, second: bytes) -> None:
    applied, replayed = PathIndex(seed=1), PathIndex(seed=1)
    for pushed in (first, second):
        try:
            batch = Batch.decode(pushed)
        except FusionError:
            continue
        unpacked = repacked(batch)
        assert replayed.apply(unpacked, now=5.0) == applied.apply(batch, now=5.0)
    assert replayed.tree_json() == applied.tree_json()
    assert column_bytes(replayed) == column_bytes(applied)
    replayed._check()


@given(usual_bodies())
def test_the_bytes_do_not_tell_who_decoded_or_applied_it(pushed: bytes) -> None:
    scanned = Batch.scan(pushed)
    if scanned is None:
        return
    packed = scanned.pack()
    assert Batch.parse(pushed).pack() == packed
    assert scanned.pack() is packed
    applied = Batch.scan(pushed)
    assert applied is not None
    PathIndex(seed=3).apply(applied)
    assert applied.pack() == packed


SPECIAL_TIMES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e308, -1e308, 1.0, 1705832400.25, -1.5]


def special_rows() -> Iterator[dict[str, Any]]:
    for number, mtime in enumerate(SPECIAL_TIMES):
        for ctime in SPECIAL_TIMES:
            yield file(f"/t{number % 3}/{mtime}/{ctime}", mtime) | {"created_time": ctime}


LONG = "x" * (MAX_PATH - 3)
BODIES = {
    "nothing": body("message"),
    "an end": body("snapshot", end=True),
    "an anomaly": ANOMALY,
    "events without rows": body(
        "message", upserts(), {"index": 7}, deletes(index=-(2**63)), {"index": 2**63 - 1}
    ),
    "indexes that wrap": body("message", *({"index": n} for n in (2**63 - 1, -(2**63), 0, -1, 1, -(2**63)))),
    "times": body("message", upserts(*special_rows())),
    "sizes": body(
        "message", upserts(*(file(f"/{n}", 0, n) for b in range(64) for n in ((1 << b) - 1, (1 << b) // 2)))
    ),
    "the root": body(
        "message", upserts(directory("/", 1.0)), deletes("/"), upserts(directory("/"), file("/a"))
    ),
    "longest paths": body(
        "message", upserts(file(f"/{LONG}1"), file(f"/{LONG}2"), file(f"/{LONG[:-1]}/2"), file("/2"))
    ),
    "one path again and again": body("snapshot", upserts(*[file("/a/b", 1.0)] * 9), deletes(*["/a/b"] * 9)),
    "prefixes of each other": body(
        "message", upserts(*(file("/" + "ab" * (n % 20 + 1)) for n in range(0, 400, 7)))
    ),
    "no UTF-8": body(
        "message", upserts(file("/\udcff\udcfe/ä"), file("/\udcff\udcfd/\ufffd")), deletes("/\udc80")
    ),
    "mixed": body(
        "message", *(e for n in range(99) for e in (upserts(file(f"/{n}", n)), deletes(f"/{n - 1}", index=n)))
    ),
    "deletes that say more": body(
        "message", {"event_type": "delete", "rows": [file("/a", 5.0, 9), directory("/b", 2.0)]}
    ),
    "an id of many letters": json.dumps(
        {"session_id": "ä\0" * 999, "source_type": "message", "events": []}
    ).encode(),
    "no id": json.dumps({"session_id": "", "source_type": "snapshot", "events": [{}]}).encode(),
}


@pytest.mark.parametrize("pushed", BODIES.values(), ids=BODIES)
def test_every_shape_survives(pushed: bytes) -> None:
    for batch in (Batch.parse(pushed), Batch.decode(pushed)):
        assert decoded(repacked(batch)) == decoded(Batch.parse(pushed))


def test_rows_take_few_bytes() -> None:
    """Rows as a scan sends them: 190 bytes of JSON each."""
    rows = [
        file(f"/data/upload/submit/1/e/1e2feb89-414c-343c-1027/sub_0/data_{n:04}.dat", 1.7e9 + n / 8, n)
        for n in range(1000)
    ]
    pushed = body("snapshot", upserts(*rows))
    assert len(Batch.decode(pushed).pack()) < len(pushed) / 8


# Damage


def damaged(packed: bytes, chance: random.Random) -> Iterator[bytes]:
    for cut in range(min(len(packed), 300)):
        yield packed[:cut]
        yield packed[: len(packed) - 1 - cut]
    for _ in range(600):
        at = chance.randrange(len(packed))
        some = chance.choice(
            [chance.randbytes(chance.randrange(1, 12)), b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\0"]
        )
        yield packed[:at] + bytes([packed[at] ^ 1 << chance.randrange(8)]) + packed[at + 1 :]
        yield packed[:at] + bytes([chance.choice([0, 1, 0x7F, 0x80, 0xFF])]) + packed[at + 1 :]
        yield packed[:at] + some + packed[at:]
        yield packed[:at] + some + packed[at + len(some) :]
        yield packed[:at] + packed[at + chance.randrange(1, 6) :]
    yield packed + b"\0"
    yield packed + packed


def as_push(batch: Batch) -> bytes:
    """A push of the batch's rows, each an event of its own."""
    events = []
    for is_delete, index, path, size, mtime, ctime, is_dir in batch.to_list():
        row: dict[str, Any] = {"path": path.decode("utf-8", "surrogateescape")}
        if not is_delete:
            row |= {"size": size, "modified_time": mtime, "created_time": ctime, "is_dir": is_dir}
        events.append({"event_type": "delete" if is_delete else "insert", "index": index, "rows": [row]})
    push = {"session_id": batch.session_id, "source_type": batch.source_type, "events": events}
    return json.dumps(push | {"is_snapshot_end": batch.is_snapshot_end}).encode()


def must_be_valid(batch: Batch) -> None:
    """The complete decoder makes the same of its rows: what it promises and the engine relies on holds."""
    made = Batch.parse(as_push(batch))
    assert rows_of(made) == rows_of(batch)
    assert (made.session_id, made.source_type) == (batch.session_id, batch.source_type)
    assert made.is_snapshot_end == batch.is_snapshot_end
    index = PathIndex(seed=1)
    index.apply(batch)
    index._check()


@pytest.mark.parametrize("pushed", BODIES.values(), ids=BODIES)
def test_damage_is_refused_or_makes_another_valid_batch(pushed: bytes) -> None:
    packed = Batch.decode(pushed).pack()
    chance = random.Random(len(packed))
    survived = 0
    for changed in damaged(packed, chance):
        try:
            batch = Batch.unpack(changed)
        except DamagedBatch:
            continue
        survived += 1
        if survived < 400:
            must_be_valid(batch)
            repacked(batch)


@pytest.mark.parametrize("pushed", BODIES.values(), ids=BODIES)
def test_what_is_cut_short_is_refused(pushed: bytes) -> None:
    packed = Batch.decode(pushed).pack()
    for cut in range(len(packed)) if len(packed) < 3000 else range(0, len(packed), 37):
        with pytest.raises(DamagedBatch, match="no packed batch, or are damaged"):
            Batch.unpack(packed[:cut])
    with pytest.raises(DamagedBatch):
        Batch.unpack(packed + b"\0")


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def made(
    rows: list[bytes],
    names: bytes,
    *,
    events: list[bytes] | None = None,
    front: bytes = b"\x01\x01\x01s",
    n_rows: int | None = None,
) -> bytes:
    """A packed message written by hand; rows are heads."""
    heads = b"".join(rows)
    n_rows = len(rows) if n_rows is None else n_rows
    events = [number(n_rows << 1) + b"\x01"] if events is None else events
    return (
        front + number(len(heads)) + number(n_rows) + number(len(events)) + b"".join(events) + heads + names
    )


def row(shared: int, added: int, size: bytes = b"\x05", *, head: int = 0, mtime: bytes = b"\0") -> bytes:
    return bytes([head]) + number(shared) + number(added) + size + mtime


INFINITY = (0x7FF << 52).to_bytes(8, "little")
SMALLEST_NAN = (0x7FF << 52 | 1).to_bytes(8, "little")


def test_a_batch_made_by_hand() -> None:
    batch = Batch.unpack(made([row(0, 2), row(1, 1, b"\x87\x01")], b"/ab"))
    assert batch.to_list() == [
        (False, -1, b"/a", 5, 0.0, 0.0, False),
        (False, -1, b"/b", 135, 0.0, 0.0, False),
    ]
    assert (batch.session_id, batch.source_type, batch.is_snapshot_end) == ("s", "message", False)


REFUSED = {
    "another version": made([row(0, 2)], b"/a", front=b"\x02\x01\x01s"),
    "an unknown source": made([row(0, 2)], b"/a", front=b"\x01\x03\x01s"),
    "an unknown flag": made([row(0, 2)], b"/a", front=b"\x01\x09\x01s"),
    "an anomaly with an event": made([], b"", front=b"\x01\x02\x01s"),
    "an id that is no UTF-8": made([row(0, 2)], b"/a", front=b"\x01\x01\x01\xff"),
    "an id of 2**60 bytes": b"\x01\x01" + number(2**60) + b"s",
    "an id of 2**64 - 1 bytes": b"\x01\x01" + number(2**64 - 1) + b"s",
    "2**60 rows": made([row(0, 2)], b"/a", n_rows=2**60, events=[number(2**61) + b"\x01"]),
    "2**60 rows of an event": made([row(0, 2)], b"/a", events=[number(2**61) + b"\x01"]),
    "2**63 rows of an event": made([row(0, 2)], b"/a", events=[number(2**64 - 1) + b"\x01"]),
    "2**60 events": b"\x01\x01\x01s\x00\x00" + number(2**60) + b"\0" * 99,
    "heads of 2**60 bytes": b"\x01\x01\x01s" + number(2**60) + b"\x00\x00",
    "fewer rows than heads": made([row(0, 2), row(0, 2)], b"/a/b", n_rows=1),
    "more rows than heads": made([row(0, 2)], b"/a", n_rows=2),
    "heads left over": made([row(0, 2), b"\0\0"], b"/a", n_rows=1),
    "rows of no event": made([row(0, 2)], b"/a", events=[]),
    "fewer rows in events": made([row(0, 2), row(0, 2)], b"/a/b", events=[b"\x02\x01"]),
    "more rows than events have": made([row(0, 2)], b"/a", n_rows=2, events=[b"\x02\x01"]),
    "names left over": made([row(0, 2)], b"/ab"),
    "names missing": made([row(0, 3)], b"/a"),
    "an empty path": made([row(0, 0)], b""),
    "alike nothing": made([b"\x02\x05\x00"], b""),
    "shares with nothing": made([row(1, 1)], b"a"),
    "shares more than there is": made([row(0, 2), row(3, 1)], b"/ab"),
    "a path too long": made([row(0, 2), row(2, MAX_PATH - 1)], b"/a" + b"x" * (MAX_PATH - 1)),
    "a length of 2**64 - 1": made([row(0, 2**64 - 1)], b"/a"),
    "lengths that wrap": made([row(0, 2), row(2, 2**64 - 1)], b"/"),
    "not absolute": made([row(0, 2)], b"ab"),
    "a slash at the end": made([row(0, 3)], b"/a/"),
    "two slashes": made([row(0, 4)], b"/a//"),
    "a dot": made([row(0, 4)], b"/a/."),
    "dots across the join": made([row(0, 4), row(3, 2)], b"/a/b.."),
    "a NUL": made([row(0, 3)], b"/a\0"),
    "the root as a file": made([row(0, 1)], b"/"),
    "a size of 2**63": made([row(0, 2, number(2**63))], b"/a"),
    "a size that never ends": made([row(0, 2, b"\x80" * 30)], b"/a"),
    "a size of 65 bits": made([row(0, 2, b"\x80" * 9 + b"\x02")], b"/a"),
    "an infinite time": made([row(0, 2, head=7 << 2, mtime=INFINITY)], b"/a"),
    "no time": made([row(0, 2, head=7 << 2, mtime=SMALLEST_NAN)], b"/a"),
    "an infinite modified time alone": made(
        [row(0, 2, head=7 << 2 | 1 << 5, mtime=INFINITY + b"\0\0")], b"/a"
    ),
    "an infinite created time": made([row(0, 2, head=7 << 5, mtime=b"\0" + INFINITY)], b"/a"),
    "a head without its end": made([row(0, 2, head=7 << 2)], b"/a"),
}


@pytest.mark.parametrize("packed", REFUSED.values(), ids=REFUSED)
def test_what_was_never_packed_is_refused(packed: bytes) -> None:
    with pytest.raises(DamagedBatch):
        Batch.unpack(packed)


def test_paths_that_expand_beyond_bounds_are_refused() -> None:
    """Front coding makes 65,535 bytes of four."""
    long = b"/" + b"x" * (MAX_PATH - 1)
    many = [row(MAX_PATH, 0)] * 16_400
    with pytest.raises(DamagedBatch):
        Batch.unpack(made([row(0, MAX_PATH), *many], long))
    assert Batch.unpack(made([row(0, MAX_PATH), *many[:9]], long)).n_rows == 10


def test_only_bytes_are_unpacked() -> None:
    for wrong in (None, "s", bytearray(b"\x01")):
        with pytest.raises(TypeError):
            Batch.unpack(wrong)  # type: ignore[arg-type]


@given(st.binary(max_size=200).map(lambda rest: b"\x01" + rest))
def test_any_bytes(packed: bytes) -> None:
    try:
        batch = Batch.unpack(packed)
    except DamagedBatch:
        return
    must_be_valid(batch)
