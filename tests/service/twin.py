"""A datastore of a running server and its slow twin, which are told the same and must answer the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
from oracle import Entry, OracleIndex, name_matches, normalise, shown
from service import Store, accepted, file, folder

FIELDS = ("name", "content_type", "path", "size", "modified_time", "created_time")


class Twin:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.oracle = OracleIndex()
        self.oracle.begin_snapshot()
        self.session = store.open()

    # Changes

    def push(
        self, *rows: dict[str, Any], source: str = "message", kind: str = "update", end: bool = False
    ) -> int:
        """The revision that the server tells."""
        events = [{"event_type": kind, "rows": list(rows)}] if rows else []
        document = {
            "session_id": self.session,
            "source_type": source,
            "is_snapshot_end": end,
            "events": events,
        }
        body = json.dumps(document).encode()
        answer = self.store.post(body)
        accepted(answer)
        self.oracle.apply(body)
        return int(answer.headers["x-fusion-revision"])

    def ready(self, *rows: dict[str, Any]) -> int:
        """The first snapshot carried these."""
        self.push(*rows, source="snapshot")
        return self.push(source="snapshot", end=True)

    def delete(self, *paths: str) -> int:
        return self.push(*({"path": path} for path in paths), kind="delete")

    def stir(self, chance: random.Random, top: str, names: list[str]) -> None:
        """A few changes of children of a directory: new ones, others again, and some that go."""
        gone, written = [], []
        for _ in range(chance.randrange(6)):
            path = f"{top}/{chance.choice(names)}"
            match chance.randrange(4):
                case 0:
                    gone.append(path)
                case 1:
                    written.append(folder(path, m=chance.randrange(1000) / 8))
                case 2:
                    written.append(file(f"{path}/inner{chance.randrange(3)}", chance.randrange(9)))
                case 3:
                    written.append(file(path, chance.randrange(1000), m=chance.randrange(1000) / 8))
        if gone:
            self.delete(*gone)
        if written:
            self.push(*written)

    # What is expected

    def entry(self, path: str | bytes) -> Entry:
        found = self.oracle._find(path)
        assert found is not None
        return found

    def node(self, path: str | bytes) -> dict[str, Any]:
        """The node alone."""
        return self.oracle.tree(path, max_depth=0)

    def lines(self, path: str | bytes = "/", depth: int | None = None) -> list[dict[str, Any]]:
        """The nodes of a tree, parents first."""

        def walk(entry: Entry, left: int | None) -> Iterator[dict[str, Any]]:
            yield self.oracle.tree(entry.path, max_depth=0)
            if left != 0:
                for child in entry.children.values():
                    yield from walk(child, None if left is None else left - 1)

        return list(walk(self.entry(path), depth))

    def matches(
        self,
        pattern: str,
        *,
        match: str = "name",
        path: str = "/",
        type: str = "file",
        min_size: int | None = None,
        max_size: int | None = None,
        modified_after: float | None = None,
        modified_before: float | None = None,
    ) -> list[Entry]:
        """The entries that a search finds, in no order."""

        def fits(entry: Entry) -> bool:
            text = entry.path if match == "path" else entry.name
            return (
                name_matches(pattern, text.decode("utf-8", "surrogateescape"))
                and type in ("any", "directory" if entry.is_dir else "file")
                and (min_size is None or entry.size >= min_size)
                and (max_size is None or entry.size <= max_size)
                and (modified_after is None or entry.mtime > modified_after)
                and (modified_before is None or entry.mtime < modified_before)
            )

        return [entry for entry in self.entry(path).walk() if fits(entry)]

    # What is answered

    def get(self, view: str, path: str | bytes | None = None, **parameters: Any) -> httpx.Response:
        query = [f"{name}={quote_from_bytes(str(value).encode())}" for name, value in parameters.items()]
        if path is not None:
            raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
            query.append(f"path={quote_from_bytes(raw)}")
        return self.store.http.get(f"/views/fs/{view}?{'&'.join(query)}")

    def found(self, view: str, path: str | bytes | None = None, **parameters: Any) -> Any:
        """The document of an answer of 200, or the list of those on its lines."""
        answer = self.get(view, path, **parameters)
        assert answer.status_code == 200, answer.text
        if parameters.get("format") == "ndjson":
            assert answer.headers["content-type"] == "application/x-ndjson"
            assert answer.text == "" or answer.text.endswith("\n")
            return [json.loads(line) for line in answer.text.split("\n")[:-1]]
        return answer.json()

    def pages(self, view: str, path: str | bytes | None = None, **parameters: Any) -> Iterator[Any]:
        """The answers of page after page."""
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            answer = self.get(view, path, **parameters, **more)
            assert answer.status_code == 200, answer.text
            yield answer
            cursor = answer.headers.get("x-fusion-cursor")
            if cursor is None:
                return


def cut(node: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """A node, and its children, with these fields alone."""
    kept = {name: value for name, value in node.items() if name in fields}
    if "raw_name" in node and ("name" in fields or "path" in fields):
        kept["raw_name"] = node["raw_name"]
    children = node.get("children")
    if isinstance(children, dict):
        kept["children"] = {key: cut(child, fields) for key, child in children.items()}
    elif children is not None:
        kept["children"] = [cut(child, fields) for child in children]
    return kept


__all__ = ["FIELDS", "Twin", "cut", "normalise", "shown"]
