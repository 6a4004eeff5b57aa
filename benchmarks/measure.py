"""Measuring: contenders take turns, what each one did is checked, the ledger keeps the figures."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory import forget_peak, memory_bytes
from pytest_benchmark.fixture import BenchmarkFixture


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Contender:
    """One way to do a thing: `run` is timed with what `prepare` made, `check` raises when it went wrong.

    `pid` says whose memory counts, given what `prepare` made; `own` that it is Fusion's, too, not a rival's.
    """

    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    check: Callable[[Any], None]
    pid: Callable[[Any], int | str] = lambda _: "self"
    own: bool = False


@dataclass
class Figures:
    """Times of one contender; `peak_bytes` is what a round held at most beyond its start."""

    name: str
    own: bool = False
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

    def ratios(self, rival: Figures) -> list[float]:
        """The rival's time over Fusion's, round by round: load from elsewhere hits both of a round."""
        return [theirs / ours for ours, theirs in zip(self.figures[0].seconds, rival.seconds, strict=True)]


@dataclass
class Reached:
    """The figure for a bar: of the best rounds and, where there were some, of the median one."""

    best: float
    median: float | None = None


@dataclass
class Ledger:
    """Everything that was measured for one page."""

    warmed_bytes: int = 0
    load_before: tuple[float, float, float] = (0.0, 0.0, 0.0)
    contests: list[Contest] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    reached: dict[str, Reached] = field(default_factory=dict)
    # What the plots and the tables of more than one row need: by name, in the test's own shape.
    data: dict[str, Any] = field(default_factory=dict)

    def reach(self, bar: str, best: float, median: float | None = None) -> None:
        self.reached[bar] = Reached(best, median)

    def reach_share(self, bar: str, contest: Contest, rival: str) -> None:
        """Fusion's time as a multiple of the rival's."""
        theirs = next(figures for figures in contest.figures if figures.name == rival)
        middle = statistics.median(contest.ratios(theirs))
        self.reach(bar, contest.figures[0].best / theirs.best, 1 / middle)

    def reach_lead(self, bar: str, contest: Contest, rival: str) -> None:
        """The rival's time as a multiple of Fusion's."""
        theirs = next(figures for figures in contest.figures if figures.name == rival)
        middle = statistics.median(contest.ratios(theirs))
        self.reach(bar, theirs.best / contest.figures[0].best, middle)


def race(
    benchmark: BenchmarkFixture, ledger: Ledger, title: str, count: int, unit: str,
    subject: Contender, *peers: Contender, rounds: int = 7,
) -> Contest:  # fmt: skip
    """Benchmark `subject`; before each of its rounds every peer has one, so that all see the same machine."""
    figures = {contender.name: Figures(contender.name, contender.own) for contender in (subject, *peers)}
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
    contest = Contest(title, count, unit, list(figures.values()))
    ledger.contests.append(contest)
    return contest


def _one_round(contender: Contender, figures: Figures) -> None:
    state = contender.prepare()
    resident = forget_peak(contender.pid(state))
    started = time.perf_counter()
    result = contender.run(state)
    seconds = time.perf_counter() - started
    figures.held(memory_bytes("VmHWM", contender.pid(state)) - resident)
    contender.check(result)
    figures.seconds.append(seconds)
