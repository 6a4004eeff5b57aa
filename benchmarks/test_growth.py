"""Corpus S from 1 M to 50 M nodes, each size in a process of its own: what it takes, what it still does."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import child
import pytest
from conftest import LARGE, NODES
from measure import Ledger
from test_memory import by_part

SIZES = [1, 10, 50]
ROUNDS = {1: 3, 10: 3, 50: 1}


@pytest.mark.parametrize("times", SIZES)
def test_growth(ledger: Ledger, tmp_path: Path, times: int) -> None:
    if times == 50 and not LARGE:
        pytest.skip("FUSION_BENCH_LARGE=1 asks for it")
    found = child.run("growth.py", NODES * times, ROUNDS[times], tmp_path)
    ledger.data.setdefault("growth", {})[times] = found
    nodes = found["nodes"]
    ledger.reach(f"memory S{times}", found["held"] / nodes)
    ledger.facts.append(
        (f"bytes in use per node by part, S, {nodes:,} nodes", by_part(found["parts"], nodes))
    )
    if times == 10:
        _reach_at_10(ledger, found)
    if times == 50:
        ledger.reach("fits", found["peak of all"] / 1e9)


def _reach_at_10(ledger: Ledger, found: dict[str, Any]) -> None:
    ledger.reach("batch", min(found["longest"]) * 1e3, statistics.median(found["longest"]) * 1e3)
    if found["longest own"] is not None:
        ledger.reach("batch, own", found["longest own"] * 1e3)
    rare = found["search"]["rare"]
    ledger.reach("search 10", min(rare) * 1e3, statistics.median(rare) * 1e3)
    few, _, many, _ = (seconds for _, seconds in found["stats"])
    ledger.reach("stats", many / few)
    for part in ("save", "load"):
        speeds = [found["file"]["bytes"] / 1e9 / seconds for seconds in found["file"][part]]
        ledger.reach(part, max(speeds), statistics.median(speeds))
