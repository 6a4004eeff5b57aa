"""What the benchmarks of the index share: filling one, and saying whether it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from conftest import Corpus

from fusion import PathIndex


def apply_all(index: PathIndex, bodies: Iterable[bytes]) -> PathIndex:
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


def fresh(paths: list[str]) -> list[str]:
    """The same strings as new objects, whose hash is not known yet."""
    return [path[:1] + path[1:] for path in paths]
