"""Measuring: contenders take turns, what each one did is checked, and the ledger keeps the figures."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

MIB = 1 << 20
_PACKAGES = ("fusion-index", "orjson", "numpy", "sanic", "uvloop", "httptools")


# Memory


def memory_bytes(field_name: str, pid: int | str = "self") -> int:
    """VmRSS (resident now) or VmHWM (resident at most) of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field_name)


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory, exact to the page."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise KeyError("Rss")


def forget_peak(pid: int | str = "self") -> int:
    """VmHWM begins anew at what is resident now, which is returned."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_bytes("VmHWM", pid)


def available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise KeyError("MemAvailable")


def warm_host(wanted_bytes: int) -> int:
    """Touch memory and give it back, so that a virtual machine's host has it backed; returns the bytes.

    Without it the first use of each page may wait for the host, and times are up to three times longer.
    """
    touched = min(wanted_bytes, available_bytes() // 2)
    np.ones(touched, dtype=np.uint8)
    return touched


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Contests


@dataclass
class Contender:
    """One way to do a thing: `run` is timed with what `prepare` made, `check` raises when it went wrong.

    `pid` says whose memory counts, given what `prepare` made.
    """

    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    check: Callable[[Any], None]
    pid: Callable[[Any], int | str] = lambda _: "self"


@dataclass
class Figures:
    """Times of one contender; `peak_bytes` is what a round held at most beyond its start."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def held(self, peak_bytes: int) -> None:
        self.peak_bytes = max(peak_bytes, self.peak_bytes)


@dataclass
class Contest:
    """What was measured; the first of `figures` is Fusion's. `unit` is what there are `count` of."""

    title: str
    count: int
    unit: str
    figures: list[Figures]


def race(
    benchmark: BenchmarkFixture, ledger: Ledger, title: str, count: int, unit: str,
    subject: Contender, *peers: Contender, rounds: int = 7,
) -> None:  # fmt: skip
    """Benchmark `subject`; before each of its rounds every peer has one, so that all see the same machine."""
    figures = {contender.name: Figures(contender.name) for contender in (subject, *peers)}
    state: Any = None
    result: Any = None
    resident = 0

    def setup() -> None:
        nonlocal state, resident
        for peer in peers:
            _one_round(peer, figures[peer.name])
        state = subject.prepare()
        resident = forget_peak(subject.pid(state))

    def target() -> None:
        nonlocal result
        result = subject.run(state)

    def teardown() -> None:
        nonlocal state, result
        figures[subject.name].held(memory_bytes("VmHWM", subject.pid(state)) - resident)
        subject.check(result)
        state = result = None

    benchmark.pedantic(target, setup=setup, teardown=teardown, rounds=rounds)
    figures[subject.name].seconds = list(benchmark.stats.stats.data)
    ledger.contests.append(Contest(title, count, unit, list(figures.values())))


def _one_round(contender: Contender, figures: Figures) -> None:
    state = contender.prepare()
    resident = forget_peak(contender.pid(state))
    started = time.perf_counter()
    result = contender.run(state)
    seconds = time.perf_counter() - started
    figures.held(memory_bytes("VmHWM", contender.pid(state)) - resident)
    contender.check(result)
    figures.seconds.append(seconds)


# Report


@dataclass
class Ledger:
    """Everything that was measured in this run."""

    warmed_bytes: int = 0
    load_before: tuple[float, float, float] = (0.0, 0.0, 0.0)
    contests: list[Contest] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = ["# First figures", "", *_machine(self), ""]
        table = [["what", "by", "best", "median", "each", "peak memory", "Fusion is"]]
        for contest in self.contests:
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
        if self.contests:
            lines += [*_table(table), ""]
        if self.facts:
            lines += [*_table([["figure", "value"], *([*fact] for fact in self.facts)]), ""]
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
    """How the two did round by round: load from elsewhere hits both sides of a round alike, but not all rounds."""
    rounds = sorted(theirs / ours for ours, theirs in zip(fusion, peer, strict=True))
    return f"{statistics.median(rounds):.2f} × as fast ({rounds[0]:.2f} to {rounds[-1]:.2f})"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
