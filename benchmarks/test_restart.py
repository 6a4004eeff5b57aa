"""A killed server starts again: how soon it lives and is ready. How long checkpoints hold pushes up."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import child
import orjson
import pytest
from conftest import NODES
from load import Connection
from measure import Ledger
from memory import MIB, memory_bytes
from processes import fusion_server

ROUNDS = {1: 5, 10: 3}


class Restart(NamedTuple):
    live: float
    ready: float
    peak_bytes: int


@pytest.mark.parametrize("times", ROUNDS)
def test_restart(ledger: Ledger, tmp_path: Path, times: int) -> None:
    left = tmp_path / "left"
    left.mkdir()
    found = child.run("kept.py", left / "bench", NODES * times)
    rounds = [restart(left, tmp_path / str(number), found["nodes"]) for number in range(ROUNDS[times])]
    ready = [each.ready for each in rounds]
    suffix = "" if times == 1 else f" {times}"
    ledger.reach(f"recovered{suffix}", min(ready), statistics.median(ready))
    if times == 1:
        live = [each.live for each in rounds]
        ledger.reach("live", min(live), statistics.median(live))
    else:
        ledger.reach(f"recovered{suffix}, memory", max(each.peak_bytes for each in rounds) / 1e9)
    ledger.reach(f"pause{suffix}", max(found["beside"]) * 1e3)
    ledger.facts += [
        (
            f"restart with {found['nodes']:,} nodes and {len(found['alone']):,} batches, peak memory",
            f"{max(each.peak_bytes for each in rounds) / MIB:,.0f} MiB",
        ),
        (f"a push of 1000 rows all over {found['nodes']:,} nodes, in the process", _times(found["alone"])),
        ("the same while a checkpoint is written", _times(found["beside"])),
    ]


def restart(left: Path, directory: Path, nodes: int) -> Restart:
    directory.mkdir()
    shutil.copytree(left, directory / "data")
    started = time.perf_counter()
    with fusion_server(directory, durability="fsync") as server:
        connection = Connection(server.port)
        assert connection.call("GET", "/health/live").status == 200
        live = time.perf_counter() - started
        connection.get_ready("/health/ready")
        ready = time.perf_counter() - started
        peak = memory_bytes("VmHWM", server.pid)
        stats = orjson.loads(connection.call("GET", "/views/fs/stats").body)
        connection.close()
    assert stats["total_files"] + stats["total_directories"] == nodes
    shutil.rmtree(directory)
    return Restart(live, ready, peak)


def _times(seconds: list[float]) -> str:
    return (
        f"{statistics.median(seconds) * 1e3:.1f} ms (median), {max(seconds) * 1e3:.1f} ms"
        f" (longest of {len(seconds):,})"
    )
