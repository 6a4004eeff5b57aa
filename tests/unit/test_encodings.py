"""Content codings: which one is meant, what comes out, and what is refused before it costs much."""

from __future__ import annotations

import gzip
import json
import random
import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.api.encodings import (
    FREE_BYTES,
    GZIP,
    MAX_MEMBERS,
    MAX_RATIO,
    ZSTD,
    Coding,
    content_coding,
    decoded,
)
from fusion.errors import (
    BodyTooLarge,
    CompressionTooHigh,
    FusionError,
    MalformedEncoding,
    UnsupportedEncoding,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 16 * 1024 * 1024
SKIPPABLE = bytes.fromhex("502a4d18")
CHECKED = {zstd.CompressionParameter.checksum_flag: 1}

codings = pytest.mark.parametrize("coding", [GZIP, ZSTD], ids=["gzip", "zstd"])


def compress(coding: Coding, data: bytes, level: int = 6) -> bytes:
    if coding is GZIP:
        return gzip.compress(data, level, mtime=0)
    return zstd.compress(data, level)


def skippable(data: bytes) -> bytes:
    return SKIPPABLE + len(data).to_bytes(4, "little") + data


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# Names


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        ([], None),
        ([""], None),
        ([" "], None),
        ([","], None),
        (["identity"], None),
        (["Identity"], None),
        (["gzip"], GZIP),
        (["GZip"], GZIP),
        ([" gzip\t"], GZIP),
        ([", gzip ,"], GZIP),
        (["", "gzip"], GZIP),
        (["x-gzip"], GZIP),
        (["X-GZIP"], GZIP),
        (["zstd"], ZSTD),
        (["ZSTD"], ZSTD),
    ],
)
def test_the_coding_a_header_names(fields: list[str], coding: Coding | None) -> None:
    assert content_coding(fields) is coding


@pytest.mark.parametrize(
    "fields",
    [
        ["br"],
        ["deflate"],
        ["compress"],
        ["x-zstd"],
        ["*"],
        ["gzip;q=1"],
        ["gzip gzip"],
        ["gzip, gzip"],
        ["gzip", "zstd"],
        ["identity, gzip"],
        ["gzip, identity"],
        ["\udcff"],
        ["\u00a0gzip"],
    ],
)
def test_any_other_coding_and_any_list_is_refused(fields: list[str]) -> None:
    with pytest.raises(UnsupportedEncoding) as refusal:
        content_coding(fields)
    assert refusal.value.headers == {"accept-encoding": "gzip, zstd"}


# What comes out


@codings
@given(parts=st.lists(st.binary(max_size=3_000), min_size=1, max_size=6), level=st.integers(1, 9))
def test_members_come_out_as_they_went_in(coding: Coding, parts: list[bytes], level: int) -> None:
    body = b"".join(compress(coding, part, level) for part in parts)
    assert decoded(body, coding, LIMIT) == b"".join(parts)


@codings
@pytest.mark.parametrize("size", [1, 1_023, 1_024, 1_025, 3_072, 100_000, 1_000_003])
def test_members_of_any_size_end_anywhere(coding: Coding, size: int) -> None:
    """Around the borders of what is fed at once, and with little or much behind it."""
    data = noise(size)
    for behind in (b"", b"x", noise(5_000)):
        body = compress(coding, data) + compress(coding, behind) + compress(coding, data)
        assert decoded(body, coding, LIMIT) == data + behind + data


@given(parts=st.lists(st.tuples(st.binary(max_size=50), st.booleans()), min_size=1, max_size=20))
def test_skippable_frames_are_skipped(parts: list[tuple[bytes, bool]]) -> None:
    body = b"".join(zstd.compress(part) if kept else skippable(part) for part, kept in parts)
    assert decoded(body, ZSTD, LIMIT) == b"".join(part for part, kept in parts if kept)


def test_gzip_with_all_its_optional_fields_is_read() -> None:
    deflated = gzip.compress(b"data", mtime=0)[10:]
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x03\x00abc" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    assert decoded(head + deflated, GZIP, LIMIT) == b"data"
    with pytest.raises(MalformedEncoding):
        decoded(head.replace(b"name", b"nome") + deflated, GZIP, LIMIT)


def test_zstd_of_unknown_size_and_in_several_blocks_is_read() -> None:
    compressor = zstd.ZstdCompressor()
    parts = [noise(1_000), noise(200_000), b"", noise(7)]
    body = b"".join(compressor.compress(part, zstd.ZstdCompressor.FLUSH_BLOCK) for part in parts)
    assert decoded(body + compressor.flush(), ZSTD, LIMIT) == b"".join(parts)


# Damage

DOCUMENT = json.dumps(
    {"session_id": "x" * 36, "events": [{"rows": [{"path": f"/{number}"} for number in range(20)]}]}
).encode()


@codings
def test_a_body_cut_anywhere_is_refused(coding: Coding) -> None:
    body = compress(coding, DOCUMENT)
    for end in range(len(body)):
        with pytest.raises(MalformedEncoding):
            decoded(body[:end], coding, LIMIT)


@codings
def test_a_last_member_cut_anywhere_is_refused(coding: Coding) -> None:
    first, body = compress(coding, noise(3_000)), compress(coding, DOCUMENT)
    for end in range(1, len(body)):
        with pytest.raises(MalformedEncoding):
            decoded(first + body[:end], coding, LIMIT)


@codings
@pytest.mark.parametrize("garbage", [b"\0", b"{}", b"\x1f", b"\x1f\x8b", bytes(4096), noise(70_000)])
def test_anything_behind_the_last_member_is_refused(coding: Coding, garbage: bytes) -> None:
    with pytest.raises(MalformedEncoding):
        decoded(compress(coding, DOCUMENT) + garbage, coding, LIMIT)


@codings
@pytest.mark.parametrize("body", [b"", b"{}", DOCUMENT, bytes(100)])
def test_what_is_not_compressed_at_all_is_refused(coding: Coding, body: bytes) -> None:
    with pytest.raises(MalformedEncoding):
        decoded(body, coding, LIMIT)


def test_one_coding_is_not_taken_for_the_other() -> None:
    with pytest.raises(MalformedEncoding):
        decoded(compress(GZIP, DOCUMENT), ZSTD, LIMIT)
    with pytest.raises(MalformedEncoding):
        decoded(compress(ZSTD, DOCUMENT), GZIP, LIMIT)
    with pytest.raises(MalformedEncoding):
        decoded(zlib.compress(DOCUMENT), GZIP, LIMIT)


@codings
def test_a_flipped_bit_is_refused_or_without_effect(coding: Coding) -> None:
    body = compress(GZIP, DOCUMENT) if coding is GZIP else zstd.compress(DOCUMENT, options=CHECKED)
    refused = 0
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert decoded(bytes(damaged), coding, LIMIT) == DOCUMENT
        except FusionError as error:
            assert error.status in (400, 413)
            refused += 1
    assert refused > len(body) * 7


@given(st.binary(max_size=300))
def test_bytes_behind_a_magic_number_are_refused_or_decoded(tail: bytes) -> None:
    for magic, coding in ((b"\x1f\x8b\x08", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD), (SKIPPABLE, ZSTD)):
        try:
            assert len(decoded(magic + tail, coding, LIMIT)) <= FREE_BYTES
        except FusionError as error:
            assert error.status in (400, 413)


def test_a_dictionary_that_nobody_has_is_refused() -> None:
    rows = [b'{"path":"/data/%d","size":%d}' % (number, number * number) for number in range(2_000)]
    body = zstd.compress(DOCUMENT, zstd_dict=zstd.train_dict(rows, 4_096))
    assert zstd.get_frame_info(body).dictionary_id
    with pytest.raises(MalformedEncoding) as refusal:
        decoded(body, ZSTD, LIMIT)
    assert "dictionary" in refusal.value.detail


@pytest.mark.parametrize("first_byte", range(0x1E, 0x28))
def test_formats_older_than_zstd_are_no_frames(first_byte: int) -> None:
    with pytest.raises(MalformedEncoding) as refusal:
        decoded(bytes([first_byte]) + b"\xb5\x2f\xfd" + bytes(100), ZSTD, LIMIT)
    assert refusal.value.detail.endswith("no frame begins here")


# Bounds


@codings
def test_as_much_as_the_limit_comes_out_and_no_more(coding: Coding) -> None:
    data = noise(200_000)
    body = compress(coding, data[:123_456]) + compress(coding, data[123_456:])
    assert decoded(body, coding, len(data)) == data
    with pytest.raises(BodyTooLarge) as refusal:
        decoded(body, coding, len(data) - 1)
    assert refusal.value.limit == len(data) - 1


@codings
def test_a_little_may_come_out_at_any_ratio(coding: Coding) -> None:
    """Gzip does not reach the bound with it, zstd does."""
    assert decoded(compress(coding, bytes(FREE_BYTES)), coding, LIMIT) == bytes(FREE_BYTES)


def test_the_ratio_is_bounded_beyond_that() -> None:
    body = compress(ZSTD, bytes(FREE_BYTES + 1))
    assert len(body) * MAX_RATIO < FREE_BYTES
    with pytest.raises(CompressionTooHigh) as refusal:
        decoded(body, ZSTD, LIMIT)
    assert refusal.value.extra == {"ratio": MAX_RATIO}


def test_the_ratio_is_that_of_the_whole_body() -> None:
    packed, plain = compress(ZSTD, bytes(1_000_000)), noise(1_000)
    filler = compress(ZSTD, plain)
    assert len(packed) < 1_000
    with pytest.raises(CompressionTooHigh):
        decoded(packed, ZSTD, LIMIT)
    assert decoded(packed + filler, ZSTD, LIMIT) == bytes(1_000_000) + plain
    assert decoded(filler + packed, ZSTD, LIMIT) == plain + bytes(1_000_000)


@pytest.mark.parametrize("path_bytes", [20, 100, 250, 1_000, 1_500])
@codings
def test_no_real_batch_is_compressed_too_much(coding: Coding, path_bytes: int) -> None:
    """1000 rows that differ by a number alone, as well as they can be compressed."""
    directory = ("/directory" * (path_bytes // 10))[: path_bytes - 6]
    row = {"size": 0, "modified_time": 1705832400.0, "created_time": 1705832400.0, "is_dir": False}
    rows = [{"file_path": f"{directory}/f{number:04d}", **row} for number in range(1_000)]
    data = json.dumps({"session_id": "x" * 36, "events": [{"rows": rows}]}).encode()
    assert decoded(compress(coding, data, 9 if coding is GZIP else 19), coding, LIMIT) == data


def without_size(data: bytes) -> bytes:
    """A frame that does not say how large its content is."""
    compressor = zstd.ZstdCompressor()
    return compressor.compress(data) + compressor.flush()


MILLION, FIFTY_MILLION = bytes(1_000_000), bytes(50_000_000)
BOMBS = {
    "gzip": (GZIP, compress(GZIP, FIFTY_MILLION, 9)),
    "gzip members": (GZIP, compress(GZIP, MILLION) * 50),
    "zstd": (ZSTD, compress(ZSTD, FIFTY_MILLION)),
    "zstd without its size": (ZSTD, without_size(FIFTY_MILLION)),
    "zstd frames": (ZSTD, compress(ZSTD, MILLION) * 50),
    "frames among skippable ones": (ZSTD, (skippable(bytes(100)) + compress(ZSTD, MILLION)) * 50),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("limit", [1_000_000, LIMIT])
def test_bombs_are_refused_in_little_memory(name: str, limit: int) -> None:
    coding, body = BOMBS[name]
    tracemalloc.start()
    try:
        with pytest.raises((BodyTooLarge, CompressionTooHigh)):
            decoded(body, coding, limit)
        assert tracemalloc.get_traced_memory()[1] < 4 * limit
    finally:
        tracemalloc.stop()


def frame_of_window(log: int) -> bytes:
    """An empty frame without a size that asks for a window of 2**log bytes."""
    return bytes.fromhex("28b52ffd") + bytes([0, (log - 10) << 3, 1, 0, 0])


def test_windows_end_at_8_mib() -> None:
    assert decoded(frame_of_window(23), ZSTD, LIMIT) == b""
    for log in (24, 27, 31, 41):
        with pytest.raises(MalformedEncoding) as refusal:
            decoded(frame_of_window(log), ZSTD, LIMIT)
        assert "window of at most 8 MiB" in refusal.value.detail


@pytest.mark.parametrize(
    ("coding", "member"),
    [(GZIP, gzip.compress(b"")), (ZSTD, zstd.compress(b"")), (ZSTD, skippable(b""))],
    ids=["gzip", "zstd", "skippable"],
)
def test_thousands_of_empty_members_are_taken_but_not_any_number(coding: Coding, member: bytes) -> None:
    last = compress(coding, DOCUMENT)
    assert decoded(member * (MAX_MEMBERS - 1) + last, coding, LIMIT) == DOCUMENT
    with pytest.raises(MalformedEncoding) as refusal:
        decoded(member * MAX_MEMBERS + last, coding, LIMIT)
    assert str(MAX_MEMBERS) in refusal.value.detail


@codings
def test_what_lies_behind_a_member_is_not_copied_over_and_over(coding: Coding) -> None:
    """Work is counted, not timed: calls of the decompressors and bytes fed to them, all members together."""
    calls = fed = 0

    class Counting:
        def __init__(self, member: object) -> None:
            self.member = member

        def __getattr__(self, name: str) -> object:
            return getattr(self.member, name)

        def decompress(self, data: memoryview, max_length: int) -> bytes:
            nonlocal calls, fed
            calls += 1
            fed += len(data)
            return self.member.decompress(data, max_length)  # type: ignore[attr-defined]

    counting = coding._replace(open_member=lambda body, start: Counting(coding.open_member(body, start)))
    members = [compress(coding, noise(size)) for size in (0, 1, 500, 5_000, 50_000) * 100]
    body = b"".join(members)
    decoded(body, counting, LIMIT)
    assert fed <= 2 * len(body) + 1024 * len(members)
    assert calls <= (1 + 1 + 1 + 3 + 6) * 100
