"""Who may write to a datastore: its sessions and their leases. The newest session wins.

A pure state machine: no threads, no clock of its own. Two kinds of calls change it, and they are kept apart:

- `open`, `end` and `expire` are records of the datastore's log, applied in its order by one writer;
- `sweep`, `touch` and the count of a session's pushes follow what arrives, by the clock at each request.

`find` answers by the log alone (may a batch that waited in the queue still be applied?), `admit` also by the
clock (may this request come in?).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fusion.errors import SessionNotFound, SessionObsolete

REMEMBERED_OBSOLETE = 10_000


@dataclass(slots=True, eq=False)
class Session:
    session_id: str
    task_id: str
    client_ip: str
    timeout_seconds: int
    created_at: float  # epoch seconds
    last_activity: float  # epoch seconds
    seen: float = -math.inf  # the serving clock at the last sign of life
    pushes: int = 0  # accepted and not answered yet: whoever waits for us is not silent
    expired: bool = False  # found silent for too long; its record is on the way to the log


_KEPT_FIELDS = ("session_id", "task_id", "client_ip", "timeout_seconds", "created_at", "last_activity")


class Sessions:
    """The sessions of one datastore.

    Exclusive (`allow_concurrent = False`): a new session makes every other one obsolete. Concurrent: it only
    replaces the one with its own task id, and the others stay active without being authoritative.

    Not thread-safe: the datastore holds its lock around every call.
    """

    def __init__(self, allow_concurrent: bool, *, remembered: int = REMEMBERED_OBSOLETE) -> None:
        self.authoritative: str | None = None
        self.changes = 0  # in which sessions are active, or authoritative
        self._allow_concurrent = allow_concurrent
        self._remembered = remembered
        self._active: dict[str, Session] = {}  # in order of creation
        self._obsolete: dict[str, None] = {}  # ids, the oldest first
        self.look_again = math.inf  # nobody can expire before this reading of the clock

    # Records of the log

    def open(self, session: Session) -> list[Session]:
        """The newest session: authoritative from here on. Returns those whose place it takes."""
        self.changes += 1
        superseded = []
        for other in list(self._active.values()):
            if not self._allow_concurrent or other.task_id == session.task_id:
                del self._active[other.session_id]
                if not other.expired:
                    self._remember_obsolete(other.session_id)
                    superseded.append(other)
        self._active[session.session_id] = session
        self.authoritative = session.session_id
        self.look_again = min(self.look_again, session.seen + session.timeout_seconds)
        return superseded

    def end(self, session_id: str) -> None:
        """Ended by its own request. Nobody inherits; an obsolete session stays obsolete.

        Raises SessionNotFound when it is neither active nor obsolete."""
        if self._active.pop(session_id, None) is None and session_id not in self._obsolete:
            raise SessionNotFound()
        self.changes += 1
        self._disinherit(session_id)

    def expire(self, session_id: str) -> None:
        """Was silent for too long. This also holds when the log says so only after a newer session came."""
        self.changes += 1
        self._active.pop(session_id, None)
        self._obsolete.pop(session_id, None)
        self._disinherit(session_id)

    # What outlives the process

    def dump(self) -> dict[str, Any]:
        """The state by the log alone, for JSON."""
        return {
            "authoritative": self.authoritative,
            "active": [
                [getattr(session, name) for name in _KEPT_FIELDS] for session in self._active.values()
            ],
            "obsolete": list(self._obsolete),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a dump."""
        self.authoritative = state["authoritative"]
        sessions = [Session(**dict(zip(_KEPT_FIELDS, fields, strict=True))) for fields in state["active"]]
        self._active = {session.session_id: session for session in sessions}
        self._obsolete = dict.fromkeys(state["obsolete"])

    def renew(self, now: float) -> None:
        """Every lease begins at this reading of the clock."""
        self.look_again = math.inf
        for session in self._active.values():
            session.seen = now
            self.look_again = min(self.look_again, now + session.timeout_seconds)

    # Questions

    def find(self, session_id: str) -> Session:
        """The session, if the log up to here lets it write. Raises SessionNotFound or SessionObsolete."""
        session = self._active.get(session_id)
        if session is not None:
            return session
        if session_id in self._obsolete:
            raise SessionObsolete()
        raise SessionNotFound()

    def admit(self, session_id: str) -> Session:
        """The session, if a request of it may come in; call `sweep` first. Raises like `find`."""
        session = self.find(session_id)
        if session.expired:
            raise SessionNotFound()
        return session

    def active(self) -> list[Session]:
        """In order of creation; call `sweep` first."""
        return [session for session in self._active.values() if not session.expired]

    # Leases

    def sweep(self, now: float) -> list[str]:
        """Judge every lease by the clock; returns the ids of those found expired just now, for good."""
        if now <= self.look_again:
            return []
        found = []
        look_again = math.inf
        for session in self._active.values():
            if session.pushes:
                session.seen = max(session.seen, now)
            if session.expired:
                continue
            if now - session.seen > session.timeout_seconds:
                session.expired = True
                self.changes += 1
                found.append(session.session_id)
            else:
                look_again = min(look_again, session.seen + session.timeout_seconds)
        self.look_again = look_again  # at once: others read it without the lock
        return found

    def touch(self, session: Session, now: float, at: float) -> None:
        """A sign of life: `now` by the serving clock, `at` in epoch seconds."""
        session.seen = max(session.seen, now)
        session.last_activity = max(session.last_activity, at)

    def _remember_obsolete(self, session_id: str) -> None:
        self._obsolete[session_id] = None
        while len(self._obsolete) > self._remembered:
            del self._obsolete[next(iter(self._obsolete))]

    def _disinherit(self, session_id: str) -> None:
        if self.authoritative == session_id:
            self.authoritative = None
