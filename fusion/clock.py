"""The clock by which sessions grow old: it runs only while the server does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

STALL_SECONDS = 0.25
GRACE_SECONDS = 1.0


class Clock(Protocol):
    """Seconds since some moment, never going back."""

    def now(self) -> float: ...


# Monotonic seconds that go on while the machine is suspended, where the system can tell.
elapsed_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class ServingClock:
    """Seconds during which the server was able to read what its clients sent.

    The event loop calls `tick()` every 50 ms or so. A gap of more than `STALL_SECONDS` between two ticks (the
    loop was blocked, the process or the machine stopped) does not count, and neither does the `GRACE_SECONDS`
    after it, in which the heartbeats that waited in the sockets are read. `now()` follows the time between
    ticks, never sleeps and never goes back. Both may be called from any thread.
    """

    def __init__(self, monotonic: Callable[[], float] = elapsed_seconds) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ticked = monotonic()  # when the last tick came
        self._at_tick = 0.0  # what this clock showed then
        self._now = 0.0  # the latest it has shown
        self._frozen_until = self._ticked

    def tick(self) -> None:
        with self._lock:
            time_now = self._monotonic()
            self._advance(time_now)
            if time_now - self._ticked > STALL_SECONDS:
                self._frozen_until = time_now + GRACE_SECONDS
            self._ticked, self._at_tick = time_now, self._now

    def now(self) -> float:
        with self._lock:
            self._advance(self._monotonic())
            return self._now

    def _advance(self, time_now: float) -> None:
        gap = time_now - self._ticked
        if gap <= STALL_SECONDS and self._ticked >= self._frozen_until:
            self._now = self._at_tick + gap
