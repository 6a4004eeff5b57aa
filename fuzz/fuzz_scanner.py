"""Coverage-guided fuzzing of the strict scanner against the complete decoder; see README.md.

The scanner is compiled with libFuzzer's counters, so that a body that reaches a new branch of it is kept and
mutated further. A body that it takes must be taken by Batch.parse too and read the same, to the bit, at every
level of vector instructions.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

from fusion._index import Batch, _simd
from fusion.errors import FusionError

LEVELS = _simd()[1]


def read(batch: Batch) -> tuple[Any, ...]:
    """All that a batch holds. Of a float repr() says everything, the sign of zero too."""
    return (
        batch.session_id,
        batch.source_type,
        batch.is_snapshot_end,
        batch.max_index,
        batch.last_index,
        repr(batch.to_list()),
    )


def scan(body: bytes, level: str) -> tuple[Any, ...] | None:
    _simd(level)
    batch = Batch.scan(body)
    return None if batch is None else read(batch)


def check(body: bytes) -> None:
    scanned, *others = (scan(body, level) for level in LEVELS)
    assert all(other == scanned for other in others), "levels disagree"
    if scanned is None:
        return
    try:
        parsed = read(Batch.parse(body))
    except FusionError as error:
        raise AssertionError(f"accepted what is refused: {error}") from error
    assert scanned == parsed, "read differently"


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
