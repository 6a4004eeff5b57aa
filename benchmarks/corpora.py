"""Trees to measure with: rows in the order an agent sends them, push bodies, and what must come out.

Corpus S is a store of submissions: `/data/upload/submit/{c}/{c}/{uuid}/sub_{0..3}/data_{0000..0249}.dat`,
children before parents, 80-byte file paths, times in microseconds. The same size and seed give the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import orjson

TOP = "/data/upload/submit"
FILES_PER_SUB = 250
SUBS = 4
SUBMISSION_NODES = 1 + SUBS * (1 + FILES_PER_SUB)
ROWS_PER_BODY = 1000
# Where a body names its session, so that bodies can be made before the session is there.
NO_SESSION = str(UUID(int=0))
_EPOCH_SECONDS = 1_705_832_400
_YEAR_SECONDS = 31_536_000


class Row(NamedTuple):
    path: str
    size: int
    modified_time: float
    created_time: float
    is_dir: bool


def submissions(nodes: int, seed: int = 1) -> Iterator[Row]:
    """Corpus S with about `nodes` rows (whole submissions, at least one)."""
    rng = random.Random(seed)

    def row(path: str, is_dir: bool) -> Row:
        modified = round(_EPOCH_SECONDS + rng.random() * _YEAR_SECONDS, 6)
        created = round(modified - rng.random() * 60, 6)
        return Row(path, 4096 if is_dir else int(rng.random() * (1 << 20)), modified, created, is_dir)

    names = sorted(str(UUID(int=rng.getrandbits(128))) for _ in range(max(1, nodes // SUBMISSION_NODES)))
    for name, following in zip(names, [*names[1:], "  "], strict=True):
        base = f"{TOP}/{name[0]}/{name[1]}/{name}"
        for sub in range(SUBS):
            for number in range(FILES_PER_SUB):
                yield row(f"{base}/sub_{sub}/data_{number:04d}.dat", False)
            yield row(f"{base}/sub_{sub}", True)
        yield row(base, True)
        if following[:2] != name[:2]:
            yield row(f"{TOP}/{name[0]}/{name[1]}", True)
        if following[0] != name[0]:
            yield row(f"{TOP}/{name[0]}", True)
    yield row(TOP, True)
    yield row("/data/upload", True)
    yield row("/data", True)


def bodies(rows: Iterable[Row], source_type: str = "message") -> Iterator[bytes]:
    """The rows as push bodies of 1000, the JSON without spaces; their session is NO_SESSION."""
    rows = iter(rows)
    while part := list(islice(rows, ROWS_PER_BODY)):
        event = {
            "event_type": "update",
            "event_schema": TOP,
            "table": "files",
            "index": int(part[-1].modified_time * 1000),
            "fields": ["file_path", "size", "modified_time", "created_time", "is_dir"],
            "rows": [
                {
                    "file_path": row.path,
                    "size": row.size,
                    "modified_time": row.modified_time,
                    "created_time": row.created_time,
                    "is_dir": row.is_dir,
                }
                for row in part
            ],
        }
        yield orjson.dumps(
            {
                "session_id": NO_SESSION,
                "source_type": source_type,
                "is_snapshot_end": False,
                "events": [event],
            }
        )


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
