"""Large answers asked for several times at one revision of an index are rendered once and held once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from weakref import WeakValueDictionary


class Rendering:
    """One large answer. It lives as long as somebody waits for it or sends it."""

    __slots__ = ("__weakref__", "_future")

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self._future = future
        # Everybody who asked may be gone by the time it fails.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def body(self) -> bytes:
        """The bytes. One client that goes away does not take them from the others."""
        return await asyncio.shield(self._future)


class Renderings:
    """The answers that are alive, by what was asked.

    A key holds the index's revision when its first request came; what is rendered shows that revision or a
    later one, so it serves every request that finds the index still there.
    """

    def __init__(self) -> None:
        self._alive: WeakValueDictionary[Hashable, Rendering] = WeakValueDictionary()

    def share(self, key: Hashable, render: Callable[[], asyncio.Future[bytes]]) -> Rendering:
        """The rendering of ``key``, started by ``render`` when there is none. Keep it beside its bytes."""
        rendering = self._alive.get(key)
        if rendering is None:
            rendering = self._alive[key] = Rendering(render())
        return rendering
