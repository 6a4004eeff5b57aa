"""Wire-format bodies in few words, for the tests of the index."""

from __future__ import annotations

import json
from typing import Any

from oracle import Applied, OracleIndex

from fusion import PathIndex

AnyIndex = PathIndex | OracleIndex


def file(path: str, mtime: float = 0.0, size: int = 0) -> dict[str, Any]:
    return {"path": path, "size": size, "modified_time": mtime, "created_time": mtime, "is_dir": False}


def directory(path: str, mtime: float = 0.0, size: int = 0) -> dict[str, Any]:
    return file(path, mtime, size) | {"is_dir": True}


def upserts(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"event_type": "update", "rows": list(rows)}


def deletes(*paths: str, index: int = -1) -> dict[str, Any]:
    return {"event_type": "delete", "index": index, "rows": [{"path": path} for path in paths]}


def body(source_type: str, *events: dict[str, Any], end: bool = False) -> bytes:
    """One body as a client sends it; surrogate escapes in paths stay escapes."""
    document = {"session_id": "s", "source_type": source_type, "is_snapshot_end": end, "events": list(events)}
    return json.dumps(document).encode()


class Feed:
    """Tells an index what happened, one line a push."""

    def __init__(self, index: AnyIndex) -> None:
        self.index = index

    def message(self, *rows: dict[str, Any]) -> Applied:
        return self.index.apply(body("message", upserts(*rows)))

    def delete(self, *paths: str, index: int = -1, now: float | None = None) -> Applied:
        """A message delete; `index` is its time in milliseconds, `now` its arrival in seconds."""
        return self.index.apply(body("message", deletes(*paths, index=index)), now=now)

    def snapshot(self, *rows: dict[str, Any]) -> Applied:
        return self.index.apply(body("snapshot", upserts(*rows)))

    def snapshot_delete(self, *paths: str) -> Applied:
        return self.index.apply(body("snapshot", deletes(*paths)))

    def end(self) -> Applied:
        return self.index.apply(body("snapshot", end=True))
