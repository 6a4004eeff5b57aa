"""Lookups in random order, of strings that were not hashed before, against a dict."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from checks import fresh, holds, is_equal
from conftest import Corpus
from measure import Contender, Ledger, race
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import PathIndex


@pytest.fixture(scope="module")
def shuffled(corpus: Corpus) -> list[str]:
    paths = list(corpus.paths)
    random.Random(2).shuffle(paths)
    return paths


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
    contest = race(benchmark, ledger, "lookups in random order", len(shuffled), "lookup", subject, peer)
    ledger.reach_share("contains", contest, peer.name)


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
    contest = race(benchmark, ledger, "nodes in random order", len(shuffled), "lookup", subject, peer)
    ledger.reach_share("get", contest, peer.name)
