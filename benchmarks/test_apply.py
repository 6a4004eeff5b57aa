"""Decoding and inserting, against decoding alone; columns against a dict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import corpora
import orjson
import pytest
import submissions
from checks import apply_all, fresh, holds
from conftest import NODES, Corpus
from measure import Contender, Ledger, race
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import Batch, PathIndex

LOADS = "orjson.loads alone"


def decoding(bodies: list[bytes]) -> tuple[Contender, Contender]:
    """The scanner alone, and orjson."""
    last = orjson.loads(bodies[-1])["events"][-1]["rows"][-1]["file_path"]

    def loads(_: None) -> Any:
        for body in bodies:
            document = orjson.loads(body)
        return document["events"][-1]["rows"][-1]["file_path"]

    def scan(_: None) -> Any:
        for body in bodies:
            batch = Batch.scan(body)
        assert batch is not None
        return batch.to_list()[-1][2].decode()

    def right(path: str) -> None:
        assert path == last

    return (
        Contender("the scanner alone", lambda: None, scan, right, own=True),
        Contender(LOADS, lambda: None, loads, right),
    )


def test_apply(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    subject = Contender(
        "PathIndex.apply", PathIndex, lambda index: apply_all(index, corpus.bodies), holds(corpus)
    )
    title = "decode and insert, S"
    contest = race(
        benchmark, ledger, title, len(corpus.rows), "row", subject, *decoding(corpus.bodies), rounds=11
    )
    ledger.reach_share("apply S", contest, LOADS)


def some(nodes: int) -> Iterator[bytes]:
    """Corpus S as bodies, at a share of its size."""
    return submissions.bodies(nodes // 4)


SHAPES: dict[str, Callable[[int], Iterable[bytes]]] = {
    "R": lambda nodes: corpora.bodies(corpora.usr(max(1, nodes // 50_000))),
    "W": lambda nodes: corpora.bodies(corpora.wide(nodes)),
    "D": lambda nodes: corpora.bodies(corpora.deep(max(2000, nodes // 5))),
    "escaped": lambda nodes: corpora.bodies(
        corpora.with_escapes(submissions.rows(nodes // 4)), dumps=corpora.escaped
    ),
    "one-row events": lambda nodes: corpora.one_row_events(some(nodes)),
    "one-row bodies": lambda nodes: corpora.one_event_bodies(some(nodes)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(benchmark: BenchmarkFixture, ledger: Ledger, shape: str) -> None:
    bodies = list(SHAPES[shape](NODES))
    rows = sum(len(event["rows"]) for body in bodies for event in orjson.loads(body)["events"])
    files, size = 0, 0
    sample = []
    for number, body in enumerate(bodies):
        for event in orjson.loads(body)["events"]:
            files += sum(not row["is_dir"] for row in event["rows"])
            size += sum(row["size"] for row in event["rows"] if not row["is_dir"])
            if number % (len(bodies) // 100 + 1) == 0:
                sample += event["rows"]

    def right(index: PathIndex) -> None:
        stats = index.stats("/")
        assert (stats.files, stats.bytes, stats.files + stats.directories) == (files, size, len(index))
        for row in sample:
            node = index.get(row["file_path"])
            assert node is not None
            found = (node.path, node.size, node.modified_time, node.created_time, node.is_dir)
            assert found == tuple(row.values())

    subject = Contender("PathIndex.apply", PathIndex, lambda index: apply_all(index, bodies), right)
    title = f"decode and insert, {shape}"
    contest = race(benchmark, ledger, title, rows, "row", subject, *decoding(bodies), rounds=5)
    ledger.reach_share(f"apply {shape}", contest, LOADS)


def test_array_rows(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    bodies = list(corpora.bodies(corpus.rows, dumps=corpora.arrays))
    subject, objects = (
        Contender(name, PathIndex, lambda index, of=of: apply_all(index, of), holds(corpus), own=True)
        for name, of in (("rows that are arrays", bodies), ("rows that are objects", corpus.bodies))
    )
    title = "decode and insert, S as array rows"
    race(benchmark, ledger, title, len(corpus.rows), "row", subject, objects)


def test_update(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex) -> None:
    subject = Contender(
        "PathIndex.apply", lambda: index, lambda index: apply_all(index, corpus.bodies), holds(corpus)
    )
    title = "decode and update, rows of S that are there"
    race(benchmark, ledger, title, len(corpus.rows), "row", subject, *decoding(corpus.bodies)[1:])


def test_upsert(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    columns = (corpus.paths, corpus.sizes, corpus.modified_times, corpus.created_times, corpus.is_dir)

    def upsert(index: PathIndex) -> PathIndex:
        index.upsert(*columns)
        return index

    def insert(paths: list[str]) -> dict[str, int]:
        table = {}
        for number, path in enumerate(paths):
            table[path] = number
        return table

    def complete(table: dict[str, int]) -> None:
        assert len(table) == len(corpus.rows)

    subject = Contender("PathIndex.upsert", PathIndex, upsert, holds(corpus))
    peer = Contender("a dict of the paths", lambda: fresh(corpus.paths), insert, complete)
    contest = race(benchmark, ledger, "insert columns", len(corpus.rows), "row", subject, peer)
    ledger.reach_share("upsert", contest, peer.name)
