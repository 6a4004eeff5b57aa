"""May views be shown? A pure state machine of one datastore, circuit breaker included.

It is told what the log says (a session opened, lost, a snapshot's rows, its end, an anomaly signal) and when
nothing is left to apply. Which session is authoritative is not its business: it is told of that one only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    EMPTY = "empty"  # no session yet
    SNAPSHOT = "snapshot"  # the authoritative session's snapshot end has not come
    DRAINING = "draining"  # it has come, but something accepted is not applied yet
    READY = "ready"
    STALE = "stale"  # the authoritative session expired or ended
    TRIPPED = "tripped"  # the circuit breaker is open
    RECOVERING = "recovering"  # the log is not replayed yet
    DAMAGED = "damaged"  # the journal has a hole


# Why nothing is shown, and what changes that.
REASONS = {
    State.EMPTY: "no agent has opened a session yet",
    State.SNAPSHOT: "the snapshot of the newest session has not ended yet",
    State.DRAINING: "the snapshot has ended, and the last of what was accepted is being applied",
    State.STALE: "the session that kept the tree up to date has ended or fallen silent; a new session has to"
    " send a snapshot",
    State.TRIPPED: "the tree is known to differ from its source; a snapshot that began later has to end",
    State.RECOVERING: "the journal is being replayed",
    State.DAMAGED: "the journal has a hole, and an operator has to look at it",
}


@dataclass(frozen=True, slots=True)
class Trip:
    """An open circuit breaker."""

    tripped_at: float  # epoch seconds, of the first signal since the breaker was closed
    reason: str | None
    session_id: str  # who sent the last signal


_KEPT_FLAGS = ("opened", "serving", "rows", "counts", "ended")


class Readiness:
    """Not thread-safe: the datastore holds its lock around every call."""

    def __init__(self) -> None:
        self.recovering = True
        self.damaged = False
        self.trip: Trip | None = None
        self._opened = False  # there ever was a session
        self._serving = False  # the authoritative session is alive, by the log
        self._silent = False  # it was found silent for too long; the log will say so
        self._rows = False  # a snapshot row came since the session was opened, or since its last end
        self._counts = False  # the latest snapshot began after the last anomaly signal
        self._ended = False  # a snapshot end came that may make the views ready
        self._latched = False
        self.losses = 0  # how often the views were closed again

    @property
    def state(self) -> State:
        if self.damaged:
            return State.DAMAGED
        if self.recovering:
            return State.RECOVERING
        if self.trip is not None:
            return State.TRIPPED
        if not self._opened:
            return State.EMPTY
        if not self._serving or self._silent:
            return State.STALE
        if self._latched:
            return State.READY
        return State.DRAINING if self._ended else State.SNAPSHOT

    @property
    def reason(self) -> str | None:
        """Why views are not shown, as a sentence; None when they are."""
        sentence = REASONS.get(self.state)
        if self.state is State.TRIPPED and self.trip and self.trip.reason:
            return f"{sentence} (reason: {self.trip.reason})"
        return sentence

    @property
    def snapshot_complete(self) -> bool:
        """The views are ready, or will be once everything accepted is applied."""
        return self._ended

    def open(self) -> None:
        """A new authoritative session, and with it its first snapshot."""
        self._opened = self._serving = True
        self._silent = False
        self._rows, self._counts = False, True
        self._close()

    def silence(self) -> None:
        """The authoritative session was found expired: views close at once, all else waits for the log."""
        self._silent = True

    def lose(self) -> None:
        """The authoritative session expired or was ended."""
        self._serving = self._silent = False
        self._close()

    def snapshot_rows(self) -> None:
        """Snapshot rows of the authoritative session were applied. The first ones begin its next snapshot."""
        if not self._rows:
            self._rows = self._counts = True

    def snapshot_end(self) -> None:
        """The authoritative session's snapshot end was applied. A repeated end changes nothing."""
        if self._serving and self._counts:
            self._ended = True
        self._rows = False

    def anomaly(self, tripped_at: float, reason: str | None, session_id: str) -> Trip:
        """Open the breaker, or note one more signal: only a snapshot that begins after it closes it."""
        self._close()
        if self.trip is not None:
            tripped_at = self.trip.tripped_at
            reason = self.trip.reason if reason is None else reason
        self.trip = Trip(tripped_at, reason, session_id)
        self._counts = False
        return self.trip

    def drained(self) -> None:
        """Nothing accepted is left to apply: a complete snapshot now counts, and closes the breaker."""
        if self._ended:
            self._latched = True
            self.trip = None

    def dump(self) -> dict[str, Any]:
        """What outlives the process, for JSON: the state by the log alone."""
        trip = self.trip and [self.trip.tripped_at, self.trip.reason, self.trip.session_id]
        return {"trip": trip} | {name: getattr(self, f"_{name}") for name in _KEPT_FLAGS}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a dump."""
        self.trip = state["trip"] and Trip(*state["trip"])
        for name in _KEPT_FLAGS:
            setattr(self, f"_{name}", state[name])

    def _close(self) -> None:
        if self._ended:  # that snapshot has closed the breaker, whether or not views were shown since
            self.trip = None
        self.losses += self._latched
        self._ended = self._latched = False
