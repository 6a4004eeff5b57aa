"""The same questions to SQLite behind Sanic, and to `find` on real files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import orjson
import pytest
import submissions
from conftest import NODES, Corpus
from filling import AGENT_CONNECTIONS, RARE, RARE_PATH, TREE, fill
from found import FILES_EACH, find_tree, make_files, rows_of
from load import Connection, Pushes
from measure import Contender, Contest, Ledger, race
from processes import Process, fusion_server, running
from pytest_benchmark.fixture import BenchmarkFixture
from sqlite_sanic import make_database

FUSION = "fusion serve"
SQLITE = "SQLite and Sanic"
FIND = "find -printf, parsed"
SERVER = Path(__file__).with_name("sqlite_sanic.py")
ASKED = 20


@pytest.fixture(scope="module")
def servers(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    """Fusion and SQLite, with corpus S and one file more."""
    directory = tmp_path_factory.mktemp("servers")
    row = corpora.Row(RARE_PATH, 1, 1705832400.25, 1705832400.25, False)
    make_database(directory / "nodes.db", [*corpus.rows, row])
    with (
        fusion_server(directory) as fusion,
        running([str(SERVER), str(directory / "nodes.db")]) as sqlite,
    ):
        fill_with(fusion, list(corpora.bodies([*corpus.rows, row], "snapshot")))
        yield fusion, sqlite


def fill_with(server: Process, bodies: list[bytes]) -> None:
    connections = [Connection(server.port) for _ in range(AGENT_CONNECTIONS)]
    fill(server, connections, Pushes(bodies))
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("title", "mine", "theirs", "rounds"),
    [
        ("tree of 1005 nodes", TREE + "?path={top}", "/tree?path={top}", 20),
        ("tree of 5 nodes", TREE + "?path={top}&max_depth=1", "/tree?path={top}&max_depth=1", 50),
        ("statistics", "/views/fs/stats", "/stats", 5),
        ("search, a rare name", f"/views/fs/search?pattern={RARE}", f"/search?pattern={RARE}", 10),
        ("the whole tree", TREE, "/tree?path=/", 1),
    ],
    ids=["large", "small", "stats", "search", "whole"],
)
def test_sqlite(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    servers: tuple[Process, Process],
    title: str,
    mine: str,
    theirs: str,
    rounds: int,
) -> None:
    top = submissions.base(submissions.names(NODES)[1])
    with ExitStack() as stack:
        answers: dict[str, bytes] = {}

        def contender(name: str, server: Process, target: str) -> Contender:
            connection = Connection(server.port)
            stack.callback(connection.close)

            def check(body: bytes) -> None:
                answers[name] = body

            return Contender(
                name,
                lambda: None,
                lambda _: whole(connection, target.format(top=top)),
                check,
                lambda _: server.pid,
            )

        contest = race(
            benchmark,
            ledger,
            f"{title}, one at a time",
            1,
            "request",
            contender(FUSION, servers[0], mine),
            contender(SQLITE, servers[1], theirs),
            rounds=rounds,
        )
        fusion, sqlite = (orjson.loads(answers[name]) for name in (FUSION, SQLITE))
        if title == "statistics":
            assert {name: fusion[name] for name in sqlite} == sqlite
        else:
            assert fusion == sqlite
    latencies(ledger, title, contest)


def whole(connection: Connection, target: str) -> bytes:
    return connection.call("GET", target).body


def latencies(ledger: Ledger, title: str, contest: Contest) -> None:
    """For the plot: milliseconds by question and contender."""
    chart = ledger.data.setdefault("latencies", {})
    for figures in contest.figures:
        chart.setdefault(title, {})[figures.name] = figures.median * 1e3


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Process]]:
    """Real files, and a server that holds them."""
    top = tmp_path_factory.mktemp("files") / "top"
    make_files(top)
    with fusion_server(tmp_path_factory.mktemp("server")) as server:
        fill_with(server, list(corpora.bodies(list(rows_of(top)), "snapshot")))
        yield top, server


@pytest.mark.parametrize("what", ["all", "directories"])
def test_find(benchmark: BenchmarkFixture, ledger: Ledger, files: tuple[Path, Process], what: str) -> None:
    """A real directory, its pages in the cache: the whole of it, and some of its directories in turn."""
    top, server = files
    directories = sorted(str(path) for path in top.glob("*/*"))
    asked = [str(top)] if what == "all" else random.Random(1).sample(directories, ASKED)
    connection = Connection(server.port)

    def ask(answer: Callable[[str], bytes]) -> list[bytes]:
        return [answer(path) for path in asked]

    def check(bodies: list[bytes]) -> None:
        for path, body in zip(asked, bodies, strict=True):
            assert rounded(orjson.loads(body)) == rounded(orjson.loads(find_tree(path)))

    title = "a directory of 30,000 files" if what == "all" else f"directories of {FILES_EACH} files"
    contest = race(
        benchmark,
        ledger,
        f"{title}, one at a time",
        len(asked),
        "request",
        Contender(
            FUSION,
            lambda: None,
            lambda _: ask(lambda path: whole(connection, f"{TREE}?path={path}")),
            check,
            lambda _: server.pid,
        ),
        Contender(FIND, lambda: None, lambda _: ask(find_tree), check),
        rounds=5,
    )
    connection.close()
    each = [seconds / len(asked) * 1e3 for seconds in contest.figures[1].seconds]
    ledger.facts.append((f"{title}, {FIND}", f"{np.median(each):.2f} ms each"))
    chart = ledger.data.setdefault("latencies", {})
    for figures in contest.figures:
        chart.setdefault(title, {})[figures.name] = figures.median / len(asked) * 1e3


def rounded(node: dict[str, Any]) -> dict[str, Any]:
    """Times to the microsecond: `find` prints what a double does not hold."""
    node["modified_time"], node["created_time"] = (
        round(node["modified_time"], 6),
        round(node["created_time"], 6),
    )
    for child in node.get("children", {}).values():
        rounded(child)
    return node
