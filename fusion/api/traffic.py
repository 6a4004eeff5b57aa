"""Requests by route and status, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

from sanic import Request

from fusion.counters import Durations

# Seconds. Few: there is a histogram for each route, method and status.
BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
# Where no route was found: whatever was asked for, it makes no label of its own.
UNKNOWN = "unknown"


class Asked(NamedTuple):
    route: str  # its template
    method: str
    status: int


class Traffic:
    """One for the server; used by the event loop alone."""

    def __init__(self) -> None:
        self._durations: dict[tuple[str, str, int], Durations] = {}

    def add(self, request: Request, status: int, began: float | None) -> None:
        """A request has its answer now; `began`: by `perf_counter`, None when no handler was asked.

        What follows, the sending of a large answer, takes as long as its client.
        """
        seconds = 0.0 if began is None else perf_counter() - began
        route = request.route
        key = (UNKNOWN, UNKNOWN, status) if route is None else (route.path, request.method, status)
        durations = self._durations.get(key)
        if durations is None:
            durations = self._durations[key] = Durations(BOUNDS)
        # durations.add() without the call: the smallest answers take 100 µs in all.
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.total_seconds += seconds

    def __iter__(self) -> Iterator[tuple[Asked, Durations]]:
        for (route, method, status), durations in list(self._durations.items()):
            template = route if route == UNKNOWN else f"/{route}"
            yield Asked(template, method, status), durations
