"""Requests per second and single questions, beside a bare Sanic with the same bytes and the peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import corpora
import orjson
import pytest
import submissions
from conftest import NODES, Corpus
from filling import RARE, RARE_PATH, TREE, Filled
from load import Connection, Getters
from measure import Contender, Ledger, cpu_seconds, race
from peers.service import FUSTOR
from processes import Process, bare_server
from pytest_benchmark.fixture import BenchmarkFixture

CONNECTIONS = 8
FUSION = "fusion serve"
BARE = "bare Sanic, the same bytes"
STATS = "/views/fs/stats"
AROUND = 256
SEARCHES = 50


def requests_of(
    name: str, server: Process, getters: Getters, requests: int, used: dict[str, float]
) -> Contender:
    """So many requests; `used` gets the processor time of the server for one, at best."""

    def run(started: float) -> tuple[int, float]:
        return getters.run(requests), started

    def check(result: tuple[int, float]) -> None:
        assert result[0] == requests
        each = (cpu_seconds(server.pid) - result[1]) / requests
        used[name] = min(used.get(name, each), each)

    return Contender(name, lambda: cpu_seconds(server.pid), run, check, lambda _: server.pid)


@pytest.mark.parametrize(
    ("what", "requests"), [("large", 400), ("small", 3000), ("stats", 3000)], ids=["large", "small", "stats"]
)
def test_requests(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    fusion: Filled,
    fustor: Filled,
    tmp_path: Path,
    what: str,
    requests: int,
) -> None:
    """Requests per second; the bare Sanic answers the same bytes from memory."""
    top = corpus.paths[submissions.SUBMISSION_NODES - 1]
    target = {"large": f"{TREE}?path={top}", "small": f"{TREE}?path={top}&max_depth=1", "stats": STATS}[what]
    with ExitStack() as stack:
        mine = Getters(fusion.server, [target], CONNECTIONS)
        stack.callback(mine.close)
        body = mine.expected[0].body
        if what != "stats":
            reference = submission(corpus, top, deep=what == "large")
            assert sorted_json(body) == orjson.dumps(reference, option=orjson.OPT_SORT_KEYS)
        (tmp_path / what).write_bytes(body)
        bare = stack.enter_context(bare_server(tmp_path / what))
        bare_getters = Getters(bare, [f"/{what}"], CONNECTIONS)
        stack.callback(bare_getters.close)
        assert bare_getters.expected[0].body == body
        used: dict[str, float] = {}
        rivals = [requests_of(BARE, bare, bare_getters, requests, used)]
        if what == "large":
            theirs = Getters(fustor.server, [target], CONNECTIONS)
            stack.callback(theirs.close)
            nodes = orjson.loads(theirs.expected[0].body)
            assert sum(1 for _ in walk(nodes)) == submissions.SUBMISSION_NODES
            rivals.append(requests_of(FUSTOR, fustor.server, theirs, requests, used))
        title = {
            "large": f"tree of {submissions.SUBMISSION_NODES} nodes",
            "small": f"tree of {1 + submissions.SUBS} nodes",
            "stats": "statistics",
        }[what]
        contest = race(
            benchmark,
            ledger,
            f"{title} over HTTP, {len(body):,} bytes",
            requests,
            "request",
            requests_of(FUSION, fusion.server, mine, requests, used),
            *rivals,
        )
    ledger.reach_lead(what, contest, BARE)
    if what == "large":
        ledger.reach_lead("large, peer", contest, FUSTOR)
    for figures in contest.figures:
        ledger.facts.append(
            (
                f"requests per second, {title}, {figures.name}",
                f"{requests / figures.best:,.0f} (server's processor time {used[figures.name] * 1e6:,.0f} µs"
                " each)",
            )
        )


def test_around(benchmark: BenchmarkFixture, ledger: Ledger, fusion: Filled, tmp_path: Path) -> None:
    """The same of many directories in turn: more than are remembered, so that each is rendered anew."""
    targets = [f"{TREE}?path={submissions.base(name)}" for name in submissions.names(NODES)[:AROUND]]
    with ExitStack() as stack:
        mine = Getters(fusion.server, targets, CONNECTIONS)
        stack.callback(mine.close)
        (tmp_path / "one").write_bytes(mine.expected[0].body)
        bare = stack.enter_context(bare_server(tmp_path / "one"))
        bare_getters = Getters(bare, ["/one"], CONNECTIONS)
        stack.callback(bare_getters.close)
        used: dict[str, float] = {}
        contest = race(
            benchmark,
            ledger,
            f"trees of {submissions.SUBMISSION_NODES} nodes, {len(targets)} directories in turn",
            2 * AROUND,
            "request",
            requests_of(FUSION, fusion.server, mine, 2 * AROUND, used),
            requests_of("bare Sanic, as many bytes", bare, bare_getters, 2 * AROUND, used),
        )
    ledger.facts.append(
        (
            f"requests per second, {len(targets)} directories in turn, {FUSION}",
            f"{2 * AROUND / contest.figures[0].best:,.0f}",
        )
    )


def test_not_modified(benchmark: BenchmarkFixture, ledger: Ledger, fusion: Filled) -> None:
    """The whole tree, which the client has already."""
    connection = Connection(fusion.server.port)
    answer = connection.call("GET", f"{TREE}?max_depth=0")
    connection.close()
    (tag,) = [line for line in answer.raw.split(b"\r\n") if line.lower().startswith(b"etag:")]
    getters = Getters(fusion.server, [TREE], CONNECTIONS, [f"If-None-Match: {tag[6:].decode()}"])
    assert getters.expected[0].status == 304
    used: dict[str, float] = {}
    contest = race(
        benchmark,
        ledger,
        "the whole tree, not modified (304)",
        3000,
        "request",
        requests_of(FUSION, fusion.server, getters, 3000, used),
    )
    getters.close()
    ledger.facts.append(
        ("requests per second, the whole tree, not modified", f"{3000 / contest.figures[0].best:,.0f}")
    )


def test_search(
    benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, fusion: Filled, fustor: Filled
) -> None:
    """A part of one file's name."""
    target = f"/views/fs/search?pattern={RARE}"

    with ExitStack() as stack:

        def contender(name: str, server: Process) -> Contender:
            connection = Connection(server.port, server.key)
            stack.callback(connection.close)

            def check(body: bytes) -> None:
                assert [node["path"] for node in orjson.loads(body)] == [RARE_PATH]

            return Contender(
                name, lambda: None, lambda _: connection.call("GET", target).body, check, lambda _: server.pid
            )

        contest = race(
            benchmark,
            ledger,
            f"search for {RARE!r} among {corpus.nodes:,} names over HTTP",
            1,
            "search",
            contender(FUSION, fusion.server),
            contender(FUSTOR, fustor.server),
            rounds=SEARCHES,
        )
    chart = ledger.data.setdefault("latencies", {}).setdefault("search, a rare name", {})
    chart |= {figures.name: figures.median * 1e3 for figures in contest.figures}
    figures = contest.figures[0]
    ledger.reach("search", figures.best * 1e3, figures.median * 1e3)


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in (node.get("children") or {}).values():
        yield from walk(child)


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
