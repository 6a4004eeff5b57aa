"""How much more a fresh process holds with a tree: `footprint.py index|objects R|S SIZE`.

Prints a JSON object. SIZE is nodes for S and prefixes for R. The rows come from a generator, so that nothing
but the tree is kept.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable, Iterator

import corpora
import submissions
from memory import memory_bytes, resident_bytes

from fusion import PathIndex


def main(kind: str, corpus: str, size: int) -> None:
    gc.disable()
    build = {"index": _index, "objects": _objects}[kind]
    build(submissions.rows(1))  # everything imported and every cache filled once
    before = resident_bytes()
    kept, nodes = build(corpora.usr(size) if corpus == "R" else submissions.rows(size))
    held = resident_bytes() - before
    parts = kept.memory() if isinstance(kept, PathIndex) else {}
    print(json.dumps({"nodes": nodes, "held": held, "peak": memory_bytes("VmHWM") - before, "parts": parts}))


def _index(rows: Iterable[corpora.Row]) -> tuple[object, int]:
    index = PathIndex()
    for body in corpora.bodies(rows):
        index.apply(body)
    return index, len(index)


def _objects(rows: Iterator[corpora.Row]) -> tuple[object, int]:
    root = corpora.tree_of(rows)
    return root, _count(root)


def _count(entry: corpora.Entry) -> int:
    return 1 + sum(map(_count, (entry.children or {}).values()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
