"""What a datastore tells in the log: when its state changes, and what became of its sessions and snapshots.

Nothing here is called with a lock held: whoever reads standard error may be slow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from fusion.logs import event
from fusion.readiness import State, Trip
from fusion.sessions import Session

log = logging.getLogger("fusion.datastore")


class DatastoreLog:
    def __init__(self, datastore: str) -> None:
        self._datastore = datastore
        self._state: State | None = None

    def tell(self, level: int, name: str, sentence: str, **fields: Any) -> None:
        event(log, level, name, sentence, datastore=self._datastore, **fields)

    def state(self, state: State, reason: str | None) -> None:
        """The state now; told when it is another one than before."""
        if state is self._state:
            return
        before, self._state = self._state, state
        sentence = reason or "views are shown"
        self.tell(logging.INFO, "state_changed", sentence, state=state.value, before=before and before.value)

    def opened(self, session: Session, superseded: Iterable[Session]) -> None:
        for other in superseded:
            self.tell(
                logging.INFO,
                "session_superseded",
                "a newer session took its place",
                session_id=other.session_id,
                task_id=other.task_id,
                by=session.session_id,
            )
        self.tell(
            logging.INFO,
            "session_opened",
            "a session was opened",
            session_id=session.session_id,
            task_id=session.task_id,
            client_ip=session.client_ip,
        )

    def ended(self, session_id: str) -> None:
        self.tell(logging.INFO, "session_ended", "a session was ended by its agent", session_id=session_id)

    def expired(self, session_id: str) -> None:
        self.tell(logging.INFO, "session_expired", "a session was silent for too long", session_id=session_id)

    def tripped(self, trip: Trip) -> None:
        self.tell(
            logging.WARNING,
            "breaker_tripped",
            "an agent says that the tree differs from its source",
            session_id=trip.session_id,
            reason=trip.reason,
        )

    def snapshot_begun(self, session_id: str) -> None:
        self.tell(logging.INFO, "snapshot_begun", "the first rows of a snapshot came", session_id=session_id)

    def snapshot_ended(self, session_id: str, rows: int) -> None:
        self.tell(logging.INFO, "snapshot_ended", "a snapshot has ended", session_id=session_id, rows=rows)
