"""Whole trees over HTTP: one beside a bare Sanic and the peer, many at once, what others see meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import corpora
import numpy as np
import orjson
import submissions
from conftest import NODES, Corpus
from drain import Drained, SlowReader, drain
from filling import TREE, Filled
from load import EVENTS, Connection, head
from measure import Contender, Ledger, race
from memory import MIB, forget_peak, memory_bytes, resident_bytes
from peers.service import FUSTOR
from processes import Process, bare_server
from pytest_benchmark.fixture import BenchmarkFixture

FUSION = "fusion serve"
BARE = "bare Sanic, as many bytes from memory"
VIEWER = Path(__file__).with_name("viewer.py")
ROUNDS = 5
READERS = 24
PEER_READERS = 4
SLOW_BYTES_PER_SECOND = 10_000
PUSHES = 100


def test_one(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    fusion: Filled,
    fustor: Filled,
    tmp_path: Path,
) -> None:
    """The whole tree, read to its last byte and dropped."""
    server = fusion.server
    whole = tmp_path / "whole"
    body = len(orjson.dumps(corpora.tree_of(corpus.rows).as_dict()))
    whole.write_bytes(bytes(body))
    found: dict[str, list[Drained]] = {}

    def contender(name: str, process: Process, target: str, least: int) -> Contender:
        def check(drained: Drained) -> None:
            assert drained.bytes >= least
            found.setdefault(name, []).append(drained)

        return Contender(name, lambda: None, lambda _: drain(process, target), check, lambda _: process.pid)

    with bare_server(whole) as bare:
        contest = race(
            benchmark,
            ledger,
            f"the whole tree over HTTP, {body / MIB:,.0f} MiB",
            corpus.nodes,
            "node",
            contender(FUSION, server, TREE, body),
            contender(BARE, bare, "/stream/whole", body),
            contender(FUSTOR, fustor.server, f"{TREE}?path=/", body // 2),
            rounds=ROUNDS,
        )
    ledger.reach_share("stream", contest, BARE)
    ledger.reach("stream, memory", contest.figures[0].peak_bytes / 1e6)
    ledger.data["streams"] = [(figures.name, figures.best, figures.peak_bytes) for figures in contest.figures]
    for name, drained in found.items():
        first = min(each.first for each in drained)
        ledger.facts.append((f"first byte of the whole tree, {name}", f"{first * 1e3:.1f} ms"))


class Beside:
    """Another process that asks for a small tree, and heartbeats, until the block ends."""

    def __init__(self, stack: ExitStack, filled: Filled) -> None:
        top = submissions.base(submissions.names(NODES)[0])
        self._viewer = subprocess.Popen(
            [
                sys.executable,
                VIEWER,
                str(filled.server.port),
                filled.session,
                f"{TREE}?path={top}&max_depth=1",
                filled.server.key,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._viewer.kill)
        assert self._viewer.stdout is not None
        assert self._viewer.stdout.readline() == "\n"

    def seconds(self) -> dict[str, list[float]]:
        found = orjson.loads(self._viewer.communicate()[0])
        assert not found["refused"], found["refused"]
        seconds: dict[str, list[float]] = found["seconds"]
        return seconds


def shown(seconds: list[float]) -> str:
    middle, tail, longest = np.percentile(seconds, [50, 99, 100]) * 1e3
    return f"{middle:.2f} ms (median), {tail:.2f} ms (99th percentile), {longest:.2f} ms (longest)"


def test_others_meanwhile(ledger: Ledger, fusion: Filled, fustor: Filled) -> None:
    """What small questions take while one whole tree after the other is read."""
    for name, at, trees in ((FUSION, fusion, 10), (FUSTOR, fustor, 2)):
        with ExitStack() as stack:
            beside = Beside(stack, at)
            for _ in range(trees):
                drain(at.server, f"{TREE}?path=/")
            seconds = beside.seconds()
        if at is fusion:
            ledger.reach("stream, small", float(np.percentile(seconds["tree"], 99)) * 1e3)
        for what, times in seconds.items():
            ledger.facts.append((f"{what} beside a reader of whole trees, {name}", shown(times)))


class Draining(threading.Thread):
    """Reads a whole tree and adds what that took to a list."""

    def __init__(self, server: Process, found: list[Drained]) -> None:
        super().__init__()
        self._server, self._found = server, found

    def run(self) -> None:
        self._found.append(drain(self._server, f"{TREE}?path=/"))


def test_many(ledger: Ledger, fusion: Filled, fustor: Filled) -> None:
    """Many whole trees at once, one of them at 10 kB/s; the peer gets fewer readers, it needs much memory."""
    for name, at, readers in ((FUSION, fusion, READERS), (FUSTOR, fustor, PEER_READERS)):
        server = at.server
        with ExitStack() as stack:
            beside = Beside(stack, at)
            forget_peak(server.pid)
            before = resident_bytes(server.pid)
            slow = None
            if at is fusion:
                slow = SlowReader(server, TREE, SLOW_BYTES_PER_SECOND)
                stack.callback(slow.close)
            found: list[Drained] = []
            threads = [Draining(server, found) for _ in range(readers - 1 if slow else readers)]
            started = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            total = time.perf_counter() - started
            peak = memory_bytes("VmHWM", server.pid) - before
            seconds = beside.seconds()
        assert len(found) == len(threads)
        times = sorted(drained.seconds for drained in found)
        if slow is not None:
            assert slow.bytes > 0
            ledger.reach("readers, memory", peak / 1e6)
            ledger.reach("readers, small", float(np.percentile(seconds["tree"], 99)) * 1e3)
            ledger.reach("readers, heartbeat", float(np.percentile(seconds["heartbeat"], 99)) * 1e3)
        ledger.facts += [
            (
                f"{readers} readers of whole trees at once, {name}",
                f"{total:.2f} s for all{' but the slow one' if slow else ''}"
                f" ({times[0]:.2f} s the first, {times[-1]:.2f} s the last), + {peak / MIB:,.0f} MiB",
            ),
            *((f"{what} beside them, {name}", shown(each)) for what, each in seconds.items()),
        ]


def test_writer(ledger: Ledger, corpus: Corpus, fusion: Filled) -> None:
    """Pushes of 1000 rows all over the tree, alone and beside four readers of whole trees."""
    server = fusion.server
    bodies = []
    for number in range(PUSHES):
        rows = corpus.rows[number :: len(corpus.rows) // corpora.ROWS_PER_BODY][: corpora.ROWS_PER_BODY]
        (body,) = corpora.bodies(rows)
        bodies.append(body.replace(corpora.NO_SESSION.encode(), fusion.session.encode()))
    connection = Connection(server.port)

    def push() -> list[float]:
        times = []
        for body in bodies:
            started = time.perf_counter()
            connection.send(head("POST", EVENTS, len(body)) + body)
            assert connection.answer().status == 204
            times.append(time.perf_counter() - started)
        return times

    stopping = threading.Event()

    def read() -> None:
        while not stopping.is_set():
            drain(server, TREE)

    alone = push()
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    beside = push()
    stopping.set()
    for thread in threads:
        thread.join()
    connection.close()
    ledger.facts += [
        ("a synced push of 1000 rows all over the tree", shown(alone)),
        ("the same beside four readers of whole trees, on two processors", shown(beside)),
    ]
