"""find_chunks(): filters, orders and pages against the slow twin; cursors; wrong arguments."""

from __future__ import annotations

import random
from typing import Any

import find_oracle
import orjson
import pytest
from bodies import body
from histories import event_lists, names, patterns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import OracleIndex
from test_search import PATTERNS, index_of

from fusion import PathIndex
from fusion.errors import InvalidField

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
SORTS = ["name", "path", "size", "modified_time"]
PATHS = [f"/{a}/{b}" for a in "abc" for b in "abc"]

segments = st.one_of(names, st.sampled_from(["*", "?", "[ab]", "[!a]*", "a*", "*b", "[.-0]", ""]))
path_patterns = st.one_of(
    st.lists(segments, min_size=1, max_size=4).map("/".join),
    st.lists(segments, min_size=1, max_size=3).map(lambda parts: "*" + "/".join(parts)),
    st.sampled_from(["/", "*", "/*", "*/", "a/b", "/a", "a/", "*/b/*", "*/b*", "//", "*//*", "A/B", "?*?"]),
).filter(bool)
times = st.sampled_from([-1.5, 0, -0.0, 50, 100.5, 1e16, 1e308])
sizes = st.sampled_from([0, 1, 5, 2**40, 2**63 - 1])


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    match = draw(st.sampled_from(["name", "path"]))
    options: dict[str, Any] = {
        "match": match,
        "type": draw(st.sampled_from(["file", "directory", "any"])),
        "sort": draw(st.sampled_from([None, *SORTS])),
        "order": draw(st.sampled_from(["asc", "desc"])),
    }
    for name, values in (
        ("min_size", sizes),
        ("max_size", sizes),
        ("modified_after", times),
        ("modified_before", times),
    ):
        if draw(st.integers(0, 3)) == 0:
            options[name] = draw(values)
    return draw(path_patterns if match == "path" else patterns), options


def read(index: PathIndex, pattern: str | bytes, **options: Any) -> list[dict[str, Any]]:
    answer = index.find_chunks(pattern, **options)
    found = orjson.loads(b"".join(bytes(piece) for piece in answer))
    assert len(found) == answer.nodes
    return found


def read_pages(index: PathIndex, pattern: str | bytes, limit: int, **options: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = index.find_chunks(pattern, limit=limit, cursor=cursor, **options)
        page = orjson.loads(b"".join(bytes(piece) for piece in answer))
        assert len(page) == answer.nodes <= limit
        found += page
        cursor = answer.cursor
        if cursor is None:
            assert answer.total == len(found)
            return found
        assert len(page) == limit


@given(
    events=st.lists(event_lists, max_size=4),
    asked=st.lists(questions(), min_size=1, max_size=6),
    data=st.data(),
    piece=st.sampled_from([1, 1 << 18]),
)
@settings(RELAXED, max_examples=250)
def test_finds_what_the_oracle_finds(
    events: list[Any], asked: list[tuple[str, dict[str, Any]]], data: st.DataObject, piece: int
) -> None:
    index, oracle = PathIndex(), OracleIndex()
    for each in events:
        for one in (index, oracle):
            one.apply(body("message", *each), now=100.0)
    tops = [entry.path for entry in oracle.root.walk()]
    for pattern, options in asked:
        options["path"] = data.draw(st.sampled_from(tops))
        expected = find_oracle.find(oracle, pattern, **options)
        answer = index.find_chunks(pattern, **options, _piece_bytes=piece)
        found = orjson.loads(b"".join(bytes(piece) for piece in answer))
        assert (answer.total, answer.nodes, answer.cursor) == (len(expected), len(expected), None)
        assert answer.revision == index.revision
        if options["sort"] is None:
            assert sorted(map(repr, found)) == sorted(map(repr, expected))
            options["sort"] = "path"
            expected = find_oracle.find(oracle, pattern, **options)
            options["sort"] = data.draw(st.sampled_from([None, "path"]))
        else:
            assert found == expected
        assert read_pages(index, pattern, data.draw(st.integers(1, 4)), **options) == expected
    assert index.memory()["views"] == 0


def crowd(dirs: int = 40, each: int = 60) -> tuple[PathIndex, OracleIndex]:
    """Some thousand nodes with sizes that few have and many have, in directories of which most are small."""
    dice = random.Random(1)
    index, oracle = PathIndex(), OracleIndex()
    paths = [
        f"/top{d % 3}/dir{d}/Name-{dice.randrange(10**6)}.{dice.choice('ab')}"
        for d in range(dirs)
        for _ in range(each)
    ]
    columns = (
        paths,
        [dice.choice([0, 7, 2**63 - 1, dice.randrange(10**9)]) for _ in paths],
        [dice.choice([0.0, -3.5, dice.random() * 1e9]) for _ in paths],
        [0.0] * len(paths),
        [False] * len(paths),
    )
    for one in (index, oracle):
        one.upsert(*columns)
    return index, oracle


@pytest.mark.parametrize("pattern", ["name", "*-1*", "*.a", "9", "*[0-3].b"])
def test_small_and_large_subtrees(pattern: str) -> None:
    index, oracle = crowd()
    for path in ("/", "/top1", "/top1/dir1"):
        for sort in SORTS:
            for order in ("asc", "desc"):
                options = {"path": path, "sort": sort, "order": order}
                expected = find_oracle.find(oracle, pattern, **options)
                assert read(index, pattern, **options) == expected
                assert read(index, pattern, **options, limit=25) == expected[:25]
                assert read_pages(index, pattern, 500, **options) == expected


@pytest.mark.parametrize(
    "pattern", ["name", "/dir1/", "ir1/n", "*/dir1/*.a", "*/dir1*", "*1/*", "/top?/*[0-3].b", "/TOP1", "*.b"]
)
def test_paths_in_small_and_large_subtrees(pattern: str) -> None:
    index, oracle = crowd(20, 40)
    for path in ("/", "/top1", "/top1/dir1"):
        options: dict[str, Any] = {"path": path, "match": "path", "type": "any"}
        expected = find_oracle.find(oracle, pattern, **options, sort="path")
        assert read_pages(index, pattern, 100, **options) == expected
        assert sorted(map(repr, read(index, pattern, **options))) == sorted(map(repr, expected))


def test_long_paths() -> None:
    """Chains of directories whose paths are stored no more; names as long as names can be."""
    index, oracle = PathIndex(), OracleIndex()
    chain = "/" + "/".join("deep" + "x" * (n % 17) for n in range(700))
    paths = [chain + "/end", chain[:6000].rpartition("/")[0] + "/end", "/" + "y" * 65_000 + "end", "/z/end"]
    for one in (index, oracle):
        one.upsert(paths, [1, 2, 3, 2**63 - 1], [1.0] * 4, [1.0] * 4, [False] * 4)
    for options in ({}, {"match": "path"}, {"path": chain}, {"path": chain, "match": "path"}):
        for pattern in ("END", "*end", "deepxxx/deepxxxx" if "match" in options else "d"):
            for sort in SORTS:
                expected = find_oracle.find(oracle, pattern, **options, sort=sort, type="file")
                assert read(index, pattern, **options, sort=sort) == expected
                assert read_pages(index, pattern, 1, **options, sort=sort) == expected
    assert [node["path"] for node in read(index, "e", type="directory", limit=1)] == ["/deep"]


def test_an_answer_shows_the_instant_of_its_call() -> None:
    index, _ = crowd()
    before = read(index, "name", type="any")
    answer = index.find_chunks("name", type="any", _piece_bytes=1)
    revision = index.revision
    first = bytes(next(answer))
    index.delete("/top1")
    index.clear()
    assert orjson.loads(first + b"".join(bytes(piece) for piece in answer)) == before
    assert answer.revision == revision
    del answer
    assert index.memory()["views"] == 0


@given(seed=st.integers(0, 10**6), sort=st.sampled_from(SORTS), order=st.sampled_from(["asc", "desc"]))
@settings(RELAXED, max_examples=60)
def test_what_does_not_change_is_on_one_page_once(seed: int, sort: str, order: str) -> None:
    dice = random.Random(seed)
    index = PathIndex()
    lasting = {f"/d{dice.randrange(4)}/k{dice.randrange(200)}" for _ in range(40)}

    def put(paths: list[str]) -> None:
        n = len(paths)
        zeros = [0.0] * n
        index.upsert(
            paths, [dice.randrange(4) for _ in paths], [dice.randrange(3) for _ in paths], zeros, [False] * n
        )

    put(sorted(lasting))
    seen: list[str] = []
    cursor = None
    while True:
        answer = index.find_chunks("*", limit=3, sort=sort, order=order, cursor=cursor)
        seen += [node["path"] for node in orjson.loads(b"".join(bytes(piece) for piece in answer))]
        cursor = answer.cursor
        if cursor is None:
            break
        for _ in range(dice.randrange(3)):
            passing = f"/d{dice.randrange(4)}/t{dice.randrange(40)}"
            if dice.random() < 0.5:
                put([passing])
            else:
                index.delete(passing)
    assert sorted(path for path in seen if path in lasting) == sorted(lasting)


def test_a_page_goes_on_behind_a_node_that_is_gone() -> None:
    index = index_of([b"a", b"b", b"c", b"d"])
    answer = index.find_chunks("*", limit=2)
    assert [node["name"] for node in orjson.loads(b"".join(map(bytes, answer)))] == ["a", "b"]
    index.delete("/b")
    assert [node["name"] for node in read(index, "*", cursor=answer.cursor)] == ["c", "d"]
    index.clear()
    assert read(index, "*", cursor=answer.cursor) == []


def test_a_cursor_belongs_to_its_question() -> None:
    index = index_of([b"%03d" % number for number in range(10)])
    question: dict[str, Any] = {"limit": 3, "sort": "size", "max_size": 5}
    cursor = index.find_chunks("0", **question).cursor
    assert cursor is not None and set(cursor) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    assert len(read(index, "0", **question | {"limit": 4}, cursor=cursor)) == 4  # the limit may change
    other: list[tuple[str, dict[str, Any]]] = [
        ("00", {}),
        ("0", {"match": "path"}),
        ("0", {"type": "any"}),
        ("0", {"min_size": 1}),
        ("0", {"max_size": 6}),
        ("0", {"modified_after": -1}),
        ("0", {"modified_before": 1}),
        ("0", {"sort": "path"}),
        ("0", {"order": "desc"}),
        ("0", {"path": "/000"}),
    ]
    for pattern, change in other:
        with pytest.raises(InvalidField) as caught:
            index.find_chunks(pattern, **question | change, cursor=cursor)
        assert caught.value.pointer == "/cursor"
    damaged = [
        "",
        "x",
        "=",
        "ä",
        cursor[:-1],
        cursor + "A",
        "B" + cursor[1:],
        cursor.swapcase(),
        cursor[:20],
        7,
        b"x",
    ]
    for wrong in damaged:
        with pytest.raises(InvalidField) as caught:
            index.find_chunks("0", **question, cursor=wrong)  # type: ignore[arg-type]
        assert caught.value.pointer == "/cursor"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("match", ["", "names", None, 7, []]),
        ("type", ["", "files", None, 7]),
        ("sort", ["", "time", 7]),
        ("order", ["", "up", None]),
        ("min_size", [-1, 1.0, True, "1", 2**63]),
        ("max_size", [-1, 1.0, True, "1", 2**63]),
        ("modified_after", [float("nan"), float("inf"), "1", True, 10**400]),
        ("modified_before", [float("nan"), float("-inf"), "1", True]),
        ("limit", [0, -1, 10_001, 1.0, True, "1"]),
        ("max_seconds", [float("nan"), "1"]),
    ],
)
def test_wrong_arguments_are_named(name: str, values: list[Any]) -> None:
    index = index_of([b"a"])
    for value in values:
        with pytest.raises(InvalidField) as caught:
            index.find_chunks("a", **{name: value})
        assert caught.value.pointer == f"/{name}"
        assert name in caught.value.detail


def test_unknown_paths_and_patterns() -> None:
    index = index_of([b"a"])
    for path in ("/nothing", "/a/b", "\ud800", "/" + "x" * 70_000):
        with pytest.raises(KeyError):
            index.find_chunks("a", path=path)
    with pytest.raises(TypeError):
        index.find_chunks("a", path=7)  # type: ignore[arg-type]
    for pattern in ("", "\ud800"):
        with pytest.raises(InvalidField):
            index.find_chunks(pattern)
    assert [node["path"] for node in read(index, "a", path="//a/")] == ["/a"]


def test_a_search_ends_when_its_time_is_up() -> None:
    index, _ = crowd(100, 100)
    assert read(index, "Name", max_seconds=3600, limit=1)
    with pytest.raises(TimeoutError):
        index.find_chunks("Name", max_seconds=-1)
    assert index.memory()["views"] == 0
    index._check()


@given(
    files=st.lists(st.sampled_from([b"\xff", b"\xc3", b"\xa4", b"a", b"\xc3\xa4"]), min_size=2, max_size=4),
    pattern=PATTERNS,
)
@settings(RELAXED, max_examples=100)
def test_names_that_are_not_utf8(files: list[bytes], pattern: bytes) -> None:
    index, oracle = PathIndex(), OracleIndex()
    paths = [b"/" + b"/".join(files[:-1]) + b"/" + each for each in files]
    for one in (index, oracle):
        one.upsert(paths, [1] * len(paths), [1.0] * len(paths), [1.0] * len(paths), [False] * len(paths))
    for match in ("name", "path"):
        for wanted in (pattern, b"".join(files[:2]), b"/".join(files[:2]), b"*" + files[0] + b"*"):
            expected = find_oracle.find(oracle, wanted, match=match, sort="path", type="any")
            assert read(index, wanted, match=match, sort="path", type="any") == expected
            assert read_pages(index, wanted, 1, match=match, type="any") == expected
