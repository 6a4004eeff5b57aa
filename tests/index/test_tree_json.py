"""The tree as JSON, byte for byte: every escape, every kind of name, every option, at every chunk border."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from levels import each_level
from oracle import OracleIndex
from test_machine import RELAXED, TREE_OPTIONS

from fusion import PathIndex

Row = tuple[str | bytes, int, float, float, bool]


def both(rows: list[Row]) -> tuple[PathIndex, OracleIndex]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    index, oracle = PathIndex(), OracleIndex()
    index.upsert(*columns)
    oracle.upsert(*columns)
    return index, oracle


def files(*paths: str | bytes) -> list[Row]:
    return [(path, number, number + 0.25, number + 0.5, False) for number, path in enumerate(paths)]


def joined(index: PathIndex, path: str = "/", **options: Any) -> bytes:
    return b"".join(bytes(chunk) for chunk in index.tree_chunks(path, **options))


def same(index: PathIndex, oracle: OracleIndex) -> None:
    for options in TREE_OPTIONS:
        expected = oracle.tree_json("/", **options)
        for level in each_level():
            assert index.tree_json("/", **options) == expected, (level, options)
            assert joined(index, **options) == expected, (level, options)
    index._check()


def test_every_code_point_of_the_basic_plane_is_written_as_json_does() -> None:
    characters = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000 and chr(code) != "/"]
    names = ["n" + "".join(characters[start : start + 60]) for start in range(0, len(characters), 60)]
    index, oracle = both(files(*(f"/{name}" for name in names)))
    same(index, oracle)
    assert list(json.loads(index.tree_json())["children"]) == names


def test_characters_beyond_the_basic_plane() -> None:
    names = ["".join(map(chr, range(start, start + 40))) for start in range(0x10000, 0x110000, 0x1FFF)]
    same(*both(files(*(f"/{name}" for name in names))))


@pytest.mark.parametrize("code", [*range(1, 0x2F), *range(0x30, 0x40), 0x5C, 0x7F])
def test_each_ascii_character_at_each_place_of_a_name(code: int) -> None:
    char = chr(code)
    names = [
        f"{'a' * before}{char}{'b' * after}" for before in (0, 1, 7, 15, 16, 31) for after in (1, 8, 16, 33)
    ]
    same(*both(files(*(f"/{name}" for name in names))))


def test_every_pair_of_bytes() -> None:
    """Every two bytes that can stand in a name, spread over a few directories."""
    allowed = [byte for byte in range(1, 256) if byte != 0x2F]
    high = [byte for byte in allowed if byte >= 0x80] + [0x41, 0x22, 0x0A]
    paths = [b"/%02x/x%c%cy" % (first, first, second) for first in high for second in high]
    index, oracle = both(files(*paths))
    same(index, oracle)
    for path in paths[::37]:
        assert index.get(path).size == oracle.get(path).size


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=12))
@RELAXED
def test_any_bytes(names: list[bytes]) -> None:
    usable = [name.replace(b"/", b"_").replace(b"\0", b"_") for name in names]
    paths = [b"/" + name for name in usable if name not in (b".", b"..")]
    paths += [path + b"/" + usable[0] + b"!" for path in paths]
    if paths:
        same(*both(files(*paths)))


def test_keys_that_would_collide() -> None:
    """A name that is UTF-8 is always its own key, whatever stands before it; the others give way in order."""
    rows = files(
        b"/\xff", "/\ufffd\ufffd", b"/\xfe", "/\ufffd", b"/\xfd\xfc", "/z", b"/a\xff", "/a\ufffd\ufffd"
    )
    index, oracle = both(rows)
    same(index, oracle)
    children = json.loads(index.tree_json())["children"]
    keys = {key: child.get("raw_name") for key, child in children.items()}
    assert keys == {
        "\ufffd" * 3: "/w==",
        "\ufffd" * 2: None,
        "\ufffd" * 4: "/g==",
        "\ufffd": None,
        "\ufffd" * 5: "/fw=",
        "z": None,
        "a\ufffd": "Yf8=",
        "a\ufffd\ufffd": None,
    }
    index.delete("/\ufffd")
    oracle.delete("/\ufffd")
    same(index, oracle)


def test_a_hundred_names_that_are_shown_alike() -> None:
    rows = files(*(b"/d/same%c" % byte for byte in range(0x80, 0xF8)))
    index, oracle = both(rows)
    same(index, oracle)
    children = json.loads(index.tree_json("/d"))["children"]
    assert len(children) == 120
    assert max(map(len, children)) == 4 + 120


def test_raw_names_of_directories_on_the_way() -> None:
    index, oracle = both(
        files(b"/\xe2\x82/\xff\xfe/ok/\xf0\x9f\x8e", b"/\xe2\x82/\xff\xfe/ok/\xf0\x9f\x8e\x89")
    )
    same(index, oracle)
    for path in oracle.directories():
        assert index.tree_json(path) == oracle.tree_json(path)
        assert index.tree_json(path.decode("utf-8", "surrogateescape")) == oracle.tree_json(path)


def test_raw_name_pads_as_base64_does() -> None:
    same(*both(files(*(b"/%s\xff" % (b"n" * length) for length in range(40)))))


ROUND = [0.0, -0.0, -1.5, 2.0**53, 2.0**63, 1e15, 1e16, 1e17, 1e22, 1705832400.0, 1705832400.25, 536870912.0]
LONG = [
    0.1,
    0.30000000000000004,
    1705832400.1234567,
    8589934591.999999,
    123456789012345680.0,
    4503599627370497.5,
]
EXTREME = [1e-5, 0.0001, 1e-7, 1e-300, 5e-324, 1.7976931348623157e308, 8589934592.5]


@pytest.mark.parametrize("value", [*ROUND, *LONG, *EXTREME])
def test_times_are_written_as_repr_does(value: float) -> None:
    index, oracle = both([("/f", 2**63 - 1, value, -value, False), ("/d", 0, -value, value, True)])
    same(index, oracle)
    assert f'"modified_time":{value!r},' in index.tree_json("/f").decode()


def test_answers_longer_than_a_chunk() -> None:
    """Names of all lengths push every kind of text over the border between two chunks."""
    choose = random.Random(3)
    alphabet = ["a", "b", '"', "\\", "\n", "ä", "🎉", "\udcff"]
    rows: list[Row] = []
    for number in range(4000):
        name = "".join(choose.choices(alphabet, k=choose.randrange(1, 200))) + str(number)
        rows.append(
            (f"/d{number % 3}/{number % 40}/{name}", number, choose.random() * 1e10, 0.0, number % 9 == 0)
        )
    index, oracle = both(rows)
    same(index, oracle)
    assert len(list(index.tree_chunks())) > 1


@pytest.mark.parametrize("fill", ["n", '"', "\n", "\udcff"])
def test_names_and_directories_of_every_length(fill: str) -> None:
    """What is copied in blocks ends at every place of a block, alone and behind a path of any length."""
    rows: list[Row] = []
    for length in range(1, 140):
        directory = "/" + fill * length
        rows.append((directory + "/f", length, 1705832400.25, 1e9, False))
        rows.append(
            (directory + "/" + fill * (140 - length), 10**length % 2**63, 2.0**32, 1705832400.5, False)
        )
    index, oracle = both(rows)
    same(index, oracle)
    index, oracle = both([("/" + "/".join(fill * length for length in range(1, 60)), 1, 2.0, 3.0, False)])
    same(index, oracle)


@pytest.mark.parametrize("length", [255, 4096, 40_000, 65_000])
def test_very_long_names(length: int) -> None:
    nasty = ("\n" * length)[:length]
    plain = "n" * length
    raw = b"/" + b"\xff" * length
    same(*both(files(f"/{nasty}", f"/{plain}", raw, f"/{plain[:-40]}/below", f"/{nasty[:-40]}/below")))


def test_options_on_every_node() -> None:
    index, oracle = both(
        [*files("/a/b/c/d/e", "/a/b/f", "/g", b"/a/\xff/h"), ("/empty", 1, 2.0, 3.0, True)],
    )
    paths = [entry.path for entry in oracle.root.walk()]
    for path in paths:
        for recursive in (True, False):
            for max_depth in (None, 0, 1, 2, 3, 9, 2**31, 2**40):
                for only_path in (True, False):
                    options = {"recursive": recursive, "max_depth": max_depth, "only_path": only_path}
                    expected = oracle.tree_json(path, **options)
                    assert index.tree_json(path, **options) == expected, (path, options)


def test_chunks_are_views_of_one_buffer_and_hold_the_whole_together() -> None:
    index = PathIndex()
    count = 30_000
    paths = [f"/d{number % 7}/some-file-name-{number}" for number in range(count)]
    index.upsert(paths, [1] * count, [1.5] * count, [2.5] * count, [False] * count)
    sizes = []
    for chunk in index.tree_chunks():
        assert isinstance(chunk, memoryview)
        assert chunk.format in ("B", "b", "c") and chunk.ndim == 1
        assert chunk.readonly
        sizes.append(len(chunk))
    assert len(sizes) > 2
    assert max(sizes) <= 1 << 20
    assert sum(sizes) == len(index.tree_json())
    assert joined(index, "/d3") == index.tree_json("/d3")
    with pytest.raises(KeyError):
        list(index.tree_chunks("/nothing"))
