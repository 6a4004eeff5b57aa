"""A real server process: from a session to the first tree, beside the peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import corpora
import orjson
import pytest
from conftest import Corpus
from filling import AGENT_CONNECTIONS, Filled, check_filled, fill
from load import Connection, Pushes
from measure import Contender, Ledger, race
from memory import MIB
from peers.service import FUSTOR, fustor_server
from processes import Process, bare_server, fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

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
