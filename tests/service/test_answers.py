"""Content codings and entity tags of answers, by themselves."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.api.compression import CODINGS, accepted_coding, zstd
from fusion.api.conditions import entity_tag, known_tag

DECODERS = {"gzip": lambda body: zlib.decompress(body, wbits=31), "zstd": zstd.decompress}


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.9, zstd;q=0.8", "gzip"),
        ("gzip;q=0.8,zstd;q=0.8", "zstd"),
        ("gzip;q=0, zstd;q=0.000", None),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("*;q=0", None),
        ("br", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.4", "gzip"),
        ("gzip;q=much", None),
        ("gzip;q=2", None),
        ("gzip;q=nan", None),
        ("gzip ; q=1", "gzip"),
        ("gzip;level=9", "gzip"),
        (",,gzip,", "gzip"),
    ],
)
def test_which_coding_a_client_takes(accept: str, coding: str | None) -> None:
    found = accepted_coding(accept)
    assert (found and found.name) == coding


@given(st.text())
def test_any_text_is_a_choice(accept: str) -> None:
    assert accepted_coding(accept) in (None, *CODINGS)


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.name)
@given(pieces=st.lists(st.binary(max_size=5_000)))
def test_pieces_come_back_as_one(coding: object, pieces: list[bytes]) -> None:
    assert isinstance(coding, type(CODINGS[0]))
    compressor = coding.compressor()
    packed = b"".join([*(compressor.add(memoryview(piece)) for piece in pieces), compressor.finish()])
    assert DECODERS[coding.name](packed) == b"".join(pieces)


TAG = entity_tag(0xABC, 7)


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ([f'"{TAG}"'], True),
        ([f'W/"{TAG}"'], True),
        ([f'"{TAG}-zstd"'], True),
        ([f'"{TAG}-gzip"'], True),
        ([f'"{TAG}-br"'], False),
        ([f'"{TAG}0"'], False),
        ([f'"0{TAG}"'], False),
        ([f'"x", W/"y" , "{TAG}"'], True),
        (['"x"', f'"{TAG}"'], True),
        (["*"], True),
        ([" * "], True),
        ([TAG], False),
        ([""], False),
        ([f'"{TAG}'], False),
    ],
)
def test_which_tags_are_known(fields: list[str], known: bool) -> None:
    assert (known_tag(TAG, fields) is not None) == known


@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)
)
def test_a_tag_is_of_one_index_and_one_version(one: int, version: int, other: int, later: int) -> None:
    assert (entity_tag(one, version) == entity_tag(other, later)) == ((one, version) == (other, later))
    tag = entity_tag(one, version)
    assert known_tag(tag, [f'"{tag}"']) == tag
    assert known_tag(tag, [f'W/"{tag}-zstd"']) == f"{tag}-zstd"
