"""Each scanner of the name search, over a blob of records built by hand."""

import struct

import pytest
import search_oracle
from hypothesis import given
from hypothesis import strategies as st
from test_search import PATTERNS, WORDS

from fusion._index import _search_blob

pytestmark = pytest.mark.usefixtures("simd_level")

DEAD = NO_SYNC = 0xFFFFFFFF
SYNC_BITS = 16

Record = tuple[bytes, bool]  # name, and whether it is alive
RECORDS = st.lists(st.tuples(st.one_of(st.just(b""), WORDS), st.booleans()), max_size=40)


def build(records: list[Record]) -> tuple[bytes, bytes]:
    """The blob, owners counted from 0, and the offset of the first record of each 64 KiB block."""
    blob = bytearray()
    starts = []
    for owner, (name, alive) in enumerate(records):
        starts.append(len(blob))
        blob += struct.pack("<IH", owner if alive else DEAD, len(name)) + name
    sync = [NO_SYNC] * ((len(blob) >> SYNC_BITS) + 1)
    for start in reversed(starts):
        sync[start >> SYNC_BITS] = start
    return bytes(blob), struct.pack(f"={len(sync)}I", *sync)


def expected(records: list[Record], pattern: str | bytes) -> list[int]:
    matches = search_oracle.matcher(pattern)
    return [owner for owner, (name, alive) in enumerate(records) if alive and matches(name)]


@given(records=RECORDS, patterns=st.lists(PATTERNS, min_size=1, max_size=4))
def test_random_records(records: list[Record], patterns: list[bytes]) -> None:
    blob, sync = build(records)
    for pattern in patterns:
        owners = expected(records, pattern)
        assert _search_blob(blob, sync, pattern) == owners
        assert _search_blob(blob, None, pattern) == owners


@pytest.mark.parametrize("needle", ["x", "xy", "k", "wxyz", "\u212ay", "0" * 40 + "1", "x" * 90])
def test_every_distance_from_the_start_and_the_end(needle: str) -> None:
    for before in range(0, 140, 3):
        for after in (0, 1, 2, 6, 7, 8, 15, 16, 31, 32, 63, 64, 65):
            records = [(b"-" * before + needle.encode() + b"-" * after, True)]
            blob, sync = build(records)
            assert _search_blob(blob, sync, needle) == [0]
            assert _search_blob(blob, sync, needle + "!") == []


def test_headers_are_not_names() -> None:
    # Owner 0x61626364 is "dcba", a length of 0x6161 is "aa".
    blob = struct.pack("<IH", 0x61626364, 3) + b"xyz" + struct.pack("<IH", 1, 0x6161) + b"-" * 0x6161
    for pattern in ("dcba", "d", "a", "aa", "cb*", "*ba?", "zdc", "z[d]"):
        assert _search_blob(blob, None, pattern) == []
    assert _search_blob(blob, None, "xyz") == [0x61626364]


def test_a_name_does_not_go_on_in_the_next_record() -> None:
    blob = struct.pack("<IH", 0, 2) + b"ab" + struct.pack("<IH", 0x64636261, 4) + b"efgh"
    assert _search_blob(blob, None, "ababcd") == []
    assert _search_blob(blob, None, b"ababcd\x04\x00ef") == []


def test_blocks_without_a_record_start() -> None:
    long = b"-" * 65_535
    records = [(long, True), (long, True), (b"needle", True), (long, False), (long[:-6] + b"needle", True)]
    blob, sync = build(records)
    assert NO_SYNC in struct.unpack(f"={len(sync) // 4}I", sync)
    assert _search_blob(blob, sync, "NEEDLE") == [2, 4]
    assert _search_blob(blob, sync, "-needle") == [4]


def test_an_empty_blob() -> None:
    for pattern in ("a", "*", "k", "?"):
        assert _search_blob(b"", None, pattern) == []
