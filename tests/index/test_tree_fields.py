"""Trees with some fields of their nodes, and trees as lines: byte for byte what the oracle says."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from levels import each_level
from oracle import FIELDS, OracleIndex, dumped
from test_machine import RELAXED, TREE_OPTIONS
from test_tree_json import Row, both, files

from fusion import PathIndex

CHOICES = [choice for count in range(1, 7) for choice in combinations(FIELDS, count)]
DEPTHS: list[dict[str, Any]] = [{}, {"recursive": False}, *({"max_depth": depth} for depth in range(4))]


def lines(index: PathIndex, path: str | bytes = "/", **options: Any) -> list[bytes]:
    """The lines of a tree, from its pieces and as a whole."""
    tree = index.tree_chunks(path, format="ndjson", **options)
    whole, nodes = tree.read(), tree.nodes
    pieces = index.tree_chunks(path, format="ndjson", **options, _piece_bytes=1)
    assert b"".join(bytes(piece) for piece in pieces) == whole
    assert whole.endswith(b"\n") and whole.count(b"\n") == nodes == pieces.nodes
    return whole.splitlines()


def expected_lines(oracle: OracleIndex, path: str | bytes = "/", **options: Any) -> list[bytes]:
    return [dumped(document) for document in oracle.lines(path, **options)]


MIXED: list[Row] = [
    *files(
        "/a/b/c/d", '/a/"quoted"/x\ny', b"/a/\xff/\xfe\xfd", b"/a/\xff/\xfe\xfc", "/g", "/ä/🎉", "/\ufffd"
    ),
    ("/empty", 1, 2.0, -3.5, True),
    (b"/\xfb", 2**63 - 1, 1e-7, 1705832400.1234567, True),
    ("/same", 7, 1705832400.25, 1705832400.25, False),
]


def test_every_choice_of_fields_on_every_node() -> None:
    index, oracle = both(MIXED)
    for path in [entry.path for entry in oracle.root.walk()]:
        for choice in CHOICES:
            for options in DEPTHS:
                expected = oracle.tree_json(path, fields=choice, **options)
                assert index.tree_json(path, fields=choice, **options) == expected, (path, choice, options)
                assert lines(index, path, fields=choice, **options) == expected_lines(
                    oracle, path, fields=choice, **options
                )


def test_fields_come_in_the_contracts_order_whatever_the_order_of_the_names() -> None:
    index, oracle = both(MIXED)
    for given_names in (reversed(FIELDS), iter(["size", "name", "size"]), {"path": 1, "name": 2}):
        names = list(given_names)
        assert index.tree_json(fields=iter(names)) == oracle.tree_json(fields=names)
    assert index.tree_json(fields=FIELDS) == index.tree_json()
    assert index.tree_json(fields=FIELDS, only_path=True) == index.tree_json(only_path=True)
    assert index.tree_json(fields=FIELDS[:3]) == index.tree_json(only_path=True)


def test_only_path_and_fields_both_apply() -> None:
    index, oracle = both(MIXED)
    for choice in CHOICES:
        if set(choice) & set(FIELDS[:3]):
            expected = oracle.tree_json(fields=choice, only_path=True)
            assert index.tree_json(fields=choice, only_path=True) == expected
            assert lines(index, fields=choice, only_path=True) == expected_lines(
                oracle, fields=choice, only_path=True
            )


@pytest.mark.parametrize(
    "options",
    [{"fields": []}, {"fields": ["nam"]}, {"fields": ["name", None]}, {"fields": [["name"]]},
     {"fields": ["children"]}, {"fields": ["raw_name"]}, {"fields": ["size"], "only_path": True}],
)  # fmt: skip
def test_bad_fields_are_refused(options: dict[str, Any]) -> None:
    index = PathIndex()
    for ask in (index.tree_json, index.tree_chunks):
        with pytest.raises(ValueError, match="fields: "):
            ask(**options)


@pytest.mark.parametrize("fields", ["name", b"name", 7])
def test_fields_that_are_no_names_are_refused(fields: Any) -> None:
    with pytest.raises(TypeError):
        PathIndex().tree_json(fields=fields)


@pytest.mark.parametrize("format", ["", "JSON", "xml", None, 7])
def test_a_format_that_there_is_not_is_refused(format: Any) -> None:
    with pytest.raises(ValueError, match="format: json or ndjson"):
        PathIndex().tree_chunks(format=format)


@given(
    names=st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=8), choice=st.sampled_from(CHOICES)
)
@RELAXED
def test_any_names_with_any_fields(names: list[bytes], choice: tuple[str, ...]) -> None:
    usable = [name.replace(b"/", b"_").replace(b"\0", b"_") for name in names]
    paths = [b"/" + name for name in usable if name not in (b".", b"..")]
    paths += [path + b"/" + usable[0] + b"!" for path in paths]
    if not paths:
        return
    index, oracle = both(files(*paths))
    for options in TREE_OPTIONS:
        if options.get("only_path") and not set(choice) & set(FIELDS[:3]):
            continue
        for level in each_level():
            expected = oracle.tree_json(fields=choice, **options)
            assert index.tree_json(fields=choice, **options) == expected, level
            assert lines(index, fields=choice, **options) == expected_lines(oracle, fields=choice, **options)
        assert lines(index, **options) == expected_lines(oracle, **options)


@pytest.mark.parametrize("fill", ["n", '"', "\n", "\udcff"])
@pytest.mark.parametrize("length", [1, 255, 4096, 20_000])
def test_very_long_names(fill: str, length: int) -> None:
    index, oracle = both(files(f"/{fill * length}/{fill * length}", f"/{fill * length}x"))
    for choice in (["name"], ["path"], ["size", "created_time"], list(FIELDS)):
        assert index.tree_json(fields=choice) == oracle.tree_json(fields=choice)
        assert lines(index, fields=choice) == expected_lines(oracle, fields=choice)


def test_a_deep_chain() -> None:
    index = PathIndex()
    deep = "/d" * 3000
    index.upsert([deep], [1], [2.5], [3.5], [False])
    found = lines(index, fields=["path"])
    assert found == [b'{"path":"%s"}' % (b"/d" * depth or b"/") for depth in range(3001)]
    assert json.loads(lines(index, deep)[0])["path"] == deep
    tree = index.tree_json(fields=["size"])
    assert tree.startswith(b'{"size":0,"children":{"d":{"size":0,') and tree.count(b'"size"') == 3001


def test_what_the_iterator_knows() -> None:
    index = PathIndex()
    assert index.tree_chunks().revision == 0
    index.upsert(["/a/f", "/b/g", "/b/h"], [1, 2, 3], [0.0] * 3, [0.0] * 3, [False] * 3)
    index.upsert(["/a/f"], [2], [0.0], [0.0], [False])
    for path, nodes in (("/", 6), ("/a", 2), ("/b", 3), ("/b/h", 1), ("/a/f", 1)):
        for options in ({}, {"_piece_bytes": 1}):
            for format in ("json", "ndjson"):
                tree = index.tree_chunks(path, format=format, **options)
                assert tree.revision == index.revision and tree.version == index.stats(path).version
                assert tree.cursor is None
                assert (tree.whole is None) == bool(options)
                before = tree.nodes
                index.upsert(["/other"], [2], [0.0], [0.0], [False])
                read = tree.read()
                assert tree.nodes == nodes >= before
                assert tree.revision == index.revision - 1
                index.delete("/other")
                if format == "json":
                    assert read == index.tree_json(path)
    assert index.tree_chunks("/b").version < index.tree_chunks("/a").version


def test_reading_all_that_is_left() -> None:
    index = PathIndex()
    count = 3000
    index.upsert(
        [f"/d/f{n}" for n in range(count)], [1] * count, [1.5] * count, [1.5] * count, [False] * count
    )
    for path in ("/d", "/d/f7"):
        whole = index.tree_json(path)
        assert index.tree_chunks(path).read() == whole
        tree = index.tree_chunks(path)
        assert bytes(next(tree)) + tree.read() == whole
        assert tree.read() == b"" and next(tree, None) is None
    assert index.tree_chunks("/d/f7").whole == index.tree_json("/d/f7")
    assert bytes(next(index.tree_chunks("/d/f7"))) == index.tree_json("/d/f7")
    assert index.tree_chunks("/d").whole is None


def test_the_longest_path_is_a_high_water_mark(tmp_path: Any) -> None:
    index = PathIndex()
    assert index.longest_path == 1
    index.upsert(["/ä/f"], [1], [0.0], [0.0], [False])
    assert index.longest_path == 5
    index.upsert(["/" + "d/" * 50 + "f"], [1], [0.0], [0.0], [False])
    assert index.longest_path == 102
    index.delete("/d")
    assert index.longest_path == 102
    index.save(tmp_path / "saved")
    loaded = PathIndex.load(tmp_path / "saved")
    assert loaded.longest_path == 5
    index._check()
    loaded._check()


def test_every_index_is_another_instance(tmp_path: Any) -> None:
    index = PathIndex(seed=1)
    index.save(tmp_path / "saved")
    instances = {PathIndex(seed=1).instance, PathIndex.load(tmp_path / "saved").instance, index.instance}
    assert len(instances) == 3
    assert all(0 <= instance < 2**64 for instance in instances)
