"""One thread reads whole trees while another applies 100,000 rows a second, in a process of their own."""

from __future__ import annotations

import statistics

import child
import numpy as np
from conftest import NODES
from measure import Ledger
from memory import MIB

SECONDS = 10


def test_beside(ledger: Ledger) -> None:
    found = child.run("beside.py", NODES, SECONDS)
    ledger.data["beside"] = found
    late = np.percentile(found["late"], [50, 99]) / 1e3
    ledger.reach("writer", found["rows per second"] / 1e3)
    ledger.reach("writer, p99", float(np.percentile(found["wall"], 99)) / 1e3)
    whole, failed = len(found["beside"]), found["failed"]
    ledger.reach("instants", 100 * (whole - found["torn"]) / (whole + failed))
    alone = statistics.median(found["alone"])
    what = f"trees of {found['nodes']:,} nodes read beside a writer in {SECONDS} s"
    if whole:
        ledger.reach(
            "reader", min(found["beside"]) / min(found["alone"]), statistics.median(found["beside"]) / alone
        )
        ledger.facts.append((what, f"{whole} whole ones, {found['torn']} of them torn, {failed} given up"))
    else:
        ledger.facts.append((what, f"none: all {failed} tries ended with “{found['failure']}”"))
    ledger.facts += [
        ("time of a tree alone, by the same reader", f"{alone * 1e3:.1f} ms"),
        (
            "a batch is done later than planned by",
            f"{late[0]:.1f} ms (median), {late[1]:.1f} ms (99th percentile)",
        ),
        (
            "memory that the writer's rows and the reader's trees took at most",
            f"{found['peak'] / MIB:,.0f} MiB",
        ),
    ]
