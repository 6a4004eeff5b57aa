"""Large answers: rendered once for all who ask at the same time, and bounded in bytes together."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Hashable

from fusion.api.budget import Budget

# What large answers may take of memory together; one that is larger goes alone.
BUDGET_BYTES = 1 << 30


class Rendering:
    """One large answer. Its bytes count against the budget as long as somebody holds it."""

    __slots__ = ("__weakref__", "_task", "revision")

    def __init__(
        self,
        budget: Budget,
        size_bytes: int,
        revision: Callable[[], int],
        render: Callable[[], asyncio.Future[bytes]],
    ) -> None:
        # Of the index, before it was read; None while it still waits for room.
        self.revision: int | None = None
        self._task = asyncio.create_task(self._run(budget, size_bytes, revision, render))
        # Everybody who asked may be gone by the time it fails.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def body(self) -> bytes:
        """The bytes. One client that goes away does not take them from the others."""
        return await asyncio.shield(self._task)

    async def _run(
        self,
        budget: Budget,
        size_bytes: int,
        revision: Callable[[], int],
        render: Callable[[], asyncio.Future[bytes]],
    ) -> bytes:
        await budget.take(size_bytes)
        release = weakref.finalize(self, budget.give_back, size_bytes)
        release.atexit = False
        self.revision = revision()
        try:
            return await render()
        except BaseException:
            # Its traceback holds on to us.
            release()
            raise


class Renderings:
    """The newest rendering of everything somebody is being sent or waits for."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = Budget(budget_bytes)
        self._newest: weakref.WeakValueDictionary[Hashable, Rendering] = weakref.WeakValueDictionary()

    def share(
        self,
        key: Hashable,
        size_bytes: int,
        revision: Callable[[], int],
        render: Callable[[], asyncio.Future[bytes]],
    ) -> Rendering:
        """What ``key`` looks like from now on: a rendering not begun yet, or one of the present revision.

        ``size_bytes`` is an estimate. Keep the rendering as long as its bytes.
        """
        newest = self._newest.get(key)
        if newest is None or newest.revision not in (None, revision()):
            newest = self._newest[key] = Rendering(self._budget, size_bytes, revision, render)
        return newest
