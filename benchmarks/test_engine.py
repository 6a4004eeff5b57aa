"""The index against what a Python program would use in its place."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import corpora
import orjson
import pytest
from conftest import NODES, Corpus
from measure import MIB, Contender, Ledger, race
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import Batch, PathIndex

FOOTPRINT = Path(__file__).with_name("footprint.py")
DOOMED = "/doomed"
NEEDLE = "Needle_7F3A.dat"


@pytest.fixture(scope="module")
def index(corpus: Corpus) -> PathIndex:
    """Corpus S, applied; benchmarks that share it only read."""
    index = PathIndex()
    apply_all(index, corpus.bodies)
    return index


@pytest.fixture(scope="module")
def shuffled(corpus: Corpus) -> list[str]:
    paths = list(corpus.paths)
    random.Random(2).shuffle(paths)
    return paths


def apply_all(index: PathIndex, bodies: list[bytes]) -> PathIndex:
    for body in bodies:
        index.apply(body)
    return index


def holds(corpus: Corpus) -> Callable[[PathIndex], None]:
    """A check that an index holds the corpus."""

    def check(index: PathIndex) -> None:
        stats = index.stats("/")
        assert (stats.files + stats.directories, len(index)) == (corpus.nodes, corpus.nodes)
        assert (stats.directories, stats.bytes) == (corpus.directories, corpus.bytes)
        for row in corpus.rows[:: max(1, len(corpus.rows) // 1000)]:
            node = index.get(row.path)
            assert node is not None
            assert (node.path, node.size, node.modified_time, node.created_time, node.is_dir) == row

    return check


def is_equal(expected: Any) -> Callable[[Any], None]:
    def check(result: Any) -> None:
        assert result == expected

    return check


def decoding(corpus: Corpus) -> tuple[Contender, Contender]:
    """The scanner alone, and orjson."""

    def loads(_: None) -> Any:
        for body in corpus.bodies:
            document = orjson.loads(body)
        return document["events"][0]["rows"][-1]["file_path"]

    def scan(_: None) -> Any:
        for body in corpus.bodies:
            batch = Batch.scan(body)
        assert batch is not None
        return batch.to_list()[-1][2].decode()

    last = is_equal(corpus.paths[-1])
    return (
        Contender("the scanner alone", lambda: None, scan, last),
        Contender("orjson.loads alone", lambda: None, loads, last),
    )


def test_apply(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    subject = Contender(
        "PathIndex.apply", PathIndex, lambda index: apply_all(index, corpus.bodies), holds(corpus)
    )
    title = "decode and insert, bodies of 1000 rows"
    race(benchmark, ledger, title, len(corpus.rows), "row", subject, *decoding(corpus))


def test_update(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex) -> None:
    subject = Contender(
        "PathIndex.apply", lambda: index, lambda index: apply_all(index, corpus.bodies), holds(corpus)
    )
    title = "decode and update, rows that are there"
    race(benchmark, ledger, title, len(corpus.rows), "row", subject, *decoding(corpus)[1:])


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
    race(benchmark, ledger, "insert columns", len(corpus.rows), "row", subject, peer)


def fresh(paths: list[str]) -> list[str]:
    """The same strings as new objects, whose hash is not known yet."""
    return [path[:1] + path[1:] for path in paths]


def test_contains(
    benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex, shuffled: list[str]
) -> None:
    table: dict[str, None] = dict.fromkeys(corpus.paths)

    def count_in(container: PathIndex | dict[str, None]) -> Callable[[list[str]], int]:
        def run(paths: list[str]) -> int:
            found = 0
            for path in paths:
                if path in container:
                    found += 1
            return found

        return run

    for container in (index, table):
        assert count_in(container)([path + "x" for path in shuffled[:1000]]) == 0
    all_found = is_equal(len(shuffled))
    subject = Contender("path in PathIndex", lambda: fresh(shuffled), count_in(index), all_found)
    peer = Contender("path in dict", lambda: fresh(shuffled), count_in(table), all_found)
    race(benchmark, ledger, "lookups in random order", len(shuffled), "lookup", subject, peer)


def test_get(
    benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex, shuffled: list[str]
) -> None:
    table = dict(zip(corpus.paths, corpus.rows, strict=True))

    def count_got(get: Callable[[str], object]) -> Callable[[list[str]], int]:
        def run(paths: list[str]) -> int:
            found = 0
            for path in paths:
                if get(path) is not None:
                    found += 1
            return found

        return run

    holds(corpus)(index)
    all_found = is_equal(len(shuffled))
    subject = Contender("PathIndex.get", lambda: fresh(shuffled), count_got(index.get), all_found)
    peer = Contender("dict.get", lambda: fresh(shuffled), count_got(table.get), all_found)
    race(benchmark, ledger, "nodes in random order", len(shuffled), "lookup", subject, peer)


def test_tree(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex) -> None:
    entries = corpora.tree_of(corpus.rows)
    ready = entries.as_dict()
    expected = orjson.dumps(ready)
    assert b"".join(map(bytes, index.tree_chunks())) == expected

    def chunks(_: None) -> int:
        return sum(map(len, index.tree_chunks()))

    right, right_length = is_equal(expected), is_equal(len(expected))
    race(
        benchmark,
        ledger,
        f"the whole tree as JSON, {len(expected) / MIB:,.0f} MiB",
        corpus.nodes,
        "node",
        Contender("tree_chunks", lambda: None, chunks, right_length),
        Contender("tree_json", lambda: None, lambda _: index.tree_json(), right),
        Contender("orjson.dumps, dicts ready", lambda: None, lambda _: orjson.dumps(ready), right),
        Contender(
            "dicts from objects, orjson.dumps", lambda: None, lambda _: orjson.dumps(entries.as_dict()), right
        ),
    )


def test_search(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    """A rare name: all names are looked at."""
    index = apply_all(PathIndex(), corpus.bodies)
    index.upsert([f"{corpora.TOP}/{NEEDLE}"], [1], [1.0], [1.0], [False])
    names = [path.rpartition("/")[2] for path in corpus.paths] + [NEEDLE]
    wanted = NEEDLE[:9].upper()
    subject = Contender(
        "PathIndex.search",
        lambda: None,
        lambda _: [node.name for node in index.search(wanted)],
        is_equal([NEEDLE]),
    )
    peer = Contender(
        "list comprehension, lower()",
        lambda: wanted.lower(),
        lambda text: [name for name in names if text in name.lower()],
        is_equal([NEEDLE]),
    )
    race(benchmark, ledger, "search for a rare name", len(names), "name", subject, peer, rounds=10)


def test_search_first(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex) -> None:
    """A name that nearly all files have, the first 100 of them."""
    files = [row.path for row in corpus.rows if not row.is_dir]
    subject = Contender(
        "PathIndex.search",
        lambda: None,
        lambda _: [node.path for node in index.search("DATA_", 100)],
        is_equal(files[:100]),
    )
    peer = Contender(
        "generator, lower()",
        lambda: (path for path in files if "data_" in path.rpartition("/")[2].lower()),
        lambda found: list(islice(found, 100)),
        is_equal(files[:100]),
    )
    race(benchmark, ledger, "search, the first 100", 100, "hit", subject, peer, rounds=20)


def test_delete(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    """A subtree of a tenth of the nodes, inserted again before each round."""
    index = apply_all(PathIndex(), corpus.bodies)
    rows = list(islice(corpora.submissions(NODES, seed=3), NODES // 10))
    paths = [DOOMED + row.path for row in rows]
    table = dict.fromkeys(corpus.paths)
    columns = ([row.size for row in rows], [0.0] * len(rows), [0.0] * len(rows), [row.is_dir for row in rows])

    def insert() -> int:
        index.upsert(paths, *columns)
        return len(index) - corpus.nodes

    def fill() -> None:
        table.update(dict.fromkeys(paths))

    def erase(_: None) -> int:
        for path in paths:
            del table[path]
        return len(table)

    def gone(removed: int) -> None:
        assert removed >= len(rows) and DOOMED not in index
        holds(corpus)(index)

    count = insert()
    index.delete(DOOMED)
    subject = Contender("PathIndex.delete", insert, lambda _: index.delete(DOOMED), gone)
    peer = Contender("del of every path in a dict", fill, erase, is_equal(len(corpus.rows)))
    race(benchmark, ledger, "delete a subtree", count, "node", subject, peer)
    index._check()


def test_footprint(ledger: Ledger) -> None:
    """What one more process needs to hold corpus S."""
    found = {}
    for kind in ("index", "objects"):
        command = [sys.executable, str(FOOTPRINT), kind, str(NODES)]
        found[kind] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert found["index"]["nodes"] == found["objects"]["nodes"] >= min(NODES, corpora.SUBMISSION_NODES)
    for kind, name in (
        ("index", "PathIndex"),
        ("objects", "Python objects with slots and dicts of children"),
    ):
        held, nodes, peak = (found[kind][key] for key in ("held", "nodes", "peak"))
        value = (
            f"{held / nodes:.1f} bytes ({held / MIB:,.0f} MiB, peak {peak / MIB:,.0f} MiB, {nodes:,} nodes)"
        )
        ledger.facts.append((f"resident memory per node, {name}", value))
    parts = found["index"]["parts"]
    each = ", ".join(f"{name} {size / found['index']['nodes']:.1f}" for name, size in parts.items())
    ledger.facts.append(("bytes in use per node, by part", each))
