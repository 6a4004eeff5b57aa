"""Measuring: contenders take turns, what each one did is checked, the ledger keeps the figures."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

MIB = 1 << 20


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


@dataclass
class Ledger:
    """Everything that was measured in this run."""

    warmed_bytes: int = 0
    load_before: tuple[float, float, float] = (0.0, 0.0, 0.0)
    contests: list[Contest] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


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
