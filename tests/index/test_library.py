"""PathIndex as a library: what it takes, what it refuses in words, what it gives."""

from __future__ import annotations

import json
import math
import os
import pickle
from typing import Any

import numpy as np
import pytest
from bodies import body, deletes, directory, file, upserts

import fusion
from fusion import Applied, Batch, Node, PathIndex, Stats
from fusion.errors import FusionError, InvalidField, MalformedBody


def column(count: int, value: Any) -> list[Any]:
    return [value] * count


def put(index: PathIndex, *paths: str | bytes, size: int = 1, is_dir: bool = False) -> Applied:
    count = len(paths)
    return index.upsert(
        list(paths), column(count, size), column(count, 1.5), column(count, 2.5), column(count, is_dir)
    )


def state(index: PathIndex) -> tuple[Any, ...]:
    return index.tree_json(), index.stats(), len(index), index.revision, index.snapshot_open


@pytest.fixture
def index() -> Any:
    index = PathIndex()
    yield index
    index._check()


# --- the door


def test_the_package_offers_the_index_and_its_answers() -> None:
    assert set(fusion.__all__) >= {"PathIndex", "Applied", "Node", "Stats"}
    assert Applied._fields == (
        "rows",
        "upserts",
        "deletes",
        "ignored",
        "removed",
        "snapshot_ended",
        "revision",
    )
    assert Stats._fields == ("files", "directories", "bytes", "version")
    for public in (PathIndex, Node, Applied, Stats, Batch):
        assert public.__doc__


def test_ten_lines(index: PathIndex) -> None:
    """The library in ten lines, as the README shows it."""
    paths, times = ["/data/a.txt", "/data/b.txt", "/data/empty"], [1.5, 2.5, 3.5]
    index.upsert(paths, [3, 5, 0], times, times, [False, False, True])
    assert "/data/a.txt" in index
    assert index.get("/data/a.txt").size == 3
    assert index.stats("/data")[:3] == (2, 2, 8)
    assert [node.path for node in index.search("*.TXT")] == ["/data/a.txt", "/data/b.txt"]
    assert json.loads(index.tree_json("/data", max_depth=0))["name"] == "data"
    assert index.delete("/data") == 4
    assert len(index) == 1


def test_seed_is_a_64_bit_number() -> None:
    for seed in (0, 1, 2**64 - 1, None):
        index = PathIndex(seed=seed)
        put(index, "/a/b")
        assert "/a/b" in index
    for wrong in (-1, 2**64):
        with pytest.raises((ValueError, OverflowError)):
            PathIndex(seed=wrong)
    for wrong in ("1", 1.5):
        with pytest.raises(TypeError):
            PathIndex(seed=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PathIndex(1)  # type: ignore[misc]


def test_answers_do_not_depend_on_the_seed() -> None:
    paths = [f"/d{number % 7}/f{number}" for number in range(500)]
    trees = set()
    for seed in (1, 2, 3):
        index = PathIndex(seed=seed)
        put(index, *paths)
        trees.add(index.tree_json())
    assert len(trees) == 1


# --- nodes


def test_a_node_tells_its_fields(index: PathIndex) -> None:
    index.upsert(["/d/f"], [7], [1.5], [2.5], [False])
    node = index.get("/d/f")
    assert isinstance(node, Node)
    fields = (node.name, node.path, node.is_dir, node.size, node.modified_time, node.created_time)
    assert fields == ("f", "/d/f", False, 7, 1.5, 2.5)
    assert type(node.is_dir) is bool and type(node.size) is int and type(node.modified_time) is float
    with pytest.raises(AttributeError):
        node.size = 8  # type: ignore[misc]
    assert "/d/f" in repr(node)
    assert node == index.get("d//f")
    assert hash(node) == hash(index.get("d//f"))
    assert node != index.get("/d")
    index.upsert(["/d/f"], [9], [1.5], [2.5], [False])
    assert node.size == 7
    assert node != index.get("/d/f")


def test_absent_paths(index: PathIndex) -> None:
    put(index, "/a/b")
    for path in ("/a/c", "/b", "/a/b/c", "/A", b"/\xff", "/\udcff", "/a/b\0", "/" + "x" * 70_000, "/\ud800"):
        assert index.get(path) is None
        assert path not in index
        assert index.delete(path) == 0
        for question in (index.tree_json, index.stats, lambda path: list(index.tree_chunks(path))):
            with pytest.raises(KeyError):
                question(path)
    assert len(index) == 3


@pytest.mark.parametrize("wrong", [None, 7, 1.5, ["/a"], ("/a",), bytearray(b"/a"), object()])
def test_a_path_is_str_or_bytes(index: PathIndex, wrong: Any) -> None:
    put(index, "/a")
    before = state(index)
    for call in (
        index.get,
        index.delete,
        index.stats,
        index.tree_json,
        index.__contains__,
        index.tree_chunks,
    ):
        with pytest.raises(TypeError):
            call(wrong)
    with pytest.raises(TypeError):
        put(index, "/new", wrong)
    assert state(index) == before


@pytest.mark.parametrize(
    ("spelling", "path"),
    [
        ("", "/"), (".", "/"), ("..", "/"), ("//", "/"), ("/x/..", "/"), ("d", "/d"), ("/d/", "/d"),
        ("//d", "/d"), ("///d//", "/d"), ("/x/../d", "/d"), ("./d/.", "/d"), ("/d/e/../../d", "/d"),
        (b"d/e", "/d/e"), ("/d/ e", "/d/ e"), ("/d/...", "/d/..."), ("/d/..e", "/d/..e"), ("/d/.e", "/d/.e"),
    ],
)  # fmt: skip
def test_paths_are_normalised_everywhere(index: PathIndex, spelling: str | bytes, path: str) -> None:
    put(index, spelling, is_dir=True)
    assert index.get(spelling).path == path
    assert index.get(path).path == path
    assert spelling in index
    assert index.stats(spelling) == index.stats(path)
    assert index.tree_json(spelling) == index.tree_json(path)
    assert index.delete(spelling) == (path != "/")


# --- upsert


def test_numpy_columns_and_plain_sequences_are_the_same() -> None:
    plain, columns, arrays = PathIndex(), PathIndex(), PathIndex()
    count = 300
    paths = [f"/d{number % 3}/f{number}" for number in range(count)]
    sizes = [number * 3 for number in range(count)]
    times = [number + 0.25 for number in range(count)]
    is_dir = [number % 5 == 0 for number in range(count)]
    plain.upsert(paths, sizes, times, times, is_dir)
    columns.upsert(tuple(paths), np.array(sizes), np.array(times), np.array(times), np.array(is_dir))
    arrays.upsert(
        np.array(paths),
        np.array(sizes, dtype=np.uint16),
        np.repeat(np.array(times), 2)[::2],  # not contiguous
        np.array(times, dtype=np.float32),
        np.array(is_dir),
    )
    assert plain.tree_json() == columns.tree_json() == arrays.tree_json()


def test_read_only_and_big_endian_columns(index: PathIndex) -> None:
    sizes = np.array([5], dtype=">i8")
    times = np.array([1.5], dtype=">f8")
    times.flags.writeable = False
    index.upsert(["/f"], sizes, times, times, np.array([False]))
    assert (index.get("/f").size, index.get("/f").modified_time) == (5, 1.5)


def test_integers_are_times_too(index: PathIndex) -> None:
    index.upsert(["/f"], [1], [7], np.array([8], dtype=np.int32), [False])
    assert (index.get("/f").modified_time, index.get("/f").created_time) == (7.0, 8.0)


def test_an_empty_upsert_changes_nothing(index: PathIndex) -> None:
    before = state(index)
    assert index.upsert([], [], [], [], [])[:6] == (0, 0, 0, 0, 0, False)
    assert state(index) == before


def test_upsert_tells_what_it_did(index: PathIndex) -> None:
    applied = put(index, "/a", "/b", "/a")
    assert applied == (3, 3, 0, 0, 0, False, index.revision)
    assert len(index) == 3


def test_many_rows_in_one_call(index: PathIndex) -> None:
    count = 20_000
    put(index, *(f"/d{number % 100}/f{number}" for number in range(count)))
    assert index.stats()[:3] == (count, 101, count)


BAD_COLUMNS = {
    "too few sizes": (["/a", "/b"], [1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "too many sizes": (["/a"], [1, 2], [1.0], [1.0], [False]),
    "too few modified times": (["/a", "/b"], [1, 1], [1.0], [1.0, 1.0], [False, False]),
    "too few created times": (["/a", "/b"], [1, 1], [1.0, 1.0], [1.0], [False, False]),
    "too few is_dir": (["/a", "/b"], [1, 1], [1.0, 1.0], [1.0, 1.0], [False]),
    "no paths": ([], [1], [1.0], [1.0], [False]),
    "sizes in two dimensions": (["/a"], [[1]], [1.0], [1.0], [False]),
    "a number for a column": (["/a"], 1, [1.0], [1.0], [False]),
    "a negative size": (["/new", "/b"], [1, -1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "a negative size in a column": (["/a"], np.array([-(2**63)]), [1.0], [1.0], [False]),
    "a size beyond 63 bits": (["/new", "/b"], [1, 2**63], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "a size beyond 64 bits": (["/new", "/b"], [1, 2**64], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "a float size": (["/new", "/b"], [1, 1.5], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "a whole float size": (["/a"], [1.0], [1.0], [1.0], [False]),
    "a bool size": (["/a"], [True], [1.0], [1.0], [False]),
    "a text size": (["/a"], ["1"], [1.0], [1.0], [False]),
    "no size": (["/a"], [None], [1.0], [1.0], [False]),
    "not a number": (["/new", "/b"], [1, 1], [1.0, math.nan], [1.0, 1.0], [False, False]),
    "infinity": (["/new", "/b"], [1, 1], [1.0, 1.0], [1.0, math.inf], [False, False]),
    "minus infinity": (["/new", "/b"], [1, 1], [-math.inf, 1.0], [1.0, 1.0], [False, False]),
    "a time too large for a double": (["/a"], [1], [10**400], [1.0], [False]),
    "a bool time": (["/a"], [1], [True], [1.0], [False]),
    "a text time": (["/a"], [1], ["1.0"], [1.0], [False]),
    "a complex time": (["/a"], [1], [1j], [1.0], [False]),
    "an integer is_dir": (["/a"], [1], [1.0], [1.0], [1]),
    "a text is_dir": (["/a"], [1], [1.0], [1.0], ["yes"]),
    "no is_dir": (["/a"], [1], [1.0], [1.0], [None]),
    "NUL in a path": (["/new", "/b\0c"], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "NUL in a path of bytes": ([b"/b\0c"], [1], [1.0], [1.0], [False]),
    "a path too long": (["/new", "/" + "x" * 65_535], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "a lone surrogate": (["/new", "/\ud800"], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "the root as a file": (["/new", "/"], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "the root as a file, spelt otherwise": (["/new", "x/.."], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "one path for a sequence": ("/", [1], [1.0], [1.0], [True]),
    "one path of bytes for a sequence": (b"/", [1], [1.0], [1.0], [True]),
    "a path that is a number": (["/new", 7], [1, 1], [1.0, 1.0], [1.0, 1.0], [False, False]),
    "paths that are a number": (7, [1], [1.0], [1.0], [False]),
    "paths that are None": (None, [1], [1.0], [1.0], [False]),
}


@pytest.mark.parametrize("columns", BAD_COLUMNS.values(), ids=BAD_COLUMNS)
def test_wrong_columns_are_refused_and_change_nothing(index: PathIndex, columns: tuple[Any, ...]) -> None:
    put(index, "/keep/f")
    before = state(index)
    with pytest.raises((ValueError, TypeError)) as refused:
        index.upsert(*columns)
    assert len(str(refused.value)) > 15
    assert state(index) == before


def test_a_late_wrong_row_takes_nothing_in_with_it(index: PathIndex) -> None:
    count = 10_000
    before = state(index)
    for wrong in ("/nul\0", "/" + "x" * 70_000, "/\udbff", "/"):
        with pytest.raises(ValueError):
            put(index, *(f"/f{number}" for number in range(count)), wrong)
    assert state(index) == before


def test_the_message_names_the_column_and_the_row(index: PathIndex) -> None:
    for columns, words in [
        ((["/a", "/b"], [1, -5], [1.0, 1.0], [1.0, 1.0], [False, False]), ("sizes", "1")),
        ((["/a", "/b"], [1, 5], [1.0, math.nan], [1.0, 1.0], [False, False]), ("modified_times", "1")),
        ((["/a", "/b"], [1, 5], [1.0, 1.0], [1.0, math.inf], [False, False]), ("created_times", "1")),
        ((["/a", "/b\0"], [1, 5], [1.0, 1.0], [1.0, 1.0], [False, False]), ("paths", "1", "NUL")),
        ((["/a", "/b"], [1, 5], [1.0, 1.0], [1.0, 1.0], [False]), ("is_dir", "2")),
    ]:
        with pytest.raises(ValueError) as refused:
            index.upsert(*columns)
        assert all(word in str(refused.value) for word in words), str(refused.value)


# --- apply


BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"session_id": "\xff"}',
    "cut short": body("message", upserts(file("/a")))[:-2],
    "with a tail": body("message", upserts(file("/a"))) + b"x",
    "a list": b"[]",
    "null": b"null",
    "no session": b'{"source_type": "message", "events": []}',
    "an unknown source": body("massage", upserts(file("/a"))),
    "an unknown event": body("message", upserts(file("/a")), {"event_type": "rename", "rows": []}),
    "a negative size": body("message", upserts(file("/a"), file("/b") | {"size": -1})),
    "a float size": body("message", upserts(file("/a"), file("/b") | {"size": 1.0})),
    "a size beyond 63 bits": body("message", upserts(file("/a"), file("/b") | {"size": 2**63})),
    "a bool size": body("message", upserts(file("/a"), file("/b") | {"size": True})),
    "an integer is_dir": body("message", upserts(file("/a"), file("/b") | {"is_dir": 0})),
    "not a number": body("message", upserts(file("/a"), file("/b") | {"modified_time": math.nan})),
    "too large a number": body("message", upserts(file("/a"))).replace(b"0.0", b"1e999"),
    "NUL in a path": body("message", upserts(file("/a"), file("/b\0c"))),
    "a path too long": body("message", upserts(file("/a"), file("/" + "x" * 65_535))),
    "a lone surrogate": body("message", upserts(file("/a"), file("/\ud800"))),
    "the root as a file": body("message", upserts(file("/a"), file("/"))),
    "a row without a path": body("message", upserts(file("/a"), {"size": 1})),
    "a bad row after a delete": body("message", deletes("/keep"), upserts({"size": 1})),
    "a bad row before the end": body("snapshot", upserts(file("/a"), {"size": 1}), end=True),
}


@pytest.mark.parametrize("document", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_refused_and_changes_nothing(index: PathIndex, document: bytes) -> None:
    put(index, "/keep/f")
    before = state(index)
    with pytest.raises(FusionError) as refused:
        index.apply(document)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, MalformedBody | InvalidField)
    assert state(index) == before


@pytest.mark.parametrize("wrong", [None, "text", 7, bytearray(b"{}"), memoryview(b"{}"), {}, []])
def test_a_body_is_bytes_or_a_batch(index: PathIndex, wrong: Any) -> None:
    with pytest.raises(TypeError):
        index.apply(wrong)


def test_a_batch_can_be_decoded_before_and_applied_to_several_indexes() -> None:
    batch = Batch.decode(body("message", upserts(file("/a", 5, size=2), directory("/d"))))
    assert (batch.n_rows, batch.source_type, batch.session_id) == (2, "message", "s")
    trees = set()
    for seed in (1, 2):
        index = PathIndex(seed=seed)
        for _ in range(2):
            assert index.apply(batch)[:6] == (2, 2, 0, 0, 0, False)
        index._check()
        trees.add(index.tree_json())
    assert len(trees) == 1


def test_a_batch_is_made_by_decoding_alone() -> None:
    with pytest.raises(TypeError):
        Batch()
    with pytest.raises(MalformedBody):
        Batch.decode(b"{")


def test_now_is_a_number_of_seconds(index: PathIndex) -> None:
    put(index, "/a")
    document = body("message", deletes("/a"))
    with pytest.raises(TypeError):
        index.apply(document, now="soon")  # type: ignore[arg-type]
    assert "/a" in index
    index.apply(document, now=100)
    index.apply(body("snapshot", upserts(file("/a", 100))))
    assert "/a" not in index


# --- limits of names and paths


def test_the_longest_path_and_the_longest_name(index: PathIndex) -> None:
    name = "n" * 65_534
    put(index, f"/{name}", size=7)
    assert index.get(f"/{name}").name == name
    assert [node.size for node in index.search("nnn")] == [7]
    assert json.loads(index.tree_json())["children"][name]["size"] == 7
    assert f"/{name}n" not in index
    with pytest.raises(ValueError):
        put(index, f"/{name}n")
    index.apply(body("message", upserts(file(f"/{'m' * 65_534}"))))
    assert len(index) == 3
    assert index.delete(f"/{name}") == 1


def test_names_of_255_bytes_and_of_every_length(index: PathIndex) -> None:
    names = ["x" * length for length in range(1, 300)] + ["ä" * 127 + "b", "🎉" * 63 + "abc"]
    put(index, *(f"/d/{name}" for name in names))
    assert list(json.loads(index.tree_json("/d"))["children"]) == names
    for name in names:
        assert index.get(f"/d/{name}").name == name


def test_file_system_names_round_trip(index: PathIndex) -> None:
    """What os.fsdecode gives goes in and comes out, and names the same node as the bytes do."""
    raw = b"/d\xff/\xc3(/\xe4\xf6\xfc.txt"
    put(index, os.fsdecode(raw))
    assert raw in index
    node = index.get(raw)
    assert os.fsencode(node.path) == raw
    assert node == index.get(os.fsdecode(raw))
    assert [os.fsencode(found.path) for found in index.search(os.fsdecode(b"\xf6"))] == [raw]
    assert index.delete(raw) == 1


def test_sums_of_sizes_do_not_overflow(index: PathIndex) -> None:
    largest = 2**63 - 1
    put(index, *(f"/d/f{number}" for number in range(10)), size=largest)
    assert index.stats().bytes == 10 * largest
    assert index.stats("/d").bytes == 10 * largest
    put(index, "/d/f0", size=5)
    index.delete("/d/f1")
    assert index.stats("/d").bytes == 8 * largest + 5
    put(index, "/d", size=1)
    assert index.stats()[:3] == (1, 1, 1)


def test_stats_of_a_file(index: PathIndex) -> None:
    put(index, "/d/f", size=9)
    assert index.stats("/d/f")[:3] == (1, 0, 9)


# --- trees and searches: their arguments


@pytest.mark.parametrize("wrong", [-1, 1.0, 1.5, "1", True, -(2**70)])
def test_max_depth_is_a_whole_number(index: PathIndex, wrong: Any) -> None:
    for question in (index.tree_json, index.tree_chunks):
        with pytest.raises((ValueError, TypeError)):
            question("/", max_depth=wrong)


def test_options_of_trees_have_names(index: PathIndex) -> None:
    for question in (index.tree_json, index.tree_chunks):
        with pytest.raises(TypeError):
            question("/", False)
        with pytest.raises(TypeError):
            question("/", depth=1)


@pytest.mark.parametrize("wrong", ["", b""])
def test_an_empty_pattern_is_refused(index: PathIndex, wrong: Any) -> None:
    for question in (index.search, index.search_json):
        with pytest.raises(InvalidField) as refused:
            question(wrong)
        assert refused.value.pointer == "/pattern"


@pytest.mark.parametrize("wrong", [None, 7, ["a"]])
def test_a_pattern_is_text(index: PathIndex, wrong: Any) -> None:
    with pytest.raises(TypeError):
        index.search(wrong)


@pytest.mark.parametrize("wrong", [-1, 1.5, "3"])
def test_limit_is_a_number_from_0_on(index: PathIndex, wrong: Any) -> None:
    put(index, "/f1", "/f2")
    for question in (index.search, index.search_json):
        with pytest.raises((ValueError, TypeError)):
            question("f", limit=wrong)
    assert index.search("f", limit=0) == []
    assert len(index.search("f", limit=1)) == 1
    assert len(index.search("f", limit=2**40)) == 2
    assert index.search_json("f", limit=0) == b"[]"


def test_search_finds_live_files_only(index: PathIndex) -> None:
    put(index, "/needle-1", "/d/needle-2", "/gone/needle-3", "/turned/needle-4", "/needle-5")
    put(index, "/needle-dir", is_dir=True)
    index.delete("/gone")
    put(index, "/turned")
    put(index, "/needle-5", is_dir=True)
    assert {node.path for node in index.search("needle")} == {"/needle-1", "/d/needle-2"}
    documents = json.loads(index.search_json("needle"))
    assert {document["path"] for document in documents} == {"/needle-1", "/d/needle-2"}
    expected = {"name", "content_type", "path", "size", "modified_time", "created_time"}
    assert all(set(document) == expected for document in documents)
    index.clear()
    assert index.search("needle") == []


# --- columns


def test_columns_show_the_records_without_a_copy(index: PathIndex) -> None:
    put(index, "/d/f", "/g", size=7)
    columns = index.columns()
    assert {"size", "modified_time", "created_time"} <= set(columns)
    assert columns["size"].dtype == np.int64
    assert columns["modified_time"].dtype == np.float64
    live = columns["flags"] & PathIndex.LIVE != 0
    files = live & (columns["flags"] & PathIndex.DIRECTORY == 0)
    described = columns["flags"] & PathIndex.DESCRIBED != 0
    assert (live.sum(), files.sum(), (described & live).sum()) == (4, 2, 2)
    assert columns["size"][files].tolist() == [7, 7]
    assert columns["modified_time"][files].tolist() == [1.5, 1.5]
    assert columns["created_time"][files].tolist() == [2.5, 2.5]
    put(index, "/g", size=8)
    assert sorted(columns["size"][files].tolist()) == [7, 8]
    addresses = {column.__array_interface__["data"][0] for column in index.columns().values()}
    assert addresses == {column.__array_interface__["data"][0] for column in columns.values()}


def test_columns_are_read_only(index: PathIndex) -> None:
    put(index, "/f")
    for name, view in index.columns().items():
        assert not view.flags.writeable
        assert not view.flags.owndata
        with pytest.raises(ValueError):
            view[0] = 0
        with pytest.raises(ValueError):
            view.flags.writeable = True
        assert view.shape == (len(index),), name


def test_columns_outlive_the_index_and_every_change() -> None:
    index = PathIndex()
    put(index, *(f"/f{number}" for number in range(1000)), size=3)
    sizes = index.columns()["size"]
    put(index, *(f"/more{number}" for number in range(50_000)), size=4)
    assert sizes.sum() == 3000
    index.delete("/f5")
    index.clear()
    sizes.sum()
    del index
    sizes.sum()


def test_sums_over_columns_equal_the_stats(index: PathIndex) -> None:
    put(index, *(f"/d{number % 9}/f{number}" for number in range(2000)), size=11)
    for number in range(0, 2000, 3):
        index.delete(f"/d{number % 9}/f{number}")
    columns = index.columns()
    files = (columns["flags"] & PathIndex.LIVE != 0) & (columns["flags"] & PathIndex.DIRECTORY == 0)
    assert int(columns["size"][files].sum()) == index.stats().bytes
    assert int(files.sum()) == index.stats().files


# --- memory


def test_memory_tells_bytes_per_part(index: PathIndex) -> None:
    before = index.memory()
    assert {"nodes", "directories", "names", "hash", "total"} <= set(before)
    assert all(type(value) is int and value >= 0 for value in before.values())
    count = 20_000
    put(index, *(f"/d{number % 50}/file-{number:08}" for number in range(count)))
    after = index.memory()
    assert set(after) == set(before)
    assert after["total"] == sum(value for part, value in after.items() if part != "total")
    assert after["nodes"] >= count * 32
    assert after["names"] - before["names"] >= count * len("file-00000000")
    assert after["total"] - before["total"] < count * 250


def test_memory_is_given_back_by_clear(index: PathIndex) -> None:
    before = index.memory()
    put(index, *(f"/d{number % 50}/file-{number:08}" for number in range(50_000)))
    index.clear()
    after = index.memory()
    assert after["total"] < before["total"] + 100_000


# --- shapes of trees that cost too much when done naively


def test_a_thousand_levels(index: PathIndex) -> None:
    path = "/" + "/".join(f"l{level}" for level in range(1000))
    put(index, path, size=5)
    assert index.stats()[:3] == (1, 1000, 5)
    assert index.get(path).path == path
    text = index.tree_json()
    assert text.count(b'"name"') == 1001
    assert text.endswith(b"}" * 2001)
    assert b"".join(bytes(chunk) for chunk in index.tree_chunks()) == text
    assert index.delete("/l0/l1") == 999


def test_twenty_thousand_levels(index: PathIndex) -> None:
    levels = 20_000
    path = "/d" * levels
    put(index, path, size=5)
    assert index.stats()[:3] == (1, levels, 5)
    for depth in (1, 100, 2048, 2049, levels // 2, levels):
        assert index.get("/d" * depth).path == "/d" * depth
        assert index.stats("/d" * depth).files == 1
    assert "/d" * (levels + 1) not in index
    for _ in range(20):
        put(index, path, size=6)
        put(index, path + "2", size=7)
    assert index.stats()[:3] == (2, levels, 13)
    assert [node.path for node in index.search("d2")] == [path + "2"]
    assert index.tree_json("/", max_depth=100).count(b'"name"') == 101
    assert index.tree_json("/d" * (levels - 1)).count(b'"name"') == 3
    length = sum(len(chunk) for chunk in index.tree_chunks(only_path=True))
    assert length > levels * levels
    index.begin_snapshot()
    put(index, path + "2", size=8)
    index.apply(body("snapshot", end=True))
    assert index.stats()[:3] == (1, levels, 8)
    put(index, "/d/d", size=1)
    assert index.stats()[:3] == (1, 2, 1)


def test_a_snapshot_row_over_a_deep_directory(index: PathIndex) -> None:
    index.begin_snapshot()
    path = "/d" * 20_000
    put(index, path)
    assert index.apply(body("snapshot", upserts(file("/d", 1)))).ignored == 1
    assert index.apply(body("snapshot", upserts(file("/d", 2)))).ignored == 0
    assert len(index) == 2


def test_two_hundred_thousand_children(index: PathIndex) -> None:
    count = 200_000
    paths = [f"/wide/f{number}" for number in range(count)]
    put(index, *paths)
    assert index.stats("/wide")[:3] == (count, 1, count)
    assert len(index.search("f1", limit=5)) == 5
    assert len(index.search("f19999?")) == 10
    listed = json.loads(index.tree_json("/wide", recursive=False, only_path=True))["children"]
    assert [child["name"] for child in listed] == [f"f{number}" for number in range(count)]
    for path in paths[:: count // 1000]:
        assert index.delete(path) == 1
    assert index.stats("/wide").files == count - 1000
    index.begin_snapshot()
    index.apply(body("snapshot", upserts(*(file(path) for path in paths[1:200])), end=True))
    assert index.stats("/wide").files == 199
    assert index.delete("/wide") == 200


def test_many_deletes_and_rows_in_one_deep_snapshot(index: PathIndex) -> None:
    """Tombstones of deep paths beside rows of deep paths."""
    base = "/x" * 500
    index.begin_snapshot()
    index.apply(body("message", deletes(*(f"{base}/gone{number}" for number in range(500)))), now=10.0)
    rows = [file(f"{base}/gone{number}/f", 5) for number in range(500)] + [file(f"{base}/there", 5)]
    assert index.apply(body("snapshot", upserts(*rows))).ignored == 500
    assert index.stats().files == 1


# --- objects


def test_an_index_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(PathIndex())


def test_chunks_keep_their_index_alive() -> None:
    index = PathIndex()
    put(index, *(f"/f{number}" for number in range(20_000)))
    whole = index.tree_json()
    chunks = index.tree_chunks()
    first = bytes(next(chunks))
    del index
    assert first + b"".join(bytes(chunk) for chunk in chunks) == whole


def test_a_chunk_taken_before_stays_readable() -> None:
    """The buffer is used again for the next piece, never freed under a view."""
    index = PathIndex()
    put(index, *(f"/f{number}" for number in range(20_000)))
    views = list(index.tree_chunks())
    assert len(views) > 1
    for view in views:
        bytes(view)


def test_check_is_silent_on_a_sound_index(index: PathIndex) -> None:
    assert index._check() is None
