"""A slow and obvious twin of `fusion.PathIndex` in plain Python: what the compiled index must answer.

Nothing here is clever. Nodes are objects, children are dicts in insertion order, statistics are counted by
walking the tree, tombstones are a dict that is looked through for each row. Bodies must be valid:
checking the wire format is not the oracle's business.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
REPLACEMENT = "\ufffd"
FIELDS = ("name", "content_type", "path", "size", "modified_time", "created_time")


class Node(NamedTuple):
    name: str
    path: str
    is_dir: bool
    size: int
    modified_time: float
    created_time: float


class Applied(NamedTuple):
    rows: int
    upserts: int
    deletes: int
    ignored: int
    removed: int
    snapshot_ended: bool
    revision: int


class Stats(NamedTuple):
    files: int
    directories: int
    bytes: int
    version: int


def normalise(path: str | bytes) -> bytes:
    """POSIX normpath with a leading slash, on bytes; undecodable bytes come as surrogate escapes."""
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else bytes(path)
    return posixpath.normpath(b"/" + raw.lstrip(b"/"))


def parts(path: str | bytes) -> list[bytes]:
    """The names on the way from the root to `path`; empty for the root."""
    return [name for name in normalise(path).split(b"/") if name]


def shown(name: bytes) -> str:
    """How a name is written in JSON: each undecodable byte is U+FFFD."""
    return ESCAPED_BYTE.sub(REPLACEMENT, name.decode("utf-8", "surrogateescape"))


def is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def fold(text: str) -> str:
    """Simple case folding: one code point to one."""

    def one(char: str) -> str:
        for candidate in (char.casefold(), char.lower()):
            if len(candidate) == 1:
                return candidate
        return char

    return "".join(map(one, text))


def name_matches(pattern: str, name: str) -> bool:
    """Substring, or a glob over the whole name when the pattern holds one of `*?[`; case is ignored."""
    if any(char in pattern for char in "*?["):
        return fnmatch.fnmatchcase(fold(name), fold(pattern))
    return fold(pattern) in fold(name)


def chosen_fields(fields: Iterable[str] | None, only_path: bool) -> set[str]:
    wanted = set(FIELDS if fields is None else fields)
    return wanted - {"size", "modified_time", "created_time"} if only_path else wanted


def dumped(document: Any) -> bytes:
    """JSON as the index writes it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


class Entry:
    """A file or directory, with what the running snapshot window knows of it."""

    def __init__(self, parent: Entry | None, name: bytes, is_dir: bool) -> None:
        self.parent = parent
        self.name = name
        self.is_dir = is_dir
        self.children: dict[bytes, Entry] = {}
        self.undescribe()
        self.forget_window()

    def forget_window(self) -> None:
        self.carried = False  # a row of the running snapshot wrote it
        self.message_mtime: float | None = None  # of the message row that wrote it in this window
        self.touched = False  # a message of the window wrote it or passed through it as a parent

    def undescribe(self) -> None:
        self.described = False
        self.size, self.mtime, self.ctime = 0, 0.0, 0.0

    def describe(self, size: int, mtime: float, ctime: float) -> None:
        self.described = True
        self.size, self.mtime, self.ctime = size, mtime, ctime

    @property
    def path(self) -> bytes:
        if self.parent is None:
            return b"/"
        return self.parent.path.rstrip(b"/") + b"/" + self.name

    def walk(self) -> Iterator[Entry]:
        """Itself and everything below it, parents first, children in their order."""
        stack = [self]
        while stack:
            entry = stack.pop()
            yield entry
            stack.extend(reversed(entry.children.values()))

    def below(self) -> Iterator[Entry]:
        walk = self.walk()
        next(walk)
        return walk

    def node(self) -> Node:
        return Node(
            self.name.decode("utf-8", "surrogateescape"),
            self.path.decode("utf-8", "surrogateescape"),
            self.is_dir,
            self.size,
            self.mtime,
            self.ctime,
        )


class Row(NamedTuple):
    """One row of a body, its path normalised."""

    path: bytes
    size: int
    mtime: float
    ctime: float
    is_dir: bool
    delete: bool
    index: int


class Body(NamedTuple):
    source_type: str
    is_snapshot_end: bool
    rows: list[Row]


def read_body(body: Any) -> Body:
    """The rows of a wire-format body (JSON bytes or the dict itself), or of a decoded `Batch`."""
    if hasattr(body, "to_list"):
        rows = [Row(path, size, mtime, ctime, is_dir, delete, index)
                for delete, index, path, size, mtime, ctime, is_dir in body.to_list()]  # fmt: skip
        return Body(body.source_type, body.is_snapshot_end, rows)
    document = body if isinstance(body, dict) else json.loads(bytes(body).decode("utf-8"))
    rows = []
    for event in document.get("events", []):
        delete = event.get("event_type", "update") == "delete"
        index = event.get("index", -1)
        for row in event.get("rows", []):
            path = normalise(row["path"] if "path" in row else row["file_path"])
            if delete:
                rows.append(Row(path, 0, 0.0, 0.0, False, True, index))
                continue
            is_dir = row["is_dir"] if "is_dir" in row else row.get("is_directory", False)
            numbers = (row.get(key) for key in ("size", "modified_time", "created_time"))
            size, mtime, ctime = (0 if number is None else number for number in numbers)
            rows.append(Row(path, size, float(mtime), float(ctime), is_dir, False, index))
    return Body(document["source_type"], document.get("is_snapshot_end", False), rows)


class OracleIndex:
    def __init__(self, *, seed: int | None = None, _hash_mask: int = 2**64 - 1) -> None:
        self.root = Entry(None, b"", True)
        self.snapshot_open = False
        self.revision = 0
        self.tombstones: dict[bytes, float] = {}

    # --- changes

    def apply(self, body: Any, *, now: float | None = None) -> Applied:
        now = time.time() if now is None else now
        batch = read_body(body)
        counts = {"upserts": 0, "deletes": 0, "ignored": 0}
        for row in batch.rows:
            counts[self._apply_row(batch.source_type, row, now)] += 1
        removed, ended = 0, False
        if batch.source_type == "snapshot" and batch.is_snapshot_end and self.snapshot_open:
            removed, ended = self._end_snapshot(), True
        self.revision += 1
        return Applied(
            len(batch.rows), **counts, removed=removed, snapshot_ended=ended, revision=self.revision
        )

    def begin_snapshot(self) -> None:
        self.snapshot_open = True
        for entry in self.root.walk():
            entry.forget_window()

    def upsert(
        self,
        paths: Sequence[str | bytes],
        sizes: Sequence[int],
        modified_times: Sequence[float],
        created_times: Sequence[float],
        is_dir: Sequence[bool],
    ) -> Applied:
        columns = zip(paths, sizes, modified_times, created_times, is_dir, strict=True)
        rows = [Row(normalise(path), int(size), float(mtime), float(ctime), bool(directory), False, -1)
                for path, size, mtime, ctime, directory in columns]  # fmt: skip
        for row in rows:
            self._apply_row("message", row, 0.0)
        self.revision += 1
        return Applied(len(rows), len(rows), 0, 0, 0, False, self.revision)

    def delete(self, path: str | bytes) -> int:
        before = len(self)
        self._message_delete(normalise(path), time.time())
        self.revision += 1
        return before - len(self)

    def clear(self) -> None:
        self.root = Entry(None, b"", True)
        self.revision += 1

    def _apply_row(self, source: str, row: Row, now: float) -> str:
        if source == "message":
            if row.delete:
                self._message_delete(row.path, row.index / 1000 if row.index > 0 else now)
                return "deletes"
            self._message_upsert(row)
            return "upserts"
        if not self.snapshot_open:
            self.begin_snapshot()
        if row.delete:
            self._snapshot_delete(row.path)
            return "deletes"
        if self._loses(row):
            return "ignored"
        self._write(row).carried = True
        return "upserts"

    def _message_upsert(self, row: Row) -> None:
        entry = self._write(row)
        if not row.is_dir and not self.snapshot_open:
            self.tombstones.pop(row.path, None)
        if self.snapshot_open:
            entry.message_mtime = row.mtime
            toucher: Entry | None = entry
            while toucher is not None:
                toucher.touched = True
                toucher = toucher.parent

    def _message_delete(self, path: bytes, when: float) -> None:
        if path == b"/":
            return
        self.tombstones[path] = max(when, self.tombstones.get(path, when))
        entry = self._find(path)
        if entry is not None:
            self._unlink(entry)

    def _snapshot_delete(self, path: bytes) -> None:
        entry = self._find(path)
        if entry is None or path == b"/":
            return
        for below in list(entry.walk()):
            if not below.touched:  # nor is anything below it
                self._unlink(below)

    def _end_snapshot(self) -> int:
        before = len(self)
        self._prune(self.root)
        self.tombstones.clear()
        self.snapshot_open = False
        return before - len(self)

    def _loses(self, row: Row) -> bool:
        """Whether a snapshot row yields to what messages did since the window began."""

        def written_since(entry: Entry) -> bool:
            return entry.message_mtime is not None and entry.message_mtime >= row.mtime

        entry = self._find(row.path)
        names = parts(row.path)
        ancestors = [b"/" + b"/".join(names[:depth]) for depth in range(1, len(names) + 1)]
        buried = any(path in self.tombstones and row.mtime <= self.tombstones[path] for path in ancestors)
        if entry is not None:
            if written_since(entry) or (buried and entry.message_mtime is not None):
                return True
            if not entry.is_dir or row.is_dir:
                return False
            return any(map(written_since, entry.below())) or (buried and entry.touched)
        if buried:
            return True
        found = filter(None, map(self._find, ancestors))
        return any(not ancestor.is_dir and written_since(ancestor) for ancestor in found)

    def _write(self, row: Row) -> Entry:
        """Put the row's node where it says, making the parents that are missing."""
        entry = self.root
        for name in parts(row.path):
            if not entry.is_dir:
                entry.is_dir = True
                entry.undescribe()
                entry.message_mtime = None
            if name not in entry.children:
                entry.children[name] = Entry(entry, name, True)
            entry = entry.children[name]
        if not row.is_dir:
            entry.children.clear()
        entry.is_dir = row.is_dir
        entry.describe(row.size, row.mtime, row.ctime)
        return entry

    def _unlink(self, entry: Entry) -> None:
        assert entry.parent is not None
        del entry.parent.children[entry.name]

    def _prune(self, entry: Entry) -> None:
        """Drop what neither the snapshot carried nor a message touched; what stays for what is below it is
        undescribed."""
        for child in list(entry.children.values()):
            self._prune(child)
        if entry.carried or entry.message_mtime is not None:
            return
        entry.undescribe()
        if not entry.children and not entry.touched and entry.parent is not None:
            self._unlink(entry)

    def _find(self, path: str | bytes) -> Entry | None:
        entry: Entry | None = self.root
        for name in parts(path):
            if entry is None:
                return None
            entry = entry.children.get(name)
        return entry

    # --- questions

    def get(self, path: str | bytes) -> Node | None:
        entry = self._find(path)
        return None if entry is None else entry.node()

    def __contains__(self, path: str | bytes) -> bool:
        return self._find(path) is not None

    def __len__(self) -> int:
        return sum(1 for _ in self.root.walk())

    def tree(
        self,
        path: str | bytes = "/",
        *,
        recursive: bool = True,
        max_depth: int | None = None,
        only_path: bool = False,
        fields: Iterable[str] | None = None,
    ) -> dict[str, Any]:
        entry = self._existing(path)
        wanted = chosen_fields(fields, only_path)
        if max_depth is None and not recursive:
            document = self._document(entry, 0, wanted)
            if entry.is_dir:
                document["children"] = [self._document(child, 0, wanted) for child in entry.children.values()]
            return document
        return self._document(entry, max_depth, wanted)

    def lines(
        self,
        path: str | bytes = "/",
        *,
        recursive: bool = True,
        max_depth: int | None = None,
        only_path: bool = False,
        fields: Iterable[str] | None = None,
    ) -> list[dict[str, Any]]:
        """The nodes of the tree, parents first, without children."""
        wanted = chosen_fields(fields, only_path)
        if max_depth is None and not recursive:
            max_depth = 1
        top = self._existing(path)
        depth = len(parts(top.path))
        entries = (
            entry for entry in top.walk() if max_depth is None or len(parts(entry.path)) <= depth + max_depth
        )
        return [self._document(entry, 0, wanted) for entry in entries]

    def _document(self, entry: Entry, depth: int | None, wanted: set[str]) -> dict[str, Any]:
        document: dict[str, Any] = {
            "name": shown(entry.name),
            "content_type": "directory" if entry.is_dir else "file",
            "path": shown(entry.path),
            "size": entry.size,
            "modified_time": entry.mtime,
            "created_time": entry.ctime,
        }
        document = {key: value for key, value in document.items() if key in wanted}
        if not is_utf8(entry.name) and wanted & {"name", "path"}:
            document["raw_name"] = base64.b64encode(entry.name).decode()
        if entry.is_dir and depth != 0:
            deeper = None if depth is None else depth - 1
            taken = {shown(name) for name in entry.children if is_utf8(name)}
            children = document["children"] = {}
            for child in entry.children.values():
                key = shown(child.name)
                if not is_utf8(child.name):
                    while key in taken:
                        key += REPLACEMENT
                    taken.add(key)
                children[key] = self._document(child, deeper, wanted)
        return document

    def tree_json(
        self,
        path: str | bytes = "/",
        *,
        recursive: bool = True,
        max_depth: int | None = None,
        only_path: bool = False,
        fields: Iterable[str] | None = None,
    ) -> bytes:
        return dumped(
            self.tree(path, recursive=recursive, max_depth=max_depth, only_path=only_path, fields=fields)
        )

    def tree_chunks(self, path: str | bytes = "/", **options: Any) -> Iterator[memoryview]:
        yield memoryview(self.tree_json(path, **options))

    def search(self, pattern: str | bytes, limit: int | None = None) -> list[Node]:
        if isinstance(pattern, str):  # escapes that together spell UTF-8 are that text, as in names
            pattern = pattern.encode("utf-8", "surrogateescape")
        wanted = pattern.decode("utf-8", "surrogateescape")
        nodes = [entry.node() for entry in self.root.walk() if not entry.is_dir]
        return [node for node in nodes if name_matches(wanted, node.name)][:limit]

    def search_json(self, pattern: str | bytes, limit: int | None = None) -> bytes:
        documents = [self.tree(node.path) for node in self.search(pattern, limit)]
        return dumped(documents)

    def stats(self, path: str | bytes = "/") -> Stats:
        entries = list(self._existing(path).walk())
        files = [entry for entry in entries if not entry.is_dir]
        size = sum(entry.size for entry in files)
        return Stats(len(files), len(entries) - len(files), size, self.revision)

    def oldest_directory(self) -> tuple[str, float] | None:
        directories = [entry for entry in self.root.below() if entry.is_dir and entry.described]
        if not directories:
            return None
        oldest = min(directories, key=lambda entry: entry.mtime)
        return oldest.node().path, oldest.mtime

    def directories(self) -> list[bytes]:
        """The path of every directory, for comparing all of them."""
        return [entry.path for entry in self.root.walk() if entry.is_dir]

    def _existing(self, path: str | bytes) -> Entry:
        entry = self._find(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def _check(self) -> None:
        """Nothing can be out of step here: everything is counted when asked."""
