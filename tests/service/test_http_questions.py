"""What people ask: sums, search with filters, usage and histograms, against the slow oracle."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from oracle import Entry
from service import Store, file, folder, refused, wrong_field
from twin import Twin, shown

NOW = time.time()
DAY = 86_400.0


def rows(chance: random.Random) -> list[dict[str, Any]]:
    names = ["alpha", "Beta", "gamma.txt", "DELTA.TXT", "ünder", "b\udcff", "a*b", "x y"]
    found: list[dict[str, Any]] = []
    for _ in range(60):
        path = "".join(f"/{chance.choice(names)}" for _ in range(chance.randrange(1, 4)))
        size, age = chance.choice([0, 1, 5, 4096, 2**40, 2**62]), chance.choice([0.1, 3, 40, 400, 4000])
        found.append(
            file(path, size, NOW - age * DAY) if chance.random() < 0.7 else folder(path, NOW - age * DAY)
        )
    return found


@pytest.fixture(params=range(3))
def twin(store: Store, request: pytest.FixtureRequest) -> Twin:
    twin = Twin(store)
    twin.ready(*rows(random.Random(request.param)))
    return twin


@pytest.fixture
def simple(store: Store) -> Twin:
    twin = Twin(store)
    twin.ready(
        folder("/d", 3.5), file("/d/a", 1, 20.25), folder("/d/e"), file("/d/e/g", 2), file("/top", 3, 17.0)
    )
    return twin


# Sums


def test_the_sums_of_every_directory_and_file(twin: Twin) -> None:
    for entry in twin.oracle.root.walk():
        expected = twin.oracle.stats(entry.path)
        found = twin.found("stats", entry.path)
        assert isinstance(found.pop("newest_change"), int)
        assert found == {
            "path": shown(entry.path),
            "content_type": "directory" if entry.is_dir else "file",
            "files": expected.files,
            "directories": expected.directories,
            "bytes": expected.bytes,
        }


def test_the_newest_change_is_the_revision_of_a_push(simple: Twin) -> None:
    before = simple.found("stats", "/d")["newest_change"]
    simple.push(file("/top", 9))
    assert simple.found("stats", "/d")["newest_change"] == before
    revision = simple.push(file("/d/e/g", 3))
    assert simple.found("stats", "/d")["newest_change"] == revision
    assert simple.found("stats", "/")["newest_change"] == revision


def test_sums_of_nothing_are_404(simple: Twin) -> None:
    refused(simple.get("stats", "/none"), 404, "path_not_found")


def test_statistics_of_the_datastore(simple: Twin) -> None:
    revision = simple.push(file("/new", 10))
    found = simple.found("stats")
    assert found["bytes_per_node"] > 80
    del found["bytes_per_node"]
    assert found == {
        "total_files": 4,
        "total_directories": 3,
        "total_bytes": 16,
        "last_event_latency_ms": 0.0,
        "oldest_directory": {"path": "/d/e", "timestamp": 0.0},
        "state": "ready",
        "queue": 0,
        "inflight": 0,
        "revision": revision,
        "nodes": 7,
        "sessions": 1,
    }


# Search

FILTERS: list[dict[str, Any]] = [
    {},
    {"type": "directory"},
    {"type": "any"},
    {"min_size": 5},
    {"max_size": 4096},
    {"min_size": 1, "max_size": 1},
    {"modified_after": NOW - 50 * DAY},
    {"modified_before": NOW - 50 * DAY},
    {"type": "any", "min_size": 0, "modified_after": 0, "modified_before": NOW},
]


@pytest.mark.parametrize("pattern", ["a", "TXT", "*.txt", "ü", "[ab]*", "?eta", " ", "zzz"])
@pytest.mark.parametrize("match", ["name", "path"])
def test_search(twin: Twin, pattern: str, match: str) -> None:
    for filters in FILTERS:
        answer = twin.get("search", pattern=pattern, match=match, **filters)
        expected = sorted(
            (twin.node(entry.path) for entry in twin.matches(pattern, match=match, **filters)), key=str
        )
        assert sorted(answer.json(), key=str) == expected
        assert answer.headers["x-total-count"] == str(len(expected))


def test_search_below_a_path(twin: Twin) -> None:
    for entry in list(twin.oracle.root.walk()):
        found = twin.found("search", entry.path, pattern="a", type="any")
        expected = twin.matches("a", path=entry.path, type="any")  # type: ignore[arg-type]
        assert sorted(node["path"] for node in found) == sorted(shown(match.path) for match in expected)


KEYS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name,
    "path": lambda entry: entry.path,
    "size": lambda entry: entry.size,
    "modified_time": lambda entry: entry.mtime,
}


@pytest.mark.parametrize("sort", list(KEYS))
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_search_in_order_and_in_pages(twin: Twin, sort: str, order: str) -> None:
    entries = sorted(twin.matches("a", type="any"), key=lambda entry: entry.path)
    entries.sort(key=KEYS[sort], reverse=order == "desc")  # those that are equal stay by path
    expected = [twin.node(entry.path) for entry in entries]
    assert twin.found("search", pattern="a", type="any", sort=sort, order=order) == expected
    for limit in (1, 3, 1000):
        pages = list(twin.pages("search", pattern="a", type="any", sort=sort, order=order, limit=limit))
        assert [node for page in pages for node in page.json()] == expected
        assert {page.headers["x-total-count"] for page in pages} == {str(len(expected))}
        assert all(len(page.json()) == limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("match", "regex"),
        ("type", "link"),
        ("sort", "age"),
        ("order", "up"),
        ("min_size", "-1"),
        ("max_size", str(2**63)),
        ("min_size", "1k"),
        ("modified_after", "nan"),
        ("modified_before", "inf"),
        ("modified_after", "yesterday"),
        ("path", "/a\0b"),
    ],
)
def test_wrong_filters_are_422(simple: Twin, parameter: str, wrong: str) -> None:
    wrong_field(simple.get("search", pattern="a", **{parameter: wrong}), f"/{parameter}")


def test_search_below_nothing_is_404(simple: Twin) -> None:
    refused(simple.get("search", "/none", pattern="a"), 404, "path_not_found")


# Usage


def test_usage(twin: Twin) -> None:
    for entry in twin.oracle.root.walk():
        for top in (1, 3, 1000):
            found = twin.found("du", entry.path, top=top)
            sums = twin.oracle.stats(entry.path)
            assert (found["path"], found["files"], found["directories"], found["bytes"]) == (
                shown(entry.path), sums.files, sums.directories, sums.bytes,
            )  # fmt: skip
            files = [below for below in entry.walk() if not below.is_dir]
            files.sort(key=lambda below: (-below.size, below.path))
            assert found["largest_files"] == [twin.node(below.path) for below in files[:top]]
            children = []
            for child in entry.children.values():
                below = twin.oracle.stats(child.path)
                children.append((-below.bytes, child.path, child, below))
            children.sort(key=lambda each: each[:2])
            assert found["largest_children"] == [
                {
                    "name": shown(child.name),
                    "path": shown(child.path),
                    "content_type": "directory" if child.is_dir else "file",
                    "bytes": below.bytes,
                    "files": below.files,
                    "directories": below.directories,
                    **{key: text for key, text in twin.node(child.path).items() if key == "raw_name"},
                }
                for _, _, child, below in children[:top]
            ]


@pytest.mark.parametrize("wrong", ["0", "1001", "-1", "x"])
def test_a_wrong_top_is_422(simple: Twin, wrong: str) -> None:
    wrong_field(simple.get("du", top=wrong), "/top")


# Histograms


@pytest.mark.parametrize("by", ["size", "age"])
def test_histograms(twin: Twin, by: str) -> None:
    for entry in twin.oracle.root.walk():
        before = time.time()
        found = twin.found("histogram", entry.path, by=by)
        after = time.time()
        files = [below for below in entry.walk() if not below.is_dir]
        assert (found["path"], found["by"]) == (shown(entry.path), by)
        assert found["files"] == len(files) == sum(bucket["files"] for bucket in found["buckets"])
        assert found["bytes"] == sum(below.size for below in files)
        ends = [(bucket["from"], bucket["to"]) for bucket in found["buckets"]]
        assert all(one[1] == other[0] for one, other in pairwise(ends))
        assert ends[-1][1] is None
        for bucket in found["buckets"]:
            counted = 0
            for below in files:
                values = [below.size] if by == "size" else [before - below.mtime, after - below.mtime]
                counted += all(
                    (bucket["from"] is None or value >= bucket["from"])
                    and (bucket["to"] is None or value < bucket["to"])
                    for value in values
                )
            assert bucket["files"] == counted


def test_a_histogram_of_nothing_is_404(simple: Twin) -> None:
    refused(simple.get("histogram", "/none"), 404, "path_not_found")
    refused(simple.get("du", "/none"), 404, "path_not_found")


def test_a_wrong_kind_of_histogram_is_422(simple: Twin) -> None:
    wrong_field(simple.get("histogram", by="name"), "/by")
