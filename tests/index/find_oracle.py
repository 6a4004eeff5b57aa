"""Slow, obvious twins of find_chunks(), largest() and histogram() over the oracle's tree."""

from __future__ import annotations

from typing import Any

import search_oracle
from oracle import Entry, OracleIndex


def entries(oracle: OracleIndex, path: str | bytes = "/") -> list[Entry]:
    """What lies at or below a path."""
    return list(oracle._existing(path).walk())


def sort_key(sort: str | None, entry: Entry) -> Any:
    match sort:
        case "name":
            return entry.name
        case "path":
            return entry.path
        case "size":
            return entry.size
        case "modified_time":
            return entry.mtime


def find(
    oracle: OracleIndex,
    pattern: str | bytes,
    *,
    match: str = "name",
    path: str | bytes = "/",
    type: str = "file",
    min_size: int | None = None,
    max_size: int | None = None,
    modified_after: float | None = None,
    modified_before: float | None = None,
    sort: str | None = None,
    order: str = "asc",
) -> list[dict[str, Any]]:
    """All matches as the JSON has them, in their order."""
    matches = search_oracle.matcher(pattern)
    found = [
        entry
        for entry in entries(oracle, path)
        if entry.parent is not None
        and matches(entry.path if match == "path" else entry.name)
        and type in ("any", "directory" if entry.is_dir else "file")
        and (min_size is None or entry.size >= min_size)
        and (max_size is None or entry.size <= max_size)
        and (modified_after is None or entry.mtime > modified_after)
        and (modified_before is None or entry.mtime < modified_before)
    ]
    found.sort(key=lambda entry: entry.path)
    found.sort(key=lambda entry: sort_key(sort, entry) if sort else 0, reverse=order == "desc")
    return [document(oracle, entry) for entry in found]


def document(oracle: OracleIndex, entry: Entry) -> dict[str, Any]:
    node = oracle.tree(entry.path, max_depth=0)
    node.pop("children", None)
    return node


def total_bytes(entry: Entry) -> int:
    return sum(each.size for each in entry.walk() if not each.is_dir)


def largest(oracle: OracleIndex, path: str | bytes, top: int) -> tuple[list[Any], list[Any]]:
    """Children as tuples and files as nodes."""
    start = oracle._existing(path)
    children = []
    for child in sorted(start.children.values(), key=lambda child: (-total_bytes(child), child.path))[:top]:
        below = list(child.walk())
        files = sum(not each.is_dir for each in below)
        node = child.node()
        children.append((node.name, node.path, child.is_dir, total_bytes(child), files, len(below) - files))
    files = [entry for entry in start.walk() if not entry.is_dir]
    files.sort(key=lambda entry: (-entry.size, entry.path))
    return children, [entry.node() for entry in files[:top]]
