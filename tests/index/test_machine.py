"""Random histories, told to the compiled index and to the oracle side by side: every answer is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
from bodies import AnyIndex, body
from histories import any_name, arrivals, event_lists, patterns, some_paths, some_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle import OracleIndex

from fusion import PathIndex

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
pytestmark = pytest.mark.timeout(900)  # a failure is made small for up to five minutes before it is told

TREE_OPTIONS = [
    {},
    {"only_path": True},
    {"recursive": False},
    {"recursive": False, "only_path": True},
    {"max_depth": 0},
    {"max_depth": 1},
    {"max_depth": 2, "only_path": True},
    {"max_depth": 1, "recursive": False},
]


def compare(index: PathIndex, oracle: OracleIndex) -> None:
    """Everything the two can be asked."""
    index._check()
    tree = index.tree_json()
    expected = oracle.tree()
    assert json.loads(tree) == expected
    assert tree == json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()
    assert b"".join(bytes(chunk) for chunk in index.tree_chunks()) == tree
    assert len(index) == len(oracle)
    assert index.snapshot_open == oracle.snapshot_open
    for path in oracle.directories():
        assert index.stats(path)[:3] == oracle.stats(path)[:3], path
    compare_oldest(index, oracle)


def compare_oldest(index: PathIndex, oracle: OracleIndex) -> None:
    found, expected = index.oldest_directory(), oracle.oldest_directory()
    if found is None or expected is None:
        assert found == expected
        return
    assert found[1] == expected[1]
    node = oracle.get(found[0])
    assert node is not None and node.is_dir and node.modified_time == found[1]


def as_tuple(node: Any) -> tuple[Any, ...] | None:
    """A node's fields; times by repr, so that -0.0 is not 0.0."""
    if node is None:
        return None
    times = (repr(node.modified_time), repr(node.created_time))
    return (node.path, node.name, node.is_dir, node.size, *times)


@dataclass
class Reading:
    """A tree that is read a node at a time while the index goes on."""

    pieces: Iterator[memoryview]
    expected: bytes
    found: bytes = b""

    def read(self, pieces: int | None = None) -> bool:
        """Read on; whether the end was reached, where all has to be as it was at the beginning."""
        got = [bytes(piece) for piece in islice(self.pieces, pieces)]
        self.found += b"".join(got)
        ended = pieces is None or len(got) < pieces
        assert self.expected == self.found if ended else self.expected.startswith(self.found)
        return ended


class Machine(RuleBasedStateMachine):
    hash_mask = 2**64 - 1

    @initialize(seed=st.integers(0, 2**64 - 1))
    def start(self, seed: int) -> None:
        self.index = PathIndex(seed=seed, _hash_mask=self.hash_mask)
        self.oracle = OracleIndex()
        self.readings: list[Reading] = []

    def both(self, change: Any) -> None:
        revision = self.index.revision
        mine, theirs = change(self.index), change(self.oracle)
        if isinstance(mine, int):
            assert mine == theirs
        elif mine is not None:
            assert tuple(mine)[:-1] == tuple(theirs)[:-1]
            assert mine.revision == self.index.revision
        assert self.index.revision >= revision

    @rule(
        source=st.sampled_from(["message", "snapshot"]), events=event_lists, end=st.booleans(), now=arrivals
    )
    def push(self, source: str, events: list[dict[str, Any]], end: bool, now: float) -> None:
        document = body(source, *events, end=end and source == "snapshot")
        self.both(lambda index: index.apply(document, now=now))

    @rule(events=event_lists, now=arrivals)
    def push_snapshot_rows(self, events: list[dict[str, Any]], now: float) -> None:
        document = body("snapshot", *events)
        self.both(lambda index: index.apply(document, now=now))

    @rule()
    def begin_snapshot(self) -> None:
        self.both(lambda index: index.begin_snapshot())

    @rule(rows=st.lists(some_rows(), max_size=8))
    def upsert(self, rows: list[dict[str, Any]]) -> None:
        keys = ("path", "size", "modified_time", "created_time", "is_dir")
        columns = [[row[key] for row in rows] for key in keys]
        self.both(lambda index: index.upsert(*columns))

    @rule(path=some_paths())
    def delete(self, path: str) -> None:
        self.both(lambda index: index.delete(path))

    @rule(data=st.data(), options=st.sampled_from(TREE_OPTIONS))
    def begin_reading(self, data: st.DataObject, options: dict[str, Any]) -> None:
        path = data.draw(st.sampled_from(self.oracle.directories()))
        expected = self.index.tree_json(path, **options)
        self.readings.append(Reading(self.index.tree_chunks(path, **options, _piece_bytes=1), expected))

    @precondition(lambda self: self.readings)
    @rule(data=st.data(), pieces=st.integers(1, 5))
    def read_on(self, data: st.DataObject, pieces: int) -> None:
        place = data.draw(self.places())
        if self.readings[place].read(pieces):
            del self.readings[place]

    @precondition(lambda self: self.readings)
    @rule(data=st.data())
    def give_up_reading(self, data: st.DataObject) -> None:
        del self.readings[data.draw(self.places())]

    def places(self) -> st.SearchStrategy[int]:
        """Places in the list of readings: a reading that is drawn itself would be kept for the report."""
        return st.integers(0, len(self.readings) - 1)

    def teardown(self) -> None:
        for reading in self.readings:
            reading.read()
        self.readings = []
        if hasattr(self, "index"):
            self.index._check()
            assert self.index.memory()["views"] == 0

    @rule(doit=st.integers(0, 5))
    def clear(self, doit: int) -> None:
        if doit == 0:
            self.both(lambda index: index.clear())

    @rule(path=some_paths(), options=st.sampled_from(TREE_OPTIONS))
    def look(self, path: str, options: dict[str, Any]) -> None:
        assert (path in self.index) == (path in self.oracle)
        assert as_tuple(self.index.get(path)) == as_tuple(self.oracle.get(path))
        if path not in self.oracle:
            for question in (self.index.tree_json, self.index.stats):
                with pytest.raises(KeyError):
                    question(path)
            return
        expected = self.oracle.tree_json(path, **options)
        assert self.index.tree_json(path, **options) == expected
        assert b"".join(bytes(chunk) for chunk in self.index.tree_chunks(path, **options)) == expected

    @rule(pattern=patterns)
    def search(self, pattern: str) -> None:
        expected = sorted(map(as_tuple, self.oracle.search(pattern)))
        assert sorted(map(as_tuple, self.index.search(pattern))) == expected
        documents = json.loads(self.index.search_json(pattern))
        wanted = json.loads(self.oracle.search_json(pattern))
        assert sorted(documents, key=repr) == sorted(wanted, key=repr)
        some = self.index.search(pattern, limit=2)
        assert len(some) == min(2, len(expected))
        assert set(map(as_tuple, some)) <= set(expected)

    @invariant()
    def same(self) -> None:
        if hasattr(self, "index"):
            compare(self.index, self.oracle)


TestMachine = Machine.TestCase
TestMachine.settings = settings(RELAXED, max_examples=100, stateful_step_count=25)


batches = st.lists(st.tuples(st.sampled_from(["message", "snapshot"]), event_lists), max_size=6)


def unordered(index: AnyIndex) -> Any:
    """The tree without the order of children, by names' bytes: the keys of raw names depend on that order."""

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        below = (plain(child) for child in node.get("children", {}).values())
        children = {(child["name"], child.get("raw_name")): child for child in below}
        return node | {"children": children}

    return plain(json.loads(index.tree_json()))


@pytest.mark.parametrize("make", [PathIndex, OracleIndex])
@given(before=batches, since=batches)
@settings(RELAXED, max_examples=150)
def test_after_its_end_only_the_snapshot_and_the_messages_since_it_began_count(
    make: Any, before: list[Any], since: list[Any]
) -> None:
    """Whatever was there before, the result is that of a fresh index; children may stand in another order."""
    old, fresh = make(), make()
    for source, events in before:
        old.apply(body(source, *events), now=100.0)
    old.begin_snapshot()
    old.apply(body("snapshot", end=True))  # tombstones of before would hide rows from one index only
    for source, events in before:
        old.apply(body(source, *[event for event in events if event["event_type"] != "delete"]))
    for index in (old, fresh):
        index.begin_snapshot()
        for source, events in since:
            index.apply(body(source, *events), now=100.0)
        assert index.apply(body("snapshot", end=True)).snapshot_ended
        index._check()
    assert unordered(old) == unordered(fresh)
    assert (
        old.oldest_directory() == fresh.oldest_directory()
        or old.oldest_directory()[1] == (fresh.oldest_directory()[1])
    )
    assert old.stats()[:3] == fresh.stats()[:3]


@given(name=any_name, other=any_name)
@settings(RELAXED, max_examples=300)
def test_any_name_comes_back_as_it_was(name: str, other: str) -> None:
    index = PathIndex()
    index.upsert([f"/in/{name}", f"/deeper/{other}/f"], [1, 2], [0.0, 0.0], [0.0, 0.0], [False, False])
    assert index.get(f"/in/{name}").name == name
    assert index.get(f"/deeper/{other}/f").path == f"/deeper/{other}/f"
    assert json.loads(index.tree_json("/deeper"))["children"][other]["path"] == f"/deeper/{other}"


@given(when=st.floats(allow_nan=False, allow_infinity=False), size=st.integers(0, 2**63 - 1))
@settings(RELAXED, max_examples=300)
def test_any_numbers_come_back_as_they_were(when: float, size: int) -> None:
    index = PathIndex()
    index.upsert(["/f"], [size], [when], [-when], [False])
    node = index.get("/f")
    assert (node.size, repr(node.modified_time), repr(node.created_time)) == (size, repr(when), repr(-when))
    text = f'"size":{size},"modified_time":{when!r},"created_time":{-when!r}}}'
    assert index.tree_json("/f").decode().endswith(text)


@given(before=event_lists, touched=some_paths(root=False), since=event_lists)
@settings(RELAXED, max_examples=100)
def test_the_version_of_a_subtree_changes_when_its_tree_does(
    before: list[Any], touched: str, since: list[Any]
) -> None:
    """A version that stands still promises that nothing below has changed."""
    index = PathIndex()
    oracle = OracleIndex()
    for one in (index, oracle):
        one.apply(body("message", *before), now=100.0)
    seen = {path: (index.stats(path).version, index.tree_json(path)) for path in oracle.directories()}
    for event in since:
        for one in (index, oracle):
            one.apply(body("message", event), now=100.0)
        for path in oracle.directories():
            version, tree = index.stats(path).version, index.tree_json(path)
            if path in seen and seen[path][1] != tree:
                assert version != seen[path][0], path
            seen[path] = (version, tree)


def test_the_version_of_a_sibling_subtree_stands_still() -> None:
    index = PathIndex()
    index.upsert(["/a/x/f", "/b/f"], [1, 1], [0.0, 0.0], [0.0, 0.0], [False, False])
    before = {path: index.stats(path).version for path in ("/", "/a", "/a/x", "/b")}
    index.upsert(["/a/x/f"], [2], [0.0], [0.0], [False])
    after = {path: index.stats(path).version for path in before}
    assert after["/b"] == before["/b"]
    assert all(after[path] > before[path] for path in ("/", "/a", "/a/x"))
    assert after["/"] == max(after.values()) <= index.revision
