"""The whole tree as JSON, against orjson."""

from __future__ import annotations

import corpora
import orjson
from checks import is_equal
from conftest import Corpus
from measure import Contender, Ledger, race
from memory import MIB
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import PathIndex


def test_tree(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, index: PathIndex) -> None:
    entries = corpora.tree_of(corpus.rows)
    ready = entries.as_dict()
    expected = orjson.dumps(ready)
    assert b"".join(map(bytes, index.tree_chunks())) == expected

    def chunks(_: None) -> int:
        return sum(map(len, index.tree_chunks()))

    right, right_length = is_equal(expected), is_equal(len(expected))
    contest = race(
        benchmark,
        ledger,
        f"the whole tree as JSON, {len(expected) / MIB:,.0f} MiB",
        corpus.nodes,
        "node",
        Contender("tree_chunks", lambda: None, chunks, right_length),
        Contender("tree_json", lambda: None, lambda _: index.tree_json(), right, own=True),
        Contender("orjson.dumps, dicts ready", lambda: None, lambda _: orjson.dumps(ready), right),
        Contender(
            "dicts from objects, orjson.dumps", lambda: None, lambda _: orjson.dumps(entries.as_dict()), right
        ),
    )
    ledger.reach_lead("tree, ready", contest, "orjson.dumps, dicts ready")
    ledger.reach_lead("tree, built", contest, "dicts from objects, orjson.dumps")
