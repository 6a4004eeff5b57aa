"""Work away from the event loop: two small thread pools, and waiting for the store's futures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """Decoding has threads of its own: a queue of large trees must not keep a push waiting."""

    def __init__(self) -> None:
        self._views = ThreadPoolExecutor(2, thread_name_prefix="fusion-view")
        self._decoding = ThreadPoolExecutor(2, thread_name_prefix="fusion-decode")

    def view(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._views, work, *arguments)

    def decode(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._decoding, work, *arguments)

    def close(self) -> None:
        """Wait for what is running, drop what is waiting."""
        self._views.shutdown(cancel_futures=True)
        self._decoding.shutdown(cancel_futures=True)


async def completion(future: Future[T]) -> T:
    """Await a future of the store.

    Not ``asyncio.wrap_future``: a client that goes away would cancel the store's own future through it, and
    what is queued is applied whether or not somebody still waits for the answer.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(lambda _: loop.call_soon_threadsafe(wake))
    await waiter
    return future.result()
