"""The levels of vector instructions that this machine has, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fusion._index import _simd

LEVELS = _simd(os.environ.get("FUSION_SIMD"))[1]


def each_level() -> Iterator[str]:
    """Every level while it is in use; afterwards the one that was chosen at the start."""
    try:
        for level in LEVELS:
            assert _simd(level)[0] == level
            yield level
    finally:
        _simd(os.environ.get("FUSION_SIMD"))
