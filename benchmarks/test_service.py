"""A real server process: from a session to the first tree, and requests per second, beside a bare Sanic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import child
import corpora
import orjson
import pytest
import submissions
from conftest import NODES, Corpus
from filling import AGENT_CONNECTIONS, TREE, Filled, check_filled, fill
from load import Connection, Getters, Pushes
from measure import Contender, Ledger, cpu_seconds, race
from memory import MIB, memory_bytes
from peers import environment, job
from peers.contenders import Fustor
from processes import Process, bare_server, fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

READER_CONNECTIONS = 8
READY_ROUNDS = 3
LOADS = "orjson.loads of the bodies alone"


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
    """From the session to the first tree, every push synced; the peers only read the same bodies."""
    rounds_filled: list[Filled] = []
    with ExitStack() as rounds:

        def connect(server: Process) -> list[Connection]:
            made = [Connection(server.port) for _ in range(connections)]
            for connection in made:
                rounds.callback(connection.close)
            return made

        def start_fusion() -> tuple[Process, list[Connection]]:
            rounds.close()
            directory = Path(rounds.enter_context(TemporaryDirectory(dir=tmp_path)))
            server = rounds.enter_context(fusion_server(directory, durability="fsync"))
            return server, connect(server)

        def start_bare() -> tuple[Process, list[Connection]]:
            rounds.close()
            server = rounds.enter_context(bare_server())
            return server, connect(server)

        def check(filled: Filled) -> None:
            check_filled(corpus, filled.server.port)
            rounds_filled.append(filled)

        def snapshot(state: tuple[Process, list[Connection]]) -> Filled:
            return fill(*state, pushes)

        def read_only(state: tuple[Process, list[Connection]]) -> None:
            pushes.send(state[1], corpora.NO_SESSION, "/")

        def server_of(state: tuple[Process, list[Connection]]) -> int:
            return state[0].pid

        def loads(_: None) -> None:
            for body in bodies:
                orjson.loads(body)

        contest = race(
            benchmark,
            ledger,
            f"session to first tree, {connections} connection{'s' * (connections > 1)}",
            len(corpus.rows),
            "row",
            Contender("fusion serve", start_fusion, snapshot, check, server_of),
            Contender(LOADS, lambda: None, loads, lambda _: None),
            Contender("bare Sanic that reads the bodies", start_bare, read_only, lambda _: None, server_of),
            rounds=READY_ROUNDS,
        )
    ledger.reach_share(f"ready, {connections}", contest, LOADS)
    best = min(rounds_filled, key=lambda filled: sum(filled.seconds.values()))
    steps = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in best.seconds.items())
    ledger.facts += [
        (f"steps of the best round, connections: {connections}", steps),
        ("server's processor time in it", f"{best.cpu_seconds:.2f} s"),
    ]
    if connections == AGENT_CONNECTIONS:
        peer = peer_seconds(tmp_path)
        own = contest.figures[0]
        ledger.reach("ready, peer", peer / own.best, peer / own.median)
        ledger.reach("ready, memory", max(filled.excess_bytes for filled in rounds_filled) / 1e6)
        ledger.facts += [
            (f"the same rows read by {Fustor.name}, without HTTP", f"{peer:.2f} s"),
            (
                "server's resident memory per node",
                f"{best.resident_bytes / corpus.nodes:.1f} bytes ({best.resident_bytes / MIB:,.0f} MiB)",
            ),
        ]


def peer_seconds(directory: Path) -> float:
    """What the public service's parser takes for the bodies, in a process of its own."""
    job.write(directory, NODES)
    found = child.run("peers/run.py", Fustor.name, directory, python=environment.python())
    seconds: float = found["seconds"]["insert"]
    return seconds


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
