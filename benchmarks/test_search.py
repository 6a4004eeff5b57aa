"""Search over all names, against a comprehension over a list of them."""

from __future__ import annotations

from itertools import islice

import submissions
from checks import apply_all, is_equal
from conftest import Corpus
from measure import Contender, Ledger, race
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import PathIndex

NEEDLE = "Needle_7F3A.dat"


def test_search(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    """A rare name: all names are looked at."""
    index = apply_all(PathIndex(), corpus.bodies)
    index.upsert([f"{submissions.TOP}/{NEEDLE}"], [1], [1.0], [1.0], [False])
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
    contest = race(benchmark, ledger, "search for a rare name", len(names), "name", subject, peer, rounds=10)
    figures = contest.figures[0]
    ledger.reach("search 1", figures.best * 1e3, figures.median * 1e3)


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
    contest = race(benchmark, ledger, "search, the first 100", 100, "hit", subject, peer, rounds=20)
    figures = contest.figures[0]
    ledger.reach("search, first", figures.best * 1e3, figures.median * 1e3)
