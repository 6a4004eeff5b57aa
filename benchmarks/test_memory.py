"""Resident memory of a fresh process, per node."""

from __future__ import annotations

import child
import pytest
from conftest import NODES
from measure import Ledger
from memory import MIB


@pytest.mark.parametrize(("kind", "corpus"), [("index", "R"), ("objects", "S")])
def test_footprint(ledger: Ledger, kind: str, corpus: str) -> None:
    size = NODES if corpus == "S" else max(1, NODES // 50_000)
    found = child.run("footprint.py", kind, corpus, size)
    held, nodes, peak = found["held"], found["nodes"], found["peak"]
    name = "PathIndex" if kind == "index" else "Python objects with slots and dicts of children"
    ledger.facts.append(
        (
            f"resident memory per node, {name}, {corpus}",
            f"{held / nodes:.1f} bytes ({held / MIB:,.0f} MiB, peak {peak / MIB:,.0f} MiB, {nodes:,} nodes)",
        )
    )
    if kind == "index":
        ledger.reach("memory R", held / nodes)
        ledger.facts.append((f"bytes in use per node by part, {corpus}", by_part(found["parts"], nodes)))


def by_part(parts: dict[str, int], nodes: int) -> str:
    return ", ".join(f"{name} {size / nodes:.1f}" for name, size in parts.items())
