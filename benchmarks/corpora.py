"""Trees to measure with: rows in the order an agent sends them, push bodies, and what must come out.

Corpus S is in submissions.py. R is what a disk really holds: the paths below /usr, under several prefixes.
W is one directory with all the files, D one chain of directories a thousand deep with files at every level.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import orjson

ROWS_PER_BODY = 1000
DEPTH = 1000
# Where a body names its session, so that bodies can be made before the session is there.
NO_SESSION = str(UUID(int=0))


class Row(NamedTuple):
    path: str
    size: int
    modified_time: float
    created_time: float
    is_dir: bool

    def as_message(self) -> dict[str, Any]:
        """The row as an event has it."""
        return {
            "file_path": self.path,
            "size": self.size,
            "modified_time": self.modified_time,
            "created_time": self.created_time,
            "is_dir": self.is_dir,
        }


# Rows


def usr(prefixes: int) -> Iterator[Row]:
    """Corpus R: /usr, walked once, below /p00, /p01 and so on; children before parents, times of 1e-9 s."""
    walked = list(_walk("/usr"))
    for number in range(prefixes):
        prefix = f"/p{number:02d}"
        for row in walked:
            yield row._replace(path=prefix + row.path)
        yield Row(prefix, 4096, 1705832400.0, 1705832400.0, True)


def _walk(top: str) -> Iterator[Row]:
    for directory, _, files in os.walk(top, topdown=False):
        for name in files:
            yield _stat(f"{directory}/{name}", False)
        yield _stat(directory, True)


def _stat(path: str, is_dir: bool) -> Row:
    found = os.lstat(path)
    name = path.encode(errors="surrogateescape").decode(errors="replace")
    return Row(name, found.st_size, found.st_mtime, found.st_ctime, is_dir)


def wide(nodes: int) -> Iterator[Row]:
    """Corpus W: one directory with so many files."""
    for number in range(nodes):
        yield Row(
            f"/wide/file_{number:07d}.dat", number % 999_983, 1705832400.25 + number, 1705832400.5, False
        )
    yield Row("/wide", 4096, 1705832400.0, 1705832400.0, True)


def deep(nodes: int) -> Iterator[Row]:
    """Corpus D: a chain of DEPTH directories with one-letter names, the files spread over all of them."""
    for level in range(DEPTH, 0, -1):
        directory = "/d" * level
        for number in range(nodes // DEPTH - 1):
            yield Row(f"{directory}/f{number:03d}", number, 1705832400.25 + number, 1705832400.5, False)
        yield Row(directory, 4096, 1705832400.0, 1705832400.0, True)


# Bodies


def envelope(rows: bytes, source_type: str = "message", event_type: str = "update") -> bytes:
    """A push body of session NO_SESSION with one event of these rows: JSON with commas between."""
    return b"".join(
        (
            _before_events(source_type),
            b'{"event_type":"%b","event_schema":"/data","table":"files","index":1705832400000,'
            b'"fields":["file_path","size","modified_time","created_time","is_dir"],"rows":[%b]}]}'
            % (event_type.encode(), rows),
        )
    )


def _before_events(source_type: str) -> bytes:
    return b'{"session_id":"%b","source_type":"%b","is_snapshot_end":false,"events":[' % (
        NO_SESSION.encode(),
        source_type.encode(),
    )


def bodies(
    rows: Iterable[Row],
    source_type: str = "message",
    dumps: Callable[[list[dict[str, Any]]], bytes] = orjson.dumps,
) -> Iterator[bytes]:
    """The rows as push bodies of 1000, the JSON without spaces."""
    rows = iter(rows)
    while part := list(islice(rows, ROWS_PER_BODY)):
        yield envelope(dumps([row.as_message() for row in part])[1:-1], source_type)


def escaped(rows: list[dict[str, Any]]) -> bytes:
    """JSON as the standard library writes it: everything beyond ASCII is escaped."""
    return json.dumps(rows, separators=(",", ":")).encode()


def arrays(rows: list[dict[str, Any]]) -> bytes:
    """The rows as arrays in the order of the envelope's fields."""
    return orjson.dumps([list(row.values()) for row in rows])


def with_escapes(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with names that JSON has to escape: every file's has a quote and a letter beyond ASCII."""
    for row in rows:
        yield row if row.is_dir else row._replace(path=row.path.replace("/data_", '/"dätä"_'))


def one_row_events(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Each body with an event for each of its rows."""
    for body in bodies:
        document = orjson.loads(body)
        document["events"] = [
            {**event, "rows": [row]} for event in document["events"] for row in event["rows"]
        ]
        yield orjson.dumps(document)


def one_event_bodies(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """A body for every single row."""
    for body in bodies:
        document = orjson.loads(body)
        for event in document["events"]:
            for row in event["rows"]:
                yield orjson.dumps({**document, "events": [{**event, "rows": [row]}]})


# What must come out


class Entry:
    """A node as a plain Python program keeps it; `children` is None for a file."""

    __slots__ = ("children", "created_time", "modified_time", "name", "path", "size")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.size = 0
        self.modified_time = 0.0
        self.created_time = 0.0
        self.children: dict[str, Entry] | None = None

    def as_dict(self) -> dict[str, object]:
        """The node with all below it, as the JSON answers have it."""
        node: dict[str, object] = {
            "name": self.name,
            "content_type": "file" if self.children is None else "directory",
            "path": self.path,
            "size": self.size,
            "modified_time": self.modified_time,
            "created_time": self.created_time,
        }
        if self.children is not None:
            node["children"] = {name: child.as_dict() for name, child in self.children.items()}
        return node


def tree_of(rows: Iterable[Row]) -> Entry:
    """The rows as a tree of Python objects, parents made where they are missing; returns the root."""
    root = Entry("", "/")
    root.children = {}
    directories = {"": root.children}

    def children_of(path: str) -> dict[str, Entry]:
        found = directories.get(path)
        if found is None:
            found = directories[path] = entry(path).children = {}
        return found

    def entry(path: str) -> Entry:
        above, _, name = path.rpartition("/")
        siblings = children_of(above)
        if name not in siblings:
            siblings[name] = Entry(name, path)
        return siblings[name]

    for row in rows:
        node = entry(row.path)
        node.size, node.modified_time, node.created_time = row.size, row.modified_time, row.created_time
        if row.is_dir:
            children_of(row.path)
    return root
