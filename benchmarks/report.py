"""The figures as a page: the machine and the versions, a table, and what does not fit one."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

from measure import MIB, Ledger

_PACKAGES = ("fusion-index", "orjson", "numpy", "sanic", "uvloop", "httptools")


def markdown(ledger: Ledger) -> str:
    lines = ["# First figures", "", *_machine(ledger), ""]
    table = [["what", "by", "best", "median", "each", "peak memory", "Fusion is"]]
    for contest in ledger.contests:
        fusion = contest.figures[0]
        for figures in contest.figures:
            first = figures is fusion
            table.append(
                [
                    f"{contest.title} ({contest.count:,} {contest.unit}s)" if first else "",
                    figures.name,
                    _seconds(figures.best),
                    _seconds(figures.median),
                    f"{_seconds(figures.best / contest.count)} a {contest.unit}",
                    f"{figures.peak_bytes / MIB:,.0f} MiB",
                    "" if first else _ratio(fusion.seconds, figures.seconds),
                ]
            )
    if ledger.contests:
        lines += [*_table(table), ""]
    if ledger.facts:
        lines += [*_table([["figure", "value"], *([*fact] for fact in ledger.facts)]), ""]
    lines += [
        "Contenders took turns, the garbage collector was off, every result was checked. The last column",
        "compares the times of each round: the median of these ratios, and the least and greatest one.",
        "Peak memory is what a round held at most beyond its start (over HTTP: in the server); what was",
        "kept from earlier rounds does not show.",
    ]
    return "\n".join(lines) + "\n"


def _machine(ledger: Ledger) -> list[str]:
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
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"- {model}, {os.cpu_count()} processors, {ram_gib:.0f} GiB; Linux {platform.release()}; "
        f"{time.strftime('%Y-%m-%d')}",
        f"- {platform.python_implementation()} {platform.python_version()}, {versions}",
        f"- load average {load[0]} at the start, {load[1]} at the end ({load[2]} over the last five minutes)",
        f"- host-warm: {ledger.warmed_bytes / MIB:,.0f} MiB touched and given back just before",
    ]


def _seconds(seconds: float) -> str:
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return (
                f"{seconds / scale:.3g} {name}"
                if seconds < 1000 * scale
                else f"{seconds / scale:,.0f} {name}"
            )
    return f"{seconds * 1e9:.3g} ns"


def _ratio(fusion: list[float], peer: list[float]) -> str:
    """How the two did round by round: load from elsewhere hits a round, not one of the two."""
    rounds = sorted(theirs / ours for ours, theirs in zip(fusion, peer, strict=True))
    return f"{statistics.median(rounds):.2f} × as fast ({rounds[0]:.2f} to {rounds[-1]:.2f})"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
