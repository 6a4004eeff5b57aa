"""Pages, fields and lines of trees, against the slow oracle and while a writer changes the tree."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from service import Store, file, folder, refused, wrong_field
from twin import FIELDS, Twin, cut

ROWS = [
    folder("/d", 3.5),
    file("/d/a", 1, 20.25),
    folder("/d/e"),
    file("/d/e/g", 2),
    file("/d/b\udcff", 4),
    file("/d/ü", 5),
    file("/top", 3, 17.0),
]


@pytest.fixture
def twin(store: Store) -> Twin:
    twin = Twin(store)
    twin.ready(*ROWS)
    return twin


# Fields


@pytest.mark.parametrize(
    "fields",
    [
        "name",
        "path",
        "path,size",
        "size,path",
        "content_type",
        "modified_time,created_time",
        ",".join(FIELDS),
    ],
)
@pytest.mark.parametrize("shape", [{}, {"recursive": "false"}, {"max_depth": 1}, {"only_path": "true"}])
def test_fields(twin: Twin, fields: str, shape: dict[str, Any]) -> None:
    options = (
        {"only_path": True}
        if "only_path" in shape
        else {"recursive": False}
        if "recursive" in shape
        else shape
    )
    if shape == {"only_path": "true"} and not {"name", "content_type", "path"} & set(fields.split(",")):
        wrong_field(twin.get("tree", "/", fields=fields, **shape), "/fields")
        return
    expected = cut(twin.oracle.tree("/", **options), tuple(fields.split(",")))
    answer = twin.get("tree", "/", fields=fields, **shape)
    assert answer.text == json.dumps(expected, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("wrong", ["inode", "name,inode", "", ",", "Name"])
def test_wrong_fields_are_422(twin: Twin, wrong: str) -> None:
    wrong_field(twin.get("tree", fields=wrong), "/fields")


# Lines


@pytest.mark.parametrize("path", ["/", "/d", "/d/e", "/top", b"/d/b\xff"])
@pytest.mark.parametrize("depth", [None, 0, 1, 2])
def test_lines(twin: Twin, path: str, depth: int | None) -> None:
    shape = {} if depth is None else {"max_depth": depth}
    assert twin.found("tree", path, format="ndjson", **shape) == twin.lines(path, depth)


def test_lines_of_direct_children(twin: Twin) -> None:
    assert twin.found("tree", "/d", format="ndjson", recursive="false") == twin.lines("/d", 1)


def test_an_unknown_format_is_422(twin: Twin) -> None:
    wrong_field(twin.get("tree", format="xml"), "/format")


# Pages


@pytest.mark.parametrize("limit", [1, 2, 3, 10_000])
@pytest.mark.parametrize("shape", [{}, {"recursive": "false"}, {"max_depth": 1}, {"fields": "path"}])
def test_pages_of_a_directory(twin: Twin, limit: int, shape: dict[str, Any]) -> None:
    whole = twin.found("tree", "/d", **shape)
    pages = [answer.json() for answer in twin.pages("tree", "/d", limit=limit, **shape)]
    if isinstance(whole["children"], list):
        children: Any = [child for page in pages for child in page["children"]]
    else:
        children = {key: child for page in pages for key, child in page["children"].items()}
        assert list(children) == list(whole["children"])
    assert children == whole["children"]
    assert all(0 < len(page["children"]) <= limit for page in pages)
    assert all(page | {"children": 0} == whole | {"children": 0} for page in pages)


@pytest.mark.parametrize("limit", [1, 2, 3, 10_000])
@pytest.mark.parametrize("path", ["/", "/d", "/top"])
def test_pages_of_lines(twin: Twin, limit: int, path: str) -> None:
    lines = []
    for answer in twin.pages("tree", path, limit=limit, format="ndjson"):
        page = answer.text.split("\n")[:-1]
        assert 0 < len(page) <= limit
        lines += [json.loads(line) for line in page]
    assert lines == twin.lines(path)


def test_a_page_of_nothing_is_the_last(twin: Twin) -> None:
    twin.push(folder("/empty"))
    answer = twin.get("tree", "/empty", limit=5)
    assert answer.json()["children"] == {}
    assert "x-fusion-cursor" not in answer.headers
    assert "x-fusion-cursor" not in twin.get("tree", "/d", limit=4).headers


@pytest.mark.parametrize("wrong", ["0", "-1", "10001", "x", "1.5", ""])
def test_a_wrong_limit_is_422(twin: Twin, wrong: str) -> None:
    wrong_field(twin.get("tree", limit=wrong), "/limit")
    wrong_field(twin.get("search", pattern="a", limit=wrong), "/limit")


@pytest.mark.parametrize("wrong", ["x", "AAAA", "%00", "é", "a" * 500])
def test_a_wrong_cursor_is_422(twin: Twin, wrong: str) -> None:
    wrong_field(twin.get("tree", limit=1, cursor=wrong), "/cursor")
    wrong_field(twin.get("search", pattern="a", limit=1, cursor=wrong), "/cursor")


def test_a_cursor_of_another_question_is_422(twin: Twin) -> None:
    cursor = twin.get("tree", "/d", limit=1).headers["x-fusion-cursor"]
    wrong_field(twin.get("tree", "/", limit=1, cursor=cursor), "/cursor")
    wrong_field(twin.get("tree", "/d", limit=1, cursor=cursor, format="ndjson"), "/cursor")
    wrong_field(twin.get("search", pattern="a", limit=1, cursor=cursor), "/cursor")
    cursor = twin.get("search", pattern="d", match="path", limit=1, type="any").headers["x-fusion-cursor"]
    wrong_field(twin.get("search", pattern="e", match="path", limit=1, type="any", cursor=cursor), "/cursor")
    wrong_field(twin.get("tree", "/d", limit=1, cursor=cursor), "/cursor")


def test_a_cursor_of_an_index_made_anew_is_410(twin: Twin) -> None:
    cursor = twin.get("tree", "/", limit=1).headers["x-fusion-cursor"]
    twin.store.http.delete("/views/fs/reset")
    twin.push(*ROWS)
    refused(twin.get("tree", "/", limit=1, cursor=cursor), 410, "cursor_expired")


def test_a_cursor_can_be_used_again(twin: Twin) -> None:
    cursor = twin.get("tree", "/d", limit=1).headers["x-fusion-cursor"]
    first = twin.get("tree", "/d", limit=1, cursor=cursor)
    again = twin.get("tree", "/d", limit=1, cursor=cursor)
    assert first.json() == again.json()


# Pages while the tree changes

NAMES = [f"n{number:02}" for number in range(40)]


class Meanwhile:
    """Which nodes were there, the same, all the time."""

    def __init__(self, twin: Twin, path: str) -> None:
        self.twin, self.path = twin, path
        self._entries = {id(entry): entry for entry in self.entries()}

    def entries(self) -> list[Any]:
        return list(self.twin.entry(self.path).walk())

    def look(self) -> None:
        """Something may have changed. An entry of the oracle is an object of its own until it is deleted."""
        now = {id(entry) for entry in self.entries()}
        self._entries = {key: entry for key, entry in self._entries.items() if key in now}

    def paths(self) -> list[str]:
        """In their order."""
        kept = {id(entry) for entry in self._entries.values()}
        return [entry.path.decode() for entry in self.entries() if id(entry) in kept]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("format", ["json", "ndjson"])
def test_pages_neither_repeat_nor_skip_what_stays(store: Store, format: str, seed: int) -> None:
    chance = random.Random(f"{format}-{seed}")
    twin = Twin(store)
    twin.ready(*(file(f"/wide/{name}", number) for number, name in enumerate(NAMES)), file("/other"))
    for _ in range(3):
        twin.stir(chance, "/wide", NAMES)
    meanwhile = Meanwhile(twin, "/wide")
    found: list[str] = []
    for answer in twin.pages("tree", "/wide", limit=chance.randrange(1, 9), format=format):
        if format == "json":
            found += [child["path"] for child in answer.json()["children"].values()]
        else:
            found += [json.loads(line)["path"] for line in answer.text.split("\n")[:-1]]
        last = found[-1] if found else None
        if last is not None and chance.random() < 0.3:  # the worst that can happen to a cursor
            twin.delete(last)
            if chance.random() < 0.5:
                twin.push(file(last, 77))
        twin.stir(chance, "/wide", NAMES)
        meanwhile.look()
    expected = meanwhile.paths()
    if format == "json":
        expected = [path for path in expected if path.count("/") == 2]
    kept = set(expected)
    assert [path for path in found if path in kept] == expected


@pytest.mark.parametrize("seed", range(8))
def test_search_pages_neither_repeat_nor_skip_what_stays(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    twin = Twin(store)
    twin.ready(
        *(file(f"/wide/{name}", chance.randrange(50), number / 2) for number, name in enumerate(NAMES))
    )
    sort, order = chance.choice(("name", "path", "size", "modified_time")), chance.choice(("asc", "desc"))
    before = {node["path"]: node for node in twin.found("search", pattern="n")}
    kept = dict(before)
    found: list[str] = []
    for answer in twin.pages("search", pattern="n", sort=sort, order=order, limit=chance.randrange(1, 9)):
        found += [node["path"] for node in answer.json()]
        twin.stir(chance, "/wide", NAMES)
        now = {node["path"]: node for node in twin.found("search", pattern="n")}
        kept = {path: node for path, node in kept.items() if now.get(path) == node}
    assert sorted(path for path in found if path in kept) == sorted(kept)
