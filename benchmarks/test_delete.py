"""Deleting a subtree, and what is left after much deleting and inserting."""

from __future__ import annotations

import child
import submissions
from checks import apply_all, holds, is_equal
from conftest import NODES, Corpus
from measure import Contender, Ledger, race
from memory import MIB
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import PathIndex

DOOMED = "/doomed"
CHURN_ROUNDS = 20


def test_delete(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus) -> None:
    """A subtree of a tenth of the nodes, inserted again before each round."""
    index = apply_all(PathIndex(), corpus.bodies)
    rows = list(submissions.rows(NODES // 10, seed=3, root=DOOMED))
    paths = [row.path for row in rows]
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
    contest = race(benchmark, ledger, "delete a subtree", count, "node", subject, peer)
    figures = contest.figures[0]
    ledger.reach("delete", count / figures.best / 1e6, count / figures.median / 1e6)
    index._check()


def test_churn(ledger: Ledger) -> None:
    """Corpus C, in a process of its own."""
    found = child.run("churn.py", NODES, CHURN_ROUNDS)
    held = [figures["held"] for figures in found["rounds"]]
    ledger.reach("churn", held[-1] / held[0])
    deleted, sent = (sum(figures[key] for figures in found["rounds"]) for key in ("deleted", "sent"))
    ledger.facts.append(
        (
            f"resident memory in {CHURN_ROUNDS} rounds of C, {deleted:,} nodes deleted, {sent:,} rows sent",
            f"{held[0] / MIB:.1f} MiB after the first, {held[-1] / MIB:.1f} MiB after the last, "
            f"{max(held) / MIB:.1f} MiB at most after one, peak {found['peak'] / MIB:.1f} MiB",
        )
    )
