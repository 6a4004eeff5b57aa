"""Bytes of memory that requests share."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple


class Budget:
    """Bytes to be held for a while. Who asks first gets first."""

    class _Waiter(NamedTuple):
        size_bytes: int
        turn: asyncio.Future[None]

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._waiters: deque[Budget._Waiter] = deque()

    def try_take(self, size_bytes: int) -> bool:
        """Take it if there is room and nobody waits for it."""
        if self._waiters or not self._fits(size_bytes):
            return False
        self._held_bytes += size_bytes
        return True

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room, or until nobody else holds any."""
        if self.try_take(size_bytes):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(self._Waiter(size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was granted at the same moment
                self.give_back(size_bytes)
            raise

    def give_back(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes
        while self._waiters:
            size_bytes, turn = self._waiters[0]
            if not turn.cancelled():
                if not self._fits(size_bytes):
                    return
                self._held_bytes += size_bytes
                turn.set_result(None)
            self._waiters.popleft()

    def _fits(self, size_bytes: int) -> bool:
        return not self._held_bytes or self._held_bytes + size_bytes <= self._budget_bytes


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held_bytes = 0

    async def grow(self, size_bytes: int, patience_seconds: float) -> bool:
        """Take more; False when there was no room in all that time."""
        if not self._budget.try_take(size_bytes):
            try:
                async with asyncio.timeout(patience_seconds):
                    await self._budget.take(size_bytes)
            except TimeoutError:
                return False
        self._held_bytes += size_bytes
        return True

    def shrink(self, size_bytes: int = 0) -> None:
        """Keep so much, and give back the rest."""
        if size_bytes < self._held_bytes:
            excess = self._held_bytes - size_bytes
            self._held_bytes = size_bytes
            self._budget.give_back(excess)
