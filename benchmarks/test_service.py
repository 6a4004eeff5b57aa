"""A real server process: from a session to the first tree, and requests per second, beside a bare Sanic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import corpora
import orjson
import pytest
import submissions
from conftest import Corpus
from filling import AGENT_CONNECTIONS, TREE, Filled, check_filled, fill
from load import Connection, Getters, Pushes
from measure import Contender, Ledger, cpu_seconds, race
from memory import MIB, memory_bytes
from peers.service import FUSTOR, fustor_server
from processes import Process, bare_server, fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

READER_CONNECTIONS = 8
READY_ROUNDS = 3
FUSION = "fusion serve"
LOADS = "orjson.loads of the bodies alone"

Served = tuple[Process, list[Connection]]


@pytest.fixture(scope="module")
def bodies(corpus: Corpus) -> list[bytes]:
    return list(corpora.bodies(corpus.rows, "snapshot"))


@pytest.fixture(scope="module")
def pushes(bodies: list[bytes]) -> Pushes:
    return Pushes(bodies)


@pytest.mark.parametrize("connections", [AGENT_CONNECTIONS, 1])
def test_ready(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    bodies: list[bytes],
    pushes: Pushes,
    tmp_path: Path,
    connections: int,
) -> None:
    """From the session to the first tree, every push synced; the public service keeps nothing on the disk."""
    found: dict[str, list[Filled]] = {FUSION: [], FUSTOR: []}
    with ExitStack() as rounds:

        def start(make: Callable[[Path], AbstractContextManager[Process]]) -> Callable[[], Served]:
            def prepare() -> Served:
                rounds.close()
                directory = Path(rounds.enter_context(TemporaryDirectory(dir=tmp_path)))
                server = rounds.enter_context(make(directory))
                opened = [Connection(server.port, server.key) for _ in range(connections)]
                for connection in opened:
                    rounds.callback(connection.close)
                return server, opened

            return prepare

        def snapshot(state: Served) -> Filled:
            return fill(*state, pushes)

        def keep(name: str) -> Callable[[Filled], None]:
            def check(filled: Filled) -> None:
                check_filled(corpus, filled.server)
                found[name].append(filled)

            return check

        def read_only(state: Served) -> None:
            pushes.send(state[1], corpora.NO_SESSION, "/")

        def server_of(state: Served) -> int:
            return state[0].pid

        def loads(_: None) -> None:
            for body in bodies:
                orjson.loads(body)

        durable = start(lambda directory: fusion_server(directory, durability="fsync"))
        bare = start(lambda _: bare_server())
        rivals = [
            Contender(LOADS, lambda: None, loads, lambda _: None),
            Contender("bare Sanic that reads the bodies", bare, read_only, lambda _: None, server_of),
        ]
        if connections == AGENT_CONNECTIONS:
            rivals.append(Contender(FUSTOR, start(fustor_server), snapshot, keep(FUSTOR), server_of))
        contest = race(
            benchmark,
            ledger,
            f"session to first tree, {connections} connection{'s' * (connections > 1)}",
            len(corpus.rows),
            "row",
            Contender(FUSION, durable, snapshot, keep(FUSION), server_of),
            *rivals,
            rounds=READY_ROUNDS,
        )
    ledger.reach_share(f"ready, {connections}", contest, LOADS)
    if connections == AGENT_CONNECTIONS:
        ledger.reach_lead("ready, peer", contest, FUSTOR)
        ledger.reach("ready, memory", max(filled.excess_bytes for filled in found[FUSION]) / 1e6)
    for name, fills in found.items():
        if fills:
            ledger.facts += facts(f"{name}, connections: {connections}", fills, corpus.nodes)


def facts(name: str, fills: list[Filled], nodes: int) -> list[tuple[str, str]]:
    """What the best one of these rounds was made of."""
    best = min(fills, key=lambda filled: sum(filled.seconds.values()))
    return [
        (
            f"steps of the best round, {name}",
            ", ".join(f"{step} {seconds:.3f} s" for step, seconds in best.seconds.items()),
        ),
        ("server's processor time in it", f"{best.cpu_seconds:.2f} s"),
        (
            "server's resident memory per node after it",
            f"{best.resident_bytes / nodes:.1f} bytes ({best.resident_bytes / MIB:,.0f} MiB)",
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
        check_filled(corpus, server)
        yield server


def test_whole_tree(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, filled: Process) -> None:
    """All nodes in one answer, read to its last byte."""
    expected = len(orjson.dumps(corpora.tree_of(corpus.rows).as_dict()))
    connection = Connection(filled.port)

    def complete(length: int) -> None:
        assert length == expected  # connections raced: the order of children is not the corpus's

    subject = Contender(
        FUSION,
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
        subject = measured(FUSION, fusion, filled.pid)
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
