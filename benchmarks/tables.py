"""Figures as text: units, ratios, Markdown tables, the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import Contest, Figures, Ledger
from memory import MIB


def machine(ledger: Ledger, packages: Sequence[str]) -> list[str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    ram_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    load = [f"{value:.1f}" for value in (*ledger.load_before[:1], *os.getloadavg()[:2])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"- {model}, {os.cpu_count()} processors, {ram_gib:.0f} GiB; Linux {platform.release()}; "
        f"{time.strftime('%Y-%m-%d')}",
        f"- {platform.python_implementation()} {platform.python_version()}, {versions}",
        f"- load average {load[0]} at the start, {load[1]} at the end ({load[2]} over the last five minutes)",
        f"- host-warm: {ledger.warmed_bytes / MIB:,.0f} MiB touched and given back just before; on cold"
        " memory, which the host of a virtual machine has to back first, times are up to three times longer",
    ]


def seconds(value: float) -> str:
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= scale:
            return f"{value / scale:.3g} {name}" if value < 1000 * scale else f"{value / scale:,.0f} {name}"
    return f"{value * 1e9:.3g} ns"


def table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:], ""]


def contests(found: list[Contest]) -> list[str]:
    rows = [["what", "by", "best", "median", "each", "peak memory", "Fusion is"]]
    for contest in found:
        for figures in contest.figures:
            first = figures is contest.figures[0]
            rows.append(
                [
                    f"{contest.title} ({contest.count:,} {contest.unit}s)" if first else "",
                    figures.name,
                    seconds(figures.best),
                    seconds(figures.median),
                    f"{seconds(figures.best / contest.count)} a {contest.unit}",
                    f"{figures.peak_bytes / MIB:,.0f} MiB",
                    "" if first else _lead(contest, figures),
                ]
            )
    return table(rows)


def _lead(contest: Contest, rival: Figures) -> str:
    rounds = sorted(contest.ratios(rival))
    return f"{statistics.median(rounds):.2f} × as fast ({rounds[0]:.2f} to {rounds[-1]:.2f})"


def growth(sizes: list[dict[str, Any]]) -> list[str]:
    """What an index of each size takes; one column a size."""

    def row(what: str, cell: Callable[[dict[str, Any]], str]) -> list[str]:
        return [what, *(cell(found) for found in sizes)]

    def speed(part: str) -> Callable[[dict[str, Any]], str]:
        return lambda found: f"{found['file']['bytes'] / 1e9 / min(found['file'][part]):.2f} GB/s"

    return table(
        [
            row("S", lambda found: f"{found['nodes']:,} nodes"),
            row("resident memory", lambda found: f"{found['held'] / MIB:,.0f} MiB"),
            row("peak, everything below included", lambda found: f"{found['peak of all'] / MIB:,.0f} MiB"),
            row("resident memory per node", lambda found: f"{found['held'] / found['nodes']:.1f} bytes"),
            row(
                "decode and insert", lambda found: f"{seconds(min(found['seconds']) / found['nodes'])} a row"
            ),
            row("longest batch", lambda found: seconds(min(found["longest"]))),
            row(
                "longest batch, own doing",
                lambda found: seconds(found["longest own"]) if found["longest own"] else "–",
            ),
            row("batches without page fault", lambda found: f"{found['batches without fault']:,}"),
            row("lookup, random order", lambda found: seconds(found["contains"])),
            row("whole tree", lambda found: seconds(min(found["tree"]["seconds"]))),
            row("rare name", lambda found: seconds(min(found["search"]["rare"]))),
            row("common name, first 100", lambda found: seconds(min(found["search"]["common"]))),
            row(
                "delete of a subtree",
                lambda found: f"{seconds(min(found['delete']['seconds']) / found['delete']['nodes'])} a node",
            ),
            row("save", speed("save")),
            row("load", speed("load")),
            *(
                row(f"stats of {what}", lambda found, at=at: seconds(found["stats"][at][1]))
                for at, what in enumerate(("1 k nodes", "100 k nodes", "all of S"))
            ),
        ]
    )


def appends(cases: dict[str, dict[str, Any]]) -> list[str]:
    """What it takes each log to keep records, case by case."""
    head = ["what", "by", "acks/s, best", "median", "99th percentile of an append"]
    rows = [[*head, "processor time an ack", "bytes written per byte"]]
    for what, usages in cases.items():
        for number, (name, usage) in enumerate(usages.items()):
            rounds = [sum(waits) for waits in usage.waits]
            waits = sorted(wait for waits in usage.waits for wait in waits)
            rows.append(
                [
                    "" if number else what,
                    name,
                    f"{usage.records / min(rounds):,.0f}",
                    f"{usage.records / statistics.median(rounds):,.0f}",
                    seconds(waits[int(len(waits) * 0.99)]),
                    seconds(statistics.median(usage.cpu_seconds) / usage.records),
                    f"{statistics.mean(usage.written_bytes) / usage.record_bytes:.1f}",
                ]
            )
    return table(rows)


def damage(cases: list[dict[str, Any]]) -> list[str]:
    """How processes ended that met a damaged log."""
    outcomes = ["sound", "reported", "unnoticed"]
    rows = [["log", "file", "damage", *outcomes, "process ended"]]
    for case in cases:
        counts = case["outcomes"]
        signals = [f"{count} by {name}" for name, count in counts.items() if name not in outcomes]
        cells = [str(counts.get(outcome, 0)) for outcome in outcomes]
        rows.append([case["log"], case["file"], case["damage"], *cells, ", ".join(signals) or "0"])
    return table(rows)


def facts(ledger: Ledger) -> list[str]:
    return table([["figure", "value"], *([*fact] for fact in ledger.facts)]) if ledger.facts else []


def not_ahead(found: list[Contest]) -> list[str]:
    """A sentence for every rival that Fusion does not beat by a tenth."""
    lines = []
    for contest in found:
        for rival in contest.figures[1:]:
            middle = statistics.median(contest.ratios(rival))
            if rival.own or middle > 1.1:
                continue
            verdict = "ties with" if middle >= 0.9 else "loses to"
            lines.append(f"- {contest.title}: {verdict} {rival.name}, {middle:.2f} × as fast")
    return lines
