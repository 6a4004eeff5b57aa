"""Coverage-guided fuzzing of Batch.unpack against the complete decoder; see README.md.

What is unpacked is written as a push: Batch.parse has to take it and to read the same, to the bit, or it is
a batch that cannot have been packed. Packed again it is read the same, at every level of vector instructions.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import atheris

from fusion._index import Batch, PathIndex, _simd
from fusion.errors import DamagedBatch, FusionError

LEVELS = _simd()[1]

NUMBERS = [0, 1, 2, 3, 127, 128, 16_384, 65_534, 65_535, 65_536, 2**30, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
BYTES = [
    b"\x80" * 9 + b"\x01",
    b"\x80" * 9 + b"\x02",
    b"\xff" * 11,
    b"\x80\0",
    b"/",
    b"//",
    b"/..",
    b"/.",
    b"a",
    b"\0",
]
NOT_FINITE = [
    (0x7FF << 52).to_bytes(8, "little"),
    (0x7FF << 52 | 1).to_bytes(8, "little"),
    b"\0" * 7 + b"\x80",
]

# What was unpacked, to start from: first of all the bodies that the scanner starts from.
taken: list[bytes] = []
MOST_TAKEN = 4096


def packed_bodies() -> list[bytes]:
    packed = []
    for body in sorted((Path(__file__).parent / "corpus").iterdir()):
        try:
            packed.append(Batch.decode(body.read_bytes()).pack())
        except FusionError:
            continue
    return packed


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def mutate(packed: bytes, max_size: int, seed: int) -> bytes:
    """The bytes changed as libFuzzer does it, or some of those taken, changed by parts of the format."""
    if seed % 4:
        return bytes(atheris.Mutate(packed, max_size))
    source = random.Random(seed)
    packed = source.choice(taken)
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(packed) + 1)
        some = source.choice(
            [*BYTES, *NOT_FINITE, number(source.choice(NUMBERS)), bytes([source.randrange(256)])]
        )
        other = source.choice(taken)
        start = source.randrange(len(other) + 1)
        some = source.choice([b"", some, some, some, other[start : start + source.randrange(20)]])
        packed = packed[:at] + some + packed[at + source.choice([0, 1, len(some), source.randrange(6)]) :]
    return packed[:max_size]


def read(batch: Batch) -> tuple[Any, ...]:
    """All that a batch holds but events without rows. Of a float repr() says everything, of zero the sign."""
    return batch.session_id, batch.source_type, batch.is_snapshot_end, repr(batch.to_list())


def pushed(batch: Batch) -> bytes:
    """The push of the same rows, each an event of its own."""
    events = []
    for is_delete, index, path, size, modified_time, created_time, is_dir in batch.to_list():
        row = {"path": path.decode("utf-8", "surrogateescape")}
        if not is_delete:
            row |= {
                "size": size,
                "modified_time": modified_time,
                "created_time": created_time,
                "is_dir": is_dir,
            }
        events.append({"event_type": "delete" if is_delete else "update", "index": index, "rows": [row]})
    push = {"session_id": batch.session_id, "source_type": batch.source_type, "events": events}
    return json.dumps(push | {"is_snapshot_end": batch.is_snapshot_end}).encode()


def unpack(packed: bytes, level: str) -> Batch | None:
    _simd(level)
    try:
        return Batch.unpack(packed)
    except DamagedBatch:
        return None


def check(packed: bytes) -> None:
    batch, *others = (unpack(packed, level) for level in LEVELS)
    if batch is None:
        assert not any(others), "levels disagree"
        return
    unpacked, again = read(batch), batch.pack()
    for level, other in zip(LEVELS[1:], others, strict=True):
        assert other is not None and read(other) == unpacked and other.pack() == again, f"{level} disagrees"
    if len(taken) < MOST_TAKEN:
        taken.append(packed)
    else:
        taken[random.randrange(MOST_TAKEN)] = packed
    try:
        parsed = Batch.parse(pushed(batch))
    except FusionError as error:
        raise AssertionError(f"unpacked what is refused: {error}") from error
    assert read(parsed) == unpacked, "read differently"
    repacked = Batch.unpack(again)
    assert read(repacked) == unpacked and repacked.pack() == again, "packed differently"
    index = PathIndex(seed=1)
    index.apply(repacked, now=1.0)
    index._check()


if __name__ == "__main__":
    taken += packed_bodies()
    atheris.Setup(sys.argv, check, custom_mutator=mutate)
    atheris.Fuzz()
