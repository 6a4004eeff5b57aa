"""Answers that were made before, kept while they are asked for and have not changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Remembered:
    """Bodies by question, each with the tag of what it shows. Those not asked for the longest go first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._bodies: OrderedDict[Hashable, tuple[Hashable, bytes]] = OrderedDict()

    def get(self, key: Hashable, tag: Hashable) -> bytes | None:
        """The body, if it is still what the tag stands for."""
        found = self._bodies.get(key)
        if found is None or found[0] != tag:
            return None
        self._bodies.move_to_end(key)
        return found[1]

    def put(self, key: Hashable, tag: Hashable, body: bytes) -> None:
        """One that is larger than all of them may be is not kept."""
        before = self._bodies.pop(key, None)
        if before is not None:
            self.bytes -= len(before[1])
        if len(body) > self.max_bytes:
            return
        self._bodies[key] = (tag, body)
        self.bytes += len(body)
        while self.bytes > self.max_bytes:
            _, (_, oldest) = self._bodies.popitem(last=False)
            self.bytes -= len(oldest)
