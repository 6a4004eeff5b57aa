"""A server that is pushed to as fast as it goes: what viewers see, and how fast single rows are kept."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import corpora
import numpy as np
import orjson
import submissions
from conftest import NODES, Corpus
from filling import AGENT_CONNECTIONS, TREE, check_filled, fill, open_session
from load import EVENTS, Connection, Pushes, head
from measure import Contender, Ledger, race
from processes import fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

VIEWER = Path(__file__).with_name("viewer.py")
ROUNDS = 3
ONE_ROW_ROUNDS = 10
ONE_ROW_PUSHES = 500
ONE_ROW_BAR = 1000
PAGE = bytes(4096)


def test_views(ledger: Ledger, corpus: Corpus, tmp_path: Path) -> None:
    """All files are pushed anew, round after round, while another process looks at one submission."""
    top = submissions.base(submissions.names(NODES)[0])
    changes = Pushes(list(submissions.bodies_of(submissions.names(NODES), seed=2)))
    with ExitStack() as stack:
        server = stack.enter_context(fusion_server(tmp_path, durability="fsync"))
        connections = [Connection(server.port) for _ in range(AGENT_CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
        filled = fill(server, connections, Pushes(list(corpora.bodies(corpus.rows, "snapshot"))))
        viewer = subprocess.Popen(
            [
                sys.executable,
                VIEWER,
                str(server.port),
                filled.session,
                f"{TREE}?path={top}&max_depth=1",
                server.key,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(viewer.kill)
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == "\n"
        started = time.perf_counter()
        for _ in range(ROUNDS):
            changes.send(connections, filled.session)
        seconds = time.perf_counter() - started
        found = orjson.loads(viewer.communicate()[0])
        check_filled(corpus, server)
    ledger.reach("refused", len(found["refused"]))
    for what, times in found["seconds"].items():
        middle, tail, longest = np.percentile(times, [50, 99, 100]) * 1e3
        ledger.reach(f"{what}, p99", tail)
        ledger.facts.append(
            (
                f"{what} beside pushes at full speed, {len(times):,} times",
                f"{middle:.2f} ms (median), {tail:.2f} ms (99th percentile), {longest:.2f} ms (longest)",
            )
        )
    rows = ROUNDS * len(changes.requests) * corpora.ROWS_PER_BODY
    ledger.facts.append(("rows pushed beside them", f"{rows / seconds / 1e3:,.0f} k a second"))


def test_one_row(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, tmp_path: Path) -> None:
    """One connection, one row a push, each answered when it is on the disk."""
    body = next(corpora.one_event_bodies(corpora.bodies(corpus.rows[:1])))
    with ExitStack() as stack:
        server = stack.enter_context(fusion_server(tmp_path, durability="fsync"))
        connection = Connection(server.port)
        stack.callback(connection.close)
        body = body.replace(corpora.NO_SESSION.encode(), open_session(connection).encode())
        request = head("POST", EVENTS, len(body)) + body
        file = stack.enter_context((tmp_path / "pages").open("wb", buffering=0))

        def records() -> int:
            health = orjson.loads(connection.call("GET", "/health/ready").body)
            found: int = health["datastores"]["bench"]["journal"]["last_record"]
            return found

        def push(before: int) -> int:
            for _ in range(ONE_ROW_PUSHES):
                connection.send(request)
                assert connection.answer().status == 204
            return before + ONE_ROW_PUSHES

        def check(expected: int) -> None:
            assert records() == expected

        def sync(_: None) -> None:
            for _ in range(ONE_ROW_PUSHES):
                file.write(PAGE)
                os.fdatasync(file.fileno())

        contest = race(
            benchmark,
            ledger,
            "one-row pushes, 1 connection",
            ONE_ROW_PUSHES,
            "row",
            Contender("fusion serve", records, push, check, lambda _: server.pid),
            Contender("write of 4 KiB and fdatasync", lambda: None, sync, lambda _: None),
            rounds=ONE_ROW_ROUNDS,
        )
    own, disk = contest.figures
    shares = [
        max(synced, ONE_ROW_PUSHES / ONE_ROW_BAR) / kept
        for kept, synced in zip(own.seconds, disk.seconds, strict=True)
    ]
    ledger.reach("one row", max(shares), statistics.median(shares))
    ledger.facts.append(("one-row pushes kept", f"{ONE_ROW_PUSHES / own.best:,.0f} a second"))
