"""How much more a fresh process holds with corpus S: `footprint.py index|objects NODES` prints a JSON object.

The rows come from a generator, so that nothing but the tree is kept.
"""

from __future__ import annotations

import gc
import json
import sys

import corpora
from measure import memory_bytes, resident_bytes

from fusion import PathIndex


def main(kind: str, nodes: int) -> None:
    gc.disable()
    small = corpora.ROWS_PER_BODY * 2
    _build(kind, small)  # everything imported and every cache filled once
    before = resident_bytes()
    kept, count = _build(kind, nodes)
    held = resident_bytes() - before
    parts = kept.memory() if isinstance(kept, PathIndex) else {}
    print(json.dumps({"nodes": count, "held": held, "peak": memory_bytes("VmHWM") - before, "parts": parts}))


def _build(kind: str, nodes: int) -> tuple[object, int]:
    if kind == "objects":
        root = corpora.tree_of(corpora.submissions(nodes))
        return root, _count(root)
    index = PathIndex()
    for body in corpora.bodies(corpora.submissions(nodes)):
        index.apply(body)
    return index, len(index)


def _count(entry: corpora.Entry) -> int:
    return 1 + sum(map(_count, (entry.children or {}).values()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
