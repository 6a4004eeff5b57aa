"""Questions are asked again and again: each is read once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

REMEMBERED = 4_096
# Longer ones are rare, and would take too much memory.
LONGEST = 512


def remembering(read: Callable[[str], T]) -> Callable[[str], T]:
    """The same reading of a query, whose results nobody must change."""
    remembered = lru_cache(REMEMBERED)(read)
    return lambda text: remembered(text) if len(text) <= LONGEST else read(text)
