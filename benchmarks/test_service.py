"""A real server process: from a session to the first tree, and requests per second, beside a bare Sanic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
import orjson
import pytest
import submissions
from conftest import Corpus
from load import Connection, Getters, Pushes
from measure import Contender, Ledger, cpu_seconds, race
from memory import MIB, memory_bytes, resident_bytes
from processes import Process, bare_server, fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

AGENT_CONNECTIONS = 4
READER_CONNECTIONS = 8
READY_ROUNDS = 3
SESSIONS = "/ingestor-api/v1/sessions/"
TREE = "/views/fs/tree"


@pytest.fixture(scope="module")
def pushes(corpus: Corpus) -> Pushes:
    return Pushes(list(corpora.bodies(corpus.rows, "snapshot")))


@dataclass
class Filled:
    """A server that has just become ready, and what that took."""

    server: Process
    resident_bytes: int
    cpu_seconds: float
    seconds: dict[str, float]


def fill(server: Process, connections: list[Connection], pushes: Pushes) -> Filled:
    """One agent's snapshot: session, rows over all connections, end, and a tree that answers 200."""
    resident, cpu = resident_bytes(server.pid), cpu_seconds(server.pid)
    agent = connections[0]
    marks = [time.perf_counter()]
    answer = agent.call("POST", SESSIONS, b'{"task_id":"benchmark"}')
    assert answer.status == 200, answer.body
    session = orjson.loads(answer.body)["session_id"]
    pushes.send(connections, session)
    marks.append(time.perf_counter())
    end = orjson.dumps(
        {"session_id": session, "source_type": "snapshot", "is_snapshot_end": True, "events": []}
    )
    answer = agent.call("POST", "/ingestor-api/v1/events/", end)
    assert answer.status == 204, answer.body
    marks.append(time.perf_counter())
    answer = agent.call("GET", f"{TREE}?path=/&max_depth=1")
    assert answer.status == 200, answer.body
    marks.append(time.perf_counter())
    seconds = {
        "pushes": marks[1] - marks[0],
        "snapshot end": marks[2] - marks[1],
        "tree": marks[3] - marks[2],
    }
    return Filled(server, resident_bytes(server.pid) - resident, cpu_seconds(server.pid) - cpu, seconds)


def check_filled(corpus: Corpus, port: int) -> None:
    connection = Connection(port)
    stats = orjson.loads(connection.call("GET", "/views/fs/stats").body)
    connection.close()
    assert stats["total_files"] == corpus.nodes - corpus.directories
    assert stats["total_directories"] == corpus.directories


def test_ready(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    pushes: Pushes,
    tmp_path: Path,
) -> None:
    """From the session to the first tree; the peer only reads the same bodies."""
    best: Filled | None = None
    with ExitStack() as rounds:

        def connect(server: Process) -> list[Connection]:
            connections = [Connection(server.port) for _ in range(AGENT_CONNECTIONS)]
            for connection in connections:
                rounds.callback(connection.close)
            return connections

        def start_fusion() -> tuple[Process, list[Connection]]:
            rounds.close()
            server = rounds.enter_context(fusion_server(tmp_path))
            return server, connect(server)

        def start_bare() -> tuple[Process, list[Connection]]:
            rounds.close()
            server = rounds.enter_context(bare_server())
            return server, connect(server)

        def check(filled: Filled) -> None:
            nonlocal best
            check_filled(corpus, filled.server.port)
            if best is None or sum(filled.seconds.values()) < sum(best.seconds.values()):
                best = filled

        def snapshot(state: tuple[Process, list[Connection]]) -> Filled:
            return fill(*state, pushes)

        def read_only(state: tuple[Process, list[Connection]]) -> None:
            pushes.send(state[1], corpora.NO_SESSION, "/")

        def server_of(state: tuple[Process, list[Connection]]) -> int:
            return state[0].pid

        race(
            benchmark,
            ledger,
            f"session to first tree, {AGENT_CONNECTIONS} connections",
            len(corpus.rows),
            "row",
            Contender("fusion serve", start_fusion, snapshot, check, server_of),
            Contender("bare Sanic that reads the bodies", start_bare, read_only, lambda _: None, server_of),
            rounds=READY_ROUNDS,
        )
    assert best is not None
    steps = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in best.seconds.items())
    ledger.facts += [
        ("steps of the best round", steps),
        ("server's processor time in it", f"{best.cpu_seconds:.2f} s"),
        (
            "server's resident memory per node",
            f"{best.resident_bytes / corpus.nodes:.1f} bytes ({best.resident_bytes / MIB:,.0f} MiB)",
        ),
    ]


@pytest.fixture(scope="module")
def filled(corpus: Corpus, pushes: Pushes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that holds corpus S."""
    with fusion_server(tmp_path_factory.mktemp("server")) as server:
        connections = [Connection(server.port) for _ in range(AGENT_CONNECTIONS)]
        fill(server, connections, pushes)
        for connection in connections:
            connection.close()
        check_filled(corpus, server.port)
        yield server


def test_whole_tree(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, filled: Process) -> None:
    """All nodes in one answer, read to its last byte."""
    expected = len(orjson.dumps(corpora.tree_of(corpus.rows).as_dict()))
    connection = Connection(filled.port)

    def complete(length: int) -> None:
        assert length == expected  # connections raced: the order of children is not the corpus's

    subject = Contender(
        "fusion serve",
        lambda: None,
        lambda _: len(connection.call("GET", TREE).body),
        complete,
        lambda _: filled.pid,
    )
    title = f"the whole tree over HTTP, {expected / MIB:,.0f} MiB"
    race(benchmark, ledger, title, corpus.nodes, "node", subject, rounds=READY_ROUNDS)
    connection.close()
    ledger.facts.append(
        ("server's peak memory, whole tree included", f"{memory_bytes('VmHWM', filled.pid) / MIB:,.0f} MiB")
    )


@pytest.mark.parametrize(("what", "requests"), [("large", 400), ("small", 3000)], ids=["large", "small"])
def test_requests(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    filled: Process,
    tmp_path: Path,
    what: str,
    requests: int,
) -> None:
    """Requests per second for one submission's tree; the peer answers the same bytes from memory."""
    top = corpus.paths[submissions.SUBMISSION_NODES - 1]
    deep = what == "large"
    target = f"{TREE}?path={top}" if deep else f"{TREE}?path={top}&max_depth=1"
    reference = submission(corpus, top, deep=deep)
    with ExitStack() as stack:
        fusion = Getters(filled.port, target, READER_CONNECTIONS)
        stack.callback(fusion.close)
        assert sorted_json(fusion.expected.body) == orjson.dumps(reference, option=orjson.OPT_SORT_KEYS)
        (tmp_path / what).write_bytes(fusion.expected.body)
        peer = stack.enter_context(bare_server(tmp_path / what))
        bare = Getters(peer.port, f"/{what}", READER_CONNECTIONS)
        stack.callback(bare.close)
        assert bare.expected.body == fusion.expected.body

        used: dict[str, list[float]] = {}

        def measured(name: str, getters: Getters, pid: int) -> Contender:
            def run(started: float) -> tuple[int, float]:
                return getters.run(requests), started

            def check(result: tuple[int, float]) -> None:
                assert result[0] == requests
                used.setdefault(name, []).append(cpu_seconds(pid) - result[1])

            return Contender(name, lambda: cpu_seconds(pid), run, check, lambda _: pid)

        nodes = submissions.SUBMISSION_NODES if deep else 1 + submissions.SUBS
        subject = measured("fusion serve", fusion, filled.pid)
        race(
            benchmark,
            ledger,
            f"tree of {nodes} nodes over HTTP, {len(fusion.expected.body):,} bytes",
            requests,
            "request",
            subject,
            measured("bare Sanic, the same bytes", bare, peer.pid),
        )
    for figures in ledger.contests[-1].figures:
        each = min(used[figures.name]) / requests
        ledger.facts.append(
            (
                f"requests per second, tree of {nodes} nodes, {figures.name}",
                f"{requests / figures.best:,.0f} (server's processor time {each * 1e6:,.0f} µs a request)",
            )
        )


def submission(corpus: Corpus, top: str, *, deep: bool) -> dict[str, Any]:
    """The tree of one submission as its rows have it."""
    entry = corpora.tree_of(row for row in corpus.rows if row.path.startswith(top))
    for name in top.split("/")[1:]:
        assert entry.children is not None
        entry = entry.children[name]
    tree = entry.as_dict()
    if not deep:
        assert isinstance(tree["children"], dict)
        for child in tree["children"].values():
            del child["children"]
    return tree


def sorted_json(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
