"""Trees in pages: together the whole; beside changes they repeat nothing and leave out nothing that stays."""

from __future__ import annotations

import base64
import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from bodies import body, deletes, directory, file, upserts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle import Entry, OracleIndex, Row, dumped, shown
from test_machine import RELAXED
from test_tree_fields import DEPTHS, MIXED
from test_tree_json import both, files

from fusion import PathIndex
from fusion.errors import CursorExpired, InvalidField

FORMATS = ["json", "ndjson"]
ANCHORS = 1 << 16  # that the engine keeps


def pages(index: PathIndex, path: str | bytes = "/", *, limit: int, **options: Any) -> list[bytes]:
    """All pages of a tree that stands still."""
    found = []
    cursor = None
    while True:
        page = index.tree_chunks(path, limit=limit, cursor=cursor, **options)
        again = index.tree_chunks(path, limit=limit, cursor=cursor, **options, _piece_bytes=1)
        found.append(page.read())
        assert again.read() == found[-1] and page.nodes == again.nodes
        assert (again.cursor is None) == (page.cursor is None)
        cursor = page.cursor
        if cursor is None:
            return found


def as_pages(items: list[Any], limit: int) -> list[list[Any]]:
    return [items[start : start + limit] for start in range(0, len(items), limit)] or [[]]


def expected_pages(oracle: OracleIndex, path: str | bytes, limit: int, **options: Any) -> list[bytes]:
    """The same by cutting the whole."""
    if options.pop("format", "json") == "ndjson":
        found = [dumped(document) + b"\n" for document in oracle.lines(path, **options)]
        return [b"".join(page) for page in as_pages(found, limit)]
    tree = oracle.tree(path, **options)
    children = tree.get("children")
    if children is None:
        return [dumped(tree)]
    if isinstance(children, list):
        return [dumped(tree | {"children": page}) for page in as_pages(children, limit)]
    return [dumped(tree | {"children": dict(page)}) for page in as_pages(list(children.items()), limit)]


@pytest.mark.parametrize("format", FORMATS)
def test_pages_are_the_whole_in_parts(format: str) -> None:
    rows = [
        *MIXED,
        *files(b"/\xff", "/\ufffd\ufffd", b"/\xfe", b"/\xfd\xfc", b"/a\xff", "/a\ufffd\ufffd", "/z"),
    ]
    index, oracle = both(rows)
    for path in [entry.path for entry in oracle.root.walk()]:
        for options in [*DEPTHS, {"only_path": True}, {"fields": ["path", "created_time"]}]:
            for limit in (1, 2, 3, 5, 100):
                expected = expected_pages(oracle, path, limit, format=format, **options)
                assert pages(index, path, limit=limit, format=format, **options) == expected, (path, options)
    index._check()


@pytest.mark.parametrize("format", FORMATS)
def test_a_cursor_without_a_limit_gives_all_the_rest(format: str) -> None:
    index, oracle = both(MIXED)
    first = index.tree_chunks(limit=2, format=format)
    rest = index.tree_chunks(cursor=first.cursor, format=format)
    assert rest.cursor is None
    if format == "ndjson":
        assert first.read() + rest.read() == index.tree_chunks(format=format).read()
    else:
        documents = [json.loads(first.read()), json.loads(rest.read())]
        assert documents[0]["children"] | documents[1]["children"] == oracle.tree()["children"]
        assert list(documents[0]["children"]) + list(documents[1]["children"]) == list(
            oracle.tree()["children"]
        )


@pytest.mark.parametrize("format", FORMATS)
def test_a_wide_directory(format: str) -> None:
    """More than a piece in a page, more pages than one."""
    index = PathIndex()
    count = 100_000
    index.upsert(
        [f"/d/file-{n}" for n in range(count)], [1] * count, [1.5] * count, [1.5] * count, [False] * count
    )
    names: list[str] = []
    cursor = None
    while True:
        page = index.tree_chunks(
            "/d", recursive=False, limit=10_000, cursor=cursor, format=format, only_path=True
        )
        assert page.whole is None
        cursor, text = page.cursor, page.read()
        documents = (
            [json.loads(line) for line in text.splitlines()]
            if format == "ndjson"
            else json.loads(text)["children"]
        )
        names += [document["name"] for document in documents]
        assert page.nodes == len(documents) + (format == "json")
        if cursor is None:
            break
    assert names == ["d"] * (format == "ndjson") + [f"file-{n}" for n in range(count)]


def test_a_deep_chain() -> None:
    """Its cursors stay short, and are good while everything, or the innermost directories, stand."""
    index = PathIndex()
    deep = "/" + "d" * 9
    index.upsert([deep * 3000, "/top/f"], [1, 1], [2.5] * 2, [3.5] * 2, [False] * 2)
    found = b"".join(pages(index, limit=100, format="ndjson", fields=["path"]))
    assert found == index.tree_chunks(format="ndjson", fields=["path"]).read()
    page = index.tree_chunks(limit=2000, format="ndjson", fields=["path"])
    assert page.cursor is not None and len(page.cursor) < 4000
    index.delete("/top")
    rest = index.tree_chunks(cursor=page.cursor, format="ndjson", fields=["path"]).read()
    assert [len(json.loads(line)["path"]) // 10 for line in rest.splitlines()] == list(range(2000, 3001))
    index.delete(deep * 1990)  # the nearest ones know what stood before it
    assert index.tree_chunks(cursor=page.cursor, format="ndjson").read() == b""
    index.delete(deep * 5)
    with pytest.raises(CursorExpired):
        index.tree_chunks(cursor=page.cursor, format="ndjson")
    index._check()


@pytest.mark.parametrize("format", FORMATS)
def test_what_comes_and_goes_between_two_pages(format: str) -> None:
    index = PathIndex()

    def put(*names: str) -> None:
        count = len(names)
        index.upsert(
            [f"/d/{name}" for name in names], [1] * count, [0.0] * count, [0.0] * count, [False] * count
        )

    def names(page: Any) -> list[str]:
        text = page.read()
        if format == "json":
            return list(json.loads(text)["children"])
        lines = [json.loads(line) for line in text.splitlines()]
        return [line["name"] for line in lines if line["path"] != "/d"]

    def page(limit: int, cursor: str | None = None) -> Any:
        return index.tree_chunks(
            "/d", limit=limit + (format == "ndjson" and cursor is None), cursor=cursor, format=format
        )

    put("a", "b", "c", "d", "e")
    first = page(2)
    cursor = first.cursor
    assert names(first) == ["a", "b"]
    assert names(page(9, cursor)) == names(page(9, cursor)) == ["c", "d", "e"]
    put("f", "c")  # a new one, an update
    assert names(page(9, cursor)) == ["c", "d", "e", "f"]
    index.delete("/d/b")  # the last one that was sent
    assert names(page(9, cursor)) == ["c", "d", "e", "f"]
    put("b")
    assert names(page(9, cursor)) == ["c", "d", "e", "f", "b"]
    index.delete("/d/a")  # now the place is before the first
    index.delete("/d/c")
    assert names(page(9, cursor)) == ["d", "e", "f", "b"]
    put("a", "g")
    second = page(3, cursor)
    assert names(second) == ["d", "e", "f"]
    for name in "defbag":
        index.delete(f"/d/{name}")
    assert names(page(9, cursor)) == names(page(9, second.cursor)) == []
    put("h")
    assert names(page(9, cursor)) == names(page(9, second.cursor)) == ["h"]
    index._check()
    index.delete("/d")
    with pytest.raises(KeyError):
        page(9, cursor)
    put("h")
    with pytest.raises(CursorExpired):
        page(9, cursor)
    index._check()


def test_lines_go_on_behind_a_directory_that_went() -> None:
    index = PathIndex()
    paths = ["/a/x/1", "/a/x/2", "/a/y/1", "/b/1"]
    index.upsert(paths, [1] * 4, [0.0] * 4, [0.0] * 4, [False] * 4)
    expected = ["/", "/a", "/a/x", "/a/x/1", "/a/x/2", "/a/y", "/a/y/1", "/b", "/b/1"]

    def found(page: Any) -> list[str]:
        return [json.loads(line)["path"] for line in page.read().splitlines()]

    def cursor_after(count: int) -> str:
        page = index.tree_chunks(format="ndjson", limit=count)
        assert found(page) == expected[:count]
        assert page.cursor is not None
        return page.cursor

    cursors = [cursor_after(count) for count in range(1, 9)]
    index.delete("/a/x")
    rest = [found(index.tree_chunks(format="ndjson", cursor=cursor)) for cursor in cursors]
    for count, lines in enumerate(rest, 1):
        assert lines == [path for path in expected[count:] if not path.startswith("/a/x")], count
    index.upsert(["/a/x/2"], [1], [0.0], [0.0], [False])  # made again: it is at the end of its directory
    assert found(index.tree_chunks(format="ndjson", cursor=cursors[3])) == [
        "/a/y", "/a/y/1", "/a/x", "/a/x/2", "/b", "/b/1"]  # fmt: skip
    index.upsert(["/a"], [1], [0.0], [0.0], [False])  # a file now
    assert found(index.tree_chunks(format="ndjson", cursor=cursors[3])) == ["/b", "/b/1"]
    index.delete("/a")
    assert found(index.tree_chunks(format="ndjson", cursor=cursors[3])) == ["/b", "/b/1"]
    index._check()


@pytest.mark.parametrize("format", FORMATS)
def test_cleared_and_other_indexes_know_no_cursor(format: str, tmp_path: Any) -> None:
    index, _ = both(MIXED)
    cursor = index.tree_chunks(limit=3, format=format).cursor
    index.save(tmp_path / "saved")
    loaded = PathIndex.load(tmp_path / "saved")
    other, _ = both(MIXED)
    index.clear()
    for one in (index, loaded, other):
        with pytest.raises(CursorExpired) as raised:
            one.tree_chunks(cursor=cursor, format=format)
        assert (raised.value.status, raised.value.code) == (410, "cursor_expired")
        assert "without a cursor" in raised.value.detail
        one._check()


@pytest.mark.parametrize("format", FORMATS)
def test_thousands_of_younger_cursors(format: str) -> None:
    """They overwrite the anchors: what stands as it was is found by its path, else the cursor has expired."""
    index, _ = both(files("/d/a", "/d/b", "/d/c", "/e"))
    young: list[str] = []
    old = index.tree_chunks("/d", limit=2, format=format)
    rest = index.tree_chunks("/d", cursor=old.cursor, format=format).read()
    for _ in range(ANCHORS):
        young.append(index.tree_chunks("/d", limit=1, format=format).cursor)
    index._check()
    index.delete("/e")
    assert index.tree_chunks("/d", cursor=old.cursor, format=format).read() == rest
    index.upsert(["/d/a"], [9], [0.0], [0.0], [False])
    with pytest.raises(CursorExpired):
        index.tree_chunks("/d", cursor=old.cursor, format=format)
    assert b'"b"' in index.tree_chunks("/d", cursor=young[-1], format=format).read()
    assert index.memory()["anchors"] > 0
    index.delete("/d")
    index._check()


def test_a_cursor_is_good_for_its_request_only() -> None:
    index, _ = both(MIXED)
    cursor = index.tree_chunks("/a", limit=1).cursor
    assert index.tree_chunks("/x/../a/", cursor=cursor, only_path=True, limit=7).read()
    others: list[tuple[str, dict[str, Any]]] = [("/", {}), ("/g", {})]
    others += [("/a", {"format": "ndjson"}), ("/a", {"recursive": False}), ("/a", {"max_depth": 3})]
    for path, options in others:
        with pytest.raises(InvalidField) as raised:
            index.tree_chunks(path, cursor=cursor, **options)
        assert raised.value.pointer == "/cursor"
    with pytest.raises(KeyError):
        index.tree_chunks("/nothing", limit=1)


def test_what_is_no_cursor_is_refused() -> None:
    index, _ = both(MIXED)
    choose = random.Random(5)
    for format in FORMATS:
        cursor = index.tree_chunks(limit=4, format=format).cursor
        assert cursor is not None and cursor.replace("-", "").replace("_", "").isalnum()
        raw = base64.urlsafe_b64decode(cursor + "==")
        damaged = ["", "a", "ab", "=", cursor + "=", cursor + "\n", cursor[:-1], cursor[1:], cursor + "AAAA"]
        damaged += ["é" * 60, "/" * 64, "A" * 64, "A" * 63, "A" * 100_000, cursor.encode().hex()]
        for place in range(len(raw)):
            other = bytearray(raw)
            other[place] ^= 1 << choose.randrange(8)
            damaged.append(base64.urlsafe_b64encode(other).decode().rstrip("="))
        for wrong in damaged:
            with pytest.raises(InvalidField) as raised:
                index.tree_chunks(cursor=wrong, format=format)
            assert raised.value.pointer == "/cursor"
        index.tree_chunks(cursor=cursor, format=format)
    for wrong in (b"abc", 7, []):
        with pytest.raises(TypeError):
            index.tree_chunks(cursor=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1, 10_001, 2**40, True, 1.0, "7"])
def test_bad_limits_are_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit: an integer from 1 to 10000"):
        PathIndex().tree_chunks(limit=limit)


@pytest.mark.parametrize("format", FORMATS)
def test_a_page_that_is_read_while_the_tree_changes_is_of_one_instant(format: str) -> None:
    rows = [*MIXED, *files(*(f"/many/{n}" for n in range(50)))]
    for limit in (1, 3, 20):
        for nth, expected in enumerate(expected_pages(both(rows)[1], "/", limit, format=format)):
            index, _ = both(rows)
            cursor = index.tree_chunks(limit=nth * limit, format=format).cursor if nth else None
            page = index.tree_chunks(limit=limit, cursor=cursor, format=format, _piece_bytes=1)
            found = bytes(next(page))
            index.clear()
            index.upsert(["/a/other", "/zz"], [1, 1], [0.0] * 2, [0.0] * 2, [False] * 2)
            assert found + page.read() == expected
            index._check()


def test_pages_beside_a_writer() -> None:
    """Several readers page through what stays while it is churned all around."""
    index = PathIndex()
    stay = [f"/d/{n % 5}/stay-{n}" for n in range(300)]
    churn = [f"/d/{n % 7}/churn-{n}" for n in range(300)]

    def put(paths: list[str]) -> None:
        count = len(paths)
        index.upsert(paths, [1] * count, [0.0] * count, [0.0] * count, [False] * count)

    mixed = [path for pair in zip(stay, churn, strict=True) for path in pair]
    put(mixed)
    wrong: list[Any] = []
    ended = threading.Event()

    def read_all(format: str, limit: int) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = index.tree_chunks("/d", format=format, limit=limit, cursor=cursor)
            text, cursor = page.read(), page.cursor
            if format == "ndjson":
                found += [json.loads(line)["path"] for line in text.splitlines()]
            else:
                for child in json.loads(text)["children"].values():
                    found += [below["path"] for below in child["children"].values()]
            if cursor is None:
                return found

    def read(format: str, limit: int) -> None:
        while not ended.is_set():
            try:
                kept = [path for path in read_all(format, limit) if "stay" in path]
            except CursorExpired:
                continue  # this thread had to wait for too long
            if sorted(kept) != sorted(stay):
                wrong.append(set(kept) ^ set(stay))
                return

    threads = [threading.Thread(target=read, args=(format, limit)) for format in FORMATS for limit in (1, 20)]
    for thread in threads:
        thread.start()
    choose = random.Random(1)
    for _ in range(40):
        index.apply(body("message", deletes(*choose.sample(churn, 20))))
        put(choose.sample(churn, 20))
        index._check()
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- random histories between the pages ----

NAMES = ["a", "b", "c", "d", "\udcff"]  # shown differently, so that what is shown tells the node
some_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
some_rows = st.builds(
    lambda path, mtime, is_dir: (directory if is_dir else file)(path, mtime),
    some_paths,
    st.sampled_from([50.0, 100.0, 200.0]),
    st.booleans(),
)


class Witness(OracleIndex):
    """Notes which directories became files in between: what stood in them is gone for good."""

    def _write(self, row: Row) -> Entry:
        entry = self._find(row.path)
        if entry is not None and entry.is_dir and not row.is_dir:
            entry.losses = losses(entry) + 1  # type: ignore[attr-defined]
        return super()._write(row)


def losses(entry: Entry) -> int:
    return getattr(entry, "losses", 0)


@dataclass
class Paging:
    """A client that asks for page after page."""

    path: bytes
    format: str
    options: dict[str, Any]
    top: Entry
    losses: int
    version: int
    began_with: list[Entry]
    cursor: str | None = None
    sent: list[Entry] = field(default_factory=list)


class PagingMachine(RuleBasedStateMachine):
    @initialize(paths=st.lists(some_paths, min_size=10, max_size=40))
    def start(self, paths: list[str]) -> None:
        self.index, self.oracle = PathIndex(), Witness()
        self.pagings: list[Paging] = []
        self.push([upserts(*(file(path, 100.0) for path in paths))], "message", False)

    def push(self, events: list[dict[str, Any]], source: str, end: bool) -> None:
        document = body(source, *events, end=end)
        mine, theirs = self.index.apply(document, now=100.0), self.oracle.apply(document, now=100.0)
        assert tuple(mine)[:-1] == tuple(theirs)[:-1]

    @rule(
        rows=st.lists(some_rows, min_size=1, max_size=6),
        source=st.sampled_from(["message", "message", "snapshot"]),
    )
    def write(self, rows: list[dict[str, Any]], source: str) -> None:
        self.push([upserts(*rows)], source, False)

    @rule(paths=st.lists(some_paths, min_size=1, max_size=3), source=st.sampled_from(["message", "snapshot"]))
    def delete(self, paths: list[str], source: str) -> None:
        self.push([deletes(*paths)], source, False)

    @rule(rows=st.lists(some_rows, min_size=1, max_size=4))
    def delete_and_make_again(self, rows: list[dict[str, Any]]) -> None:
        self.push([deletes(*(row["path"] for row in rows)), upserts(*rows)], "message", False)

    @rule(data=st.data())
    def delete_what_was_sent_last(self, data: st.DataObject) -> None:
        sent = [paging.sent[-1] for paging in self.pagings if paging.sent and paging.sent[-1].parent]
        if sent:
            entry = sent[data.draw(st.integers(0, len(sent) - 1))]
            self.push([deletes(entry.path.decode("utf-8", "surrogateescape"))], "message", False)

    @rule(data=st.data())
    def sweep(self, data: st.DataObject) -> None:
        """A whole snapshot that carries most of what is there."""
        kept = [entry for entry in self.oracle.root.below() if data.draw(st.integers(0, 4))]
        rows = [
            (directory if entry.is_dir else file)(entry.path.decode("utf-8", "surrogateescape"), 300.0)
            for entry in kept
        ]
        self.push([upserts(*rows)], "snapshot", True)

    @rule(doit=st.integers(0, 9))
    def clear(self, doit: int) -> None:
        if doit == 0:
            self.index.clear()
            self.oracle.clear()

    # --- pages

    def scope(self, path: bytes, top: Entry, format: str, options: dict[str, Any]) -> list[Entry]:
        """What the pages have to show, as it is now."""
        if format == "json":
            return list(top.children.values()) if options.get("max_depth") != 0 else []
        by_path = {shown(entry.path): entry for entry in top.walk()}
        return [by_path[line["path"]] for line in self.oracle.lines(path, **options)]

    @rule(
        data=st.data(),
        format=st.sampled_from(FORMATS),
        options=st.sampled_from(DEPTHS),
        limit=st.integers(1, 6),
    )
    def begin(self, data: st.DataObject, format: str, options: dict[str, Any], limit: int) -> None:
        path = data.draw(st.sampled_from([b"/", b"/", b"/", *self.oracle.directories()]))
        top = self.oracle._find(path)
        assert top is not None
        paging = Paging(path, format, options, top, losses(top), 0, self.scope(path, top, format, options))
        self.page(paging, limit)
        if paging.cursor is not None:
            self.pagings.append(paging)

    def places(self) -> st.SearchStrategy[int]:
        return st.integers(0, len(self.pagings) - 1)

    @precondition(lambda self: self.pagings)
    @rule(data=st.data(), limit=st.sampled_from([1, 1, 2, 3, 5, None]))
    def go_on(self, data: st.DataObject, limit: int | None) -> None:
        place = data.draw(self.places())
        paging = self.pagings[place]
        if not self.is_lost(paging):
            self.page(paging, limit)
            if paging.cursor is None:
                del self.pagings[place]
            return
        del self.pagings[place]
        expected: type[Exception] = CursorExpired if paging.path in self.oracle else KeyError
        with pytest.raises(expected):
            self.index.tree_chunks(paging.path, format=paging.format, cursor=paging.cursor, **paging.options)

    def is_lost(self, paging: Paging) -> bool:
        """Whether the directory at the top is not the one any more that the pages began with."""
        return self.oracle._find(paging.path) is not paging.top or losses(paging.top) != paging.losses

    def page(self, paging: Paging, limit: int | None) -> None:
        ask = {"format": paging.format, "limit": limit, "cursor": paging.cursor, **paging.options}
        page = self.index.tree_chunks(paging.path, **ask)
        text = page.read()
        again = self.index.tree_chunks(paging.path, **ask, _piece_bytes=1)
        assert again.read() == text
        if paging.format == "ndjson":
            shows = [json.loads(line) for line in text.splitlines()]
            whole = {shown(entry.path): entry for entry in paging.top.walk()}
            assert [dumped(line) for line in shows] == [
                dumped(self.oracle._document(whole[line["path"]], 0, set(line))) for line in shows
            ]
        else:
            tree, expected = json.loads(text), self.oracle.tree(paging.path, **paging.options)
            children, all_children = tree.pop("children", []), expected.pop("children", [])
            assert tree == expected
            if isinstance(children, dict):
                assert list(children.items()) == [(key, all_children[key]) for key in children]
                children = list(children.values())
            else:
                assert all(child in all_children for child in children)
            shows = children
            whole = {shown(entry.path): entry for entry in paging.top.children.values()}
        assert limit is None or len(shows) <= limit
        paging.sent += [whole[node["path"]] for node in shows]
        paging.cursor = page.cursor if len(shows) % 2 else again.cursor  # each is as good
        assert len(set(map(id, paging.sent))) == len(paging.sent), "something was sent twice"
        if paging.cursor is None:
            self.judge(paging)

    def judge(self, paging: Paging) -> None:
        now = self.scope(paging.path, paging.top, paging.format, paging.options)
        there, sent = set(map(id, now)), set(map(id, paging.sent))
        stayed = [entry for entry in paging.began_with if id(entry) in there]
        missing = [entry.path for entry in stayed if id(entry) not in sent]
        assert not missing, "something that stayed was left out"
        stayed_ids = set(map(id, stayed))
        order = [entry.path for entry in now if id(entry) in stayed_ids]
        assert [entry.path for entry in paging.sent if id(entry) in stayed_ids] == order
        if paging.format == "json":
            assert there <= sent, "something new was left out"

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "index"):
            self.index._check()

    def teardown(self) -> None:
        if not hasattr(self, "index"):
            return
        for paging in self.pagings:
            if not self.is_lost(paging):
                self.page(paging, None)
        assert self.index.tree_json() == self.oracle.tree_json()


TestPagingMachine = PagingMachine.TestCase
TestPagingMachine.settings = settings(RELAXED, max_examples=150, stateful_step_count=40)
