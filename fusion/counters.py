"""What is counted as it happens: plain numbers, for whoever wants to show them.

Each is written by one thread; another one that reads it may miss what happens just now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


class Durations:
    """How often something took how long, by buckets.

    bounds: the largest seconds of each bucket but the last, which has none. `counts` has one number for each
    bucket.
    """

    __slots__ = ("bounds", "counts", "total_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_seconds += seconds


@dataclass(slots=True)
class Totals:
    """What a datastore has seen since the process began; what a recovery replays is not among it."""

    rows: int = 0  # applied
    batches: int = 0  # applied
    body_bytes: int = 0  # of those batches, as JSON
    sessions_opened: int = 0
    sessions_superseded: int = 0
    sessions_expired: int = 0
    sessions_ended: int = 0
    anomalies: int = 0
