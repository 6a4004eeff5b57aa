"""Documents about paths and nodes that the index does not write itself."""

from __future__ import annotations

import base64
import os
from typing import Any

from fusion._index import Node, PathIndex, Stats
from fusion.events import shown
from fusion.histogram import histogram


def kind(is_dir: bool) -> str:
    return "directory" if is_dir else "file"


def node_document(node: Node) -> dict[str, Any]:
    """A node as the index writes it, without children."""
    return {
        "name": shown(node.name),
        "content_type": kind(node.is_dir),
        "path": shown(node.path),
        "size": node.size,
        "modified_time": node.modified_time,
        "created_time": node.created_time,
        **raw_name(node.name),
    }


def raw_name(name: str) -> dict[str, str]:
    """The bytes of a name that is not UTF-8, as base64; nothing for any other."""
    return {} if shown(name) == name else {"raw_name": base64.b64encode(os.fsencode(name)).decode()}


def sums_document(path: bytes, stats: Stats) -> dict[str, Any]:
    """The sums of a subtree."""
    return {
        "path": shown(os.fsdecode(path)),
        "files": stats.files,
        "directories": stats.directories,
        "bytes": stats.bytes,
    }


def usage_document(index: PathIndex, path: bytes, *, top: int) -> dict[str, Any]:
    """What takes the most bytes: up to `top` direct children and files anywhere below. Raises KeyError."""
    usage = index.largest(path, top)
    return sums_document(path, usage.stats) | {
        "largest_children": [
            {
                "name": shown(child.name),
                "path": shown(child.path),
                "content_type": kind(child.is_dir),
                "bytes": child.bytes,
                "files": child.files,
                "directories": child.directories,
                **raw_name(child.name),
            }
            for child in usage.children
        ],
        "largest_files": [node_document(node) for node in usage.files],
    }


def histogram_document(index: PathIndex, path: bytes, *, by: str, now: float) -> dict[str, Any]:
    """The files at or below in buckets; `now` is in seconds since the epoch. Raises KeyError."""
    found = histogram(index, path, by, now)
    return {"path": shown(os.fsdecode(path)), "files": found.pop("total"), **found}
