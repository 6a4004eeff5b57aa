"""How long a request may wait for us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

# The public agent gives up after 5 s and never sends that batch again.
PATIENCE_SECONDS = 3.0


class Patience:
    """What a request may still wait, whatever for: each wait alone may be short enough, and all too long."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self.left_seconds = seconds

    @contextmanager
    def tried(self) -> Iterator[None]:
        """The time in this block counts as waiting."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.left_seconds -= time.monotonic() - began

    async def sleep(self, seconds: float) -> None:
        with self.tried():
            await asyncio.sleep(seconds)
