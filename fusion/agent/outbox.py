"""Delivers messages in the order in which they were made, however long the server stays away."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from .spool import Spool
from .wire import Body

IN_MEMORY = 4  # messages; further ones wait for room
PATIENCE_SECONDS = 1.0  # for room in memory, then they go to the spool


class Outbox:
    """A queue between one who makes messages and the server; `run` delivers.

    While the server keeps up, no file is written: who makes messages waits for those before, and what changes
    meanwhile is told once. What has to wait for longer goes to the spool, and so does all that comes behind.
    """

    def __init__(self, push: Callable[[Body], Awaitable[None]], spool: Spool) -> None:
        self._push = push
        self._spool = spool
        self._memory: deque[Body] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def backlogged(self) -> bool:
        """Messages wait in the spool."""
        return len(self._spool) > 0

    async def put(self, body: Body) -> None:
        """Takes a message; raises ChangesLost when there is no place for it."""
        if not self.backlogged and await self._has_room():
            self._memory.append(body)
        else:
            await asyncio.to_thread(self._spool.put, body)
        self._empty.clear()
        self._filled.set()

    async def delivered(self) -> None:
        """Returns once the server has acknowledged every message."""
        await self._empty.wait()

    async def run(self) -> None:
        """Delivers until cancelled; raises what pushing does, or ChangesLost."""
        while True:
            await self._filled.wait()
            while self._memory:
                await self._push(self._memory[0])
                self._memory.popleft()
                self._room.set()
            while self._spool and not self._memory:
                await self._push(await asyncio.to_thread(self._spool.first))
                self._spool.remove_first()
            if not self._memory and not self._spool:
                self._filled.clear()
                self._empty.set()

    async def _has_room(self) -> bool:
        if len(self._memory) >= IN_MEMORY:
            self._room.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                return False
        return True
