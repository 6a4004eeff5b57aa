"""One datastore: its index, its sessions, its readiness, and the queue through which all changes go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import orjson

from fusion._index import Applied, Batch, PathIndex
from fusion.clock import Clock
from fusion.counters import Totals
from fusion.datastore_log import DatastoreLog
from fusion.errors import (
    DamagedRecord,
    FusionError,
    JournalDamaged,
    NotReady,
    Overloaded,
    PositionNotFound,
    SessionObsolete,
)
from fusion.events import shown
from fusion.ingest import Ingest
from fusion.journal import Journal, Recovered
from fusion.readiness import Readiness, State
from fusion.records import (
    Anomaly,
    EndSession,
    ExpireSession,
    OpenSession,
    Push,
    Record,
    Reset,
    decode,
    encode,
)
from fusion.sessions import Session, Sessions
from fusion.settings import DatastoreSettings

T = TypeVar("T")

_DAY_SECONDS = 86_400
_RETRY_SECONDS = 1.0
# Of a session, what those may see who only read: its id is for its agent alone.
_SEEN_BY_READERS = (
    "task_id",
    "client_ip",
    "created_at",
    "last_activity",
    "authoritative",
    "session_timeout_seconds",
)


class SessionGrant(NamedTuple):
    session_id: str
    session_timeout_seconds: int
    suggested_heartbeat_interval_seconds: int


class Datastore:
    """What a request handler talks to.

    Every method may be called from any thread and returns at once; changes return futures, completed by the
    writer thread once they are applied. `index` is there to be read. Methods that name a session raise
    SessionNotFound when it is unknown, expired or ended and SessionObsolete when a newer one took its place;
    a change is judged so twice, on arrival (by the clock, too) and when its turn comes, which is what counts.
    Until the journal is replayed they raise NotReady, and for good JournalDamaged when that is not possible.

    Without a journal nothing outlives the process.
    """

    def __init__(
        self,
        name: str,
        settings: DatastoreSettings,
        *,
        clock: Clock,
        wall: Callable[[], float] = time.time,
        journal: Journal | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.index = PathIndex()
        self._clock = clock
        self._wall = wall
        self._journal = journal
        self._replayed = self._to_replay = 0  # records
        self._hindrance: str | None = None  # why the recovery has to be tried again
        self._is_unvouched = False  # something was applied in part
        # Guards sessions, readiness, positions and latency; never held while the index works. A record is
        # queued under it where its session was just judged: the order of judgements is the order of the log.
        self._lock = threading.Lock()
        self._sessions = Sessions(settings.allow_concurrent_push)
        self._readiness = Readiness()
        self._positions: dict[str, int] = {}  # by task id
        self._last_event_latency_ms = 0.0
        self._unrecorded: list[str] = []  # expired sessions whose records could not be kept yet
        self._snapshot_rows = 0  # applied of the snapshot that has not ended yet
        self._log = DatastoreLog(name)
        self.totals = Totals()
        self._ingest = Ingest(
            name,
            append=self._append,
            apply=self._apply_live,
            on_applied=self._on_applied,
            queue_bytes=settings.queue_bytes,
        )

    def start(self) -> None:
        """Begin to recover, then to apply changes. Until then the state is `recovering`."""
        if self._journal is None:
            self.recover()
            self._ingest.start()
        else:
            self._ingest.start(self.recover)

    def work(self) -> bool:
        """Without `start`: see one group of changes through, after `recover`; False when closed and done."""
        return self._ingest.work()

    def close(self) -> None:
        """Apply everything accepted so far, then stop for good."""
        self._ingest.close()
        if self._journal is not None:
            self._journal.close()

    @property
    def recovering(self) -> bool:
        """The journal is being replayed: what came before is not known yet."""
        return self._readiness.recovering and self._ingest.refusal is None

    def health(self) -> dict[str, Any]:
        """What an operator wants to know. `ok`: changes are taken, and kept as the settings say."""
        journal = self._journal and self._journal.status()
        obstacle = self._obstacle
        problem = obstacle or (journal and journal["error"])
        with self._lock:
            self._sweep()
            state, reason = self._readiness.state, self._readiness.reason
        return {
            "ok": not (self.recovering or problem),
            "state": state.value,
            "reason": obstacle or reason,
            "problem": problem,
            "progress": self._progress(state),
            "durability": self.settings.durability,
            "queue": self.queue,
            "inflight": self.inflight,
            "recovery": {"replayed": self._replayed, "records": self._to_replay} if self.recovering else None,
            "journal": journal,
        }

    def status(self) -> dict[str, Any]:
        """What is going on, at any time and in microseconds: for people who watch, and their dashboards.

        Times are epoch seconds. Of the tree it tells the sums only when views may be shown.
        """
        obstacle = self._obstacle
        problem = obstacle or (self._journal and self._journal.error)
        with self._lock:
            self._sweep()
            readiness = self._readiness
            state, reason, trip = readiness.state, readiness.reason, readiness.trip
            sessions = [] if readiness.recovering else self._active_sessions()
        index, totals = self.index, self.totals
        ready = state is State.READY and self._ingest.refusal is None
        stats = index.stats() if ready else None
        nodes = len(index)
        return {
            "datastore": self.name,
            "state": state.value,
            "reason": obstacle or reason,
            "ready": ready,
            "problem": problem,
            "progress": self._progress(state),
            "durability": self.settings.durability,
            "breaker": {"tripped": trip is not None, "reason": trip and trip.reason},
            "revision": index.revision,
            "nodes": nodes,
            "files": stats and stats.files,
            "directories": stats and stats.directories,
            "bytes": stats and stats.bytes,
            "bytes_per_node": self._bytes_per_node(nodes),
            "totals": {"rows": totals.rows, "batches": totals.batches, "body_bytes": totals.body_bytes},
            "queue": {"batches": self.queue, "bytes": self._ingest.held_bytes},
            "inflight": self.inflight,
            "last_event_latency_ms": self._last_event_latency_ms if self._positions else None,
            "sessions": [{name: session[name] for name in _SEEN_BY_READERS} for session in sessions],
        }

    @property
    def journal(self) -> Journal | None:
        """Where the datastore is kept: there to be looked at."""
        return self._journal

    @property
    def held_bytes(self) -> int:
        """Of accepted changes that wait or are being applied."""
        return self._ingest.held_bytes

    @property
    def _obstacle(self) -> str | None:
        """Why it cannot recover, for good or for now."""
        refusal = self._ingest.refusal
        return refusal.detail if refusal else self._hindrance

    def _progress(self, state: State) -> dict[str, Any] | None:
        """Of a recovery, in records, or of a snapshot, in rows, whose number nobody knows before its end."""
        if state is State.RECOVERING:
            return {"phase": "recovery", "done": self._replayed, "total": self._to_replay}
        if state in (State.SNAPSHOT, State.DRAINING) or self._snapshot_rows:
            return {"phase": "snapshot", "done": self._snapshot_rows, "total": None}
        return None

    def _bytes_per_node(self, nodes: int) -> float:
        memory = self.index.memory()
        return round((memory["total"] - memory["views"]) / max(nodes, 1), 1)

    def check_space(self) -> None:
        """Raises DiskFull when a push would be refused for want of room on the disk."""
        if self._journal is not None:
            self._journal.check_space()

    # Readiness

    @property
    def state(self) -> str:
        """`empty`, `snapshot`, `draining`, `ready`, `stale`, `tripped` or `recovering`, judged now."""
        with self._lock:
            self._sweep()
            return self._readiness.state.value

    def is_unbroken(self, since: int) -> bool:
        """Whether the tree was not replaced since `check_ready` returned that. For what took microseconds."""
        return self._readiness.losses == since

    @property
    def queue(self) -> int:
        """Accepted changes waiting for their turn."""
        return self._ingest.queue

    @property
    def inflight(self) -> int:
        """Changes being applied."""
        return self._ingest.inflight

    def check_ready(self, since: int | None = None) -> int:
        """Raises NotReady unless views may be shown now, and have been without a break since an earlier call.

        Returns what a later call takes as `since`.
        """
        # Nearly always all is well, which is seen without the lock: the writer may hold it and want the GIL.
        readiness = self._readiness
        losses = readiness.losses
        if (
            since in (None, losses)
            and readiness.state is State.READY
            and self._ingest.refusal is None
            and self._clock.now() <= self._sessions.look_again
        ):
            return losses
        with self._lock:
            self._sweep()
            state, losses = self._readiness.state.value, self._readiness.losses
        if (refusal := self._ingest.refusal) is not None:
            raise refusal
        if state != "ready":
            raise NotReady(state, self.queue, self.inflight)
        if since not in (None, losses):
            detail = "the tree was replaced while this answer was made; ask again"
            raise NotReady("snapshot", self.queue, self.inflight, detail=detail)
        return losses

    # Sessions

    def open_session(
        self, task_id: str, client_info: dict[str, Any] | None, client_ip: str
    ) -> Future[SessionGrant]:
        """A new session, authoritative from its turn on. `client_info` is logged and not kept."""
        timeout_seconds = self.settings.session_timeout_seconds
        session_id = str(uuid4())
        self._log.tell(
            logging.DEBUG,
            "session_requested",
            "an agent asks for a session",
            task_id=task_id,
            client_info=str(client_info),
        )
        with self._lock:
            self._require_recovered()
            # Sessions silent for too long by now are expired, not obsolete.
            self._sweep()
            return self._ingest.submit(
                OpenSession(session_id, task_id, client_ip, timeout_seconds, self._wall())
            )

    def heartbeat(self, session_id: str) -> None:
        with self._lock:
            self._touch(self._admit(session_id))

    def end_session(self, session_id: str) -> Future[None]:
        """End a session for good. No effect on an obsolete one."""
        with self._lock:
            try:
                self._admit(session_id)
            except SessionObsolete:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            return self._ingest.submit(EndSession(session_id, self._wall()))

    def sessions(self) -> list[dict[str, Any]]:
        """The active sessions in order of creation; times are epoch seconds."""
        with self._lock:
            self._require_recovered()
            self._sweep()
            return self._active_sessions()

    def position(self, session_id: str) -> int:
        """The highest index accepted for the session's task. Raises PositionNotFound when there is none."""
        with self._lock:
            session = self._admit(session_id)
            self._touch(session)
            try:
                return self._positions[session.task_id]
            except KeyError:
                raise PositionNotFound() from None

    # Changes

    def push(self, batch: Batch) -> Future[Any]:
        """Queue a batch: its future is done when every row of it is kept and applied.

        A batch whose source is `anomaly` trips the circuit breaker. Raises Overloaded when the queue is full,
        DiskFull when the disk is; the attempt counts as a sign of life all the same, since the session is not
        to blame.
        """
        with self._lock:
            session = self._admit(batch.session_id)
            if batch.source_type != "message":
                self._require_authoritative(session)
            self._touch(session)
            if batch.source_type == "anomaly":
                return self._ingest.submit(Anomaly(session.session_id, None, self._wall()))
            self.check_space()
            future = self._ingest.submit(Push(batch, self._wall()), batch.nbytes)
            session.pushes += 1
        future.add_done_callback(lambda _: self._answered(session))
        return future

    def anomaly(
        self,
        session_id: str,
        reason: str | None,
        detected_at: float | None,
        differences: list[dict[str, Any]],
    ) -> Future[dict[str, Any]]:
        """Trip the circuit breaker: the view is known to differ from its source.

        The authoritative session alone may do so. `detected_at` (epoch seconds) and the number of differences
        are logged and not kept.
        """
        with self._lock:
            session = self._admit(session_id)
            self._require_authoritative(session)
            self._touch(session)
            future = self._ingest.submit(Anomaly(session_id, reason, self._wall()))
        self._log.tell(
            logging.INFO,
            "anomaly_signalled",
            "an agent found that the tree differs from its source",
            session_id=session_id,
            detected_at=detected_at,
            differences=len(differences),
        )
        return future

    def reset(self) -> Future[None]:
        """Empty the tree. Raises NotReady like a view."""
        self.check_ready()
        return self._ingest.submit(Reset(self._wall()))

    # Statistics

    def consistency(self) -> dict[str, Any]:
        """The circuit breaker; `tripped_at` is in epoch seconds."""
        with self._lock:
            self._require_recovered()
            trip = self._readiness.trip
        return {
            "tripped": trip is not None,
            "tripped_at": trip and trip.tripped_at,
            "reason": trip and trip.reason,
            "session_id": trip and trip.session_id,
        }

    def stats(self) -> dict[str, Any]:
        """The view's statistics; `timestamp` is in epoch seconds."""
        with self._lock:
            self._sweep()
            state, sessions = self._readiness.state.value, len(self._sessions.active())
        revision = self.index.revision
        stats = self.index.stats()
        nodes = stats.files + stats.directories
        oldest = self.index.oldest_directory()
        return {
            "total_files": stats.files,
            "total_directories": stats.directories,
            "total_bytes": stats.bytes,
            "last_event_latency_ms": self._last_event_latency_ms,
            "oldest_directory": oldest and {"path": shown(oldest[0]), "timestamp": oldest[1]},
            "state": state,
            "queue": self.queue,
            "inflight": self.inflight,
            "revision": revision,
            "nodes": nodes,
            "bytes_per_node": self._bytes_per_node(nodes),
            "sessions": sessions,
        }

    def stats_mark(self) -> Hashable:
        """Equal marks stand for equal statistics: what has not changed need not be put together again."""
        return (
            self.index.instance,
            self.index.revision,
            self.queue,
            self.inflight,
            self._last_event_latency_ms,
            self._sessions.changes,
            self._readiness.losses,
        )

    def ingest_stats(self) -> dict[str, Any]:
        """What dashboards of the family show; one source for each task with an active session."""
        with self._lock:
            self._require_recovered()
            self._sweep()
            tasks = dict.fromkeys(session.task_id for session in self._sessions.active())
        oldest = self.index.oldest_directory()
        path, age_days = "N/A", 0
        if oldest is not None:
            path, age_days = shown(oldest[0]), max(0, int((self._wall() - oldest[1]) / _DAY_SECONDS))
        return {
            "sources": [{"id": task_id, "type": "Agent"} for task_id in tasks],
            "metrics": {
                "total_volume": self.index.stats().files,
                "latency_ms": int(self._last_event_latency_ms),
                "oldest_directory": {"path": path, "age_days": age_days},
            },
        }

    def _active_sessions(self) -> list[dict[str, Any]]:
        return [
            {
                "session_id": session.session_id,
                "task_id": session.task_id,
                "client_ip": session.client_ip,
                "last_activity": session.last_activity,
                "created_at": session.created_at,
                "allow_concurrent_push": self.settings.allow_concurrent_push,
                "session_timeout_seconds": session.timeout_seconds,
                "authoritative": session.session_id == self._sessions.authoritative,
            }
            for session in self._sessions.active()
        ]

    # On arrival, under the lock

    def _sweep(self) -> None:
        if self._readiness.recovering:
            return
        found = self._sessions.sweep(self._clock.now())
        if self._sessions.authoritative in found:
            self._readiness.silence()
        self._unrecorded += found
        # Once closed there is no log to write to; the next start gives every session its time anew.
        with suppress(FusionError):
            while self._unrecorded:
                session_id = self._unrecorded[0]
                future = self._ingest.submit(ExpireSession(session_id, self._wall()))
                del self._unrecorded[0]
                future.add_done_callback(partial(self._recorded, session_id))

    def _recorded(self, session_id: str, future: Future[None]) -> None:
        """What could not be kept is tried again with the next look at the sessions.

        The lock may be held, or not.
        """
        if future.exception() is not None:
            self._unrecorded.append(session_id)

    def _require_recovered(self) -> None:
        if (refusal := self._ingest.refusal) is not None:
            raise refusal
        if self._readiness.recovering:
            raise NotReady("recovering", self.queue, self.inflight)

    def _admit(self, session_id: str) -> Session:
        self._require_recovered()
        self._sweep()
        return self._sessions.admit(session_id)

    def _require_authoritative(self, session: Session) -> None:
        if session.session_id != self._sessions.authoritative:
            raise SessionObsolete(
                "this session is obsolete for snapshots and anomalies: a newer one is authoritative"
            )

    def _touch(self, session: Session) -> None:
        self._sessions.touch(session, self._clock.now(), self._wall())

    def _answered(self, session: Session) -> None:
        with self._lock:
            session.pushes -= 1
            self._touch(session)

    # The writer's turn: first what was, then what comes, in log order

    def recover(self) -> None:
        """Go on where the journal ends. Raises JournalDamaged, and Overloaded when closed meanwhile."""
        self._tell_state()
        try:
            if self._journal is not None:
                self._recover_from(self._journal)
            else:
                self._begin()
        except JournalDamaged as error:
            self._log.tell(logging.ERROR, "journal_damaged", str(error))
            with self._lock:
                self._readiness.damaged = True
            raise
        with self._lock:
            self._sessions.renew(self._clock.now())
            self._readiness.recovering = False
        self._log.tell(
            logging.INFO,
            "recovered",
            "the journal has been replayed" if self._journal else "there is no journal to replay",
            records=self._replayed,
            nodes=len(self.index),
        )
        self._on_applied(self.queue == 0)

    def _recover_from(self, journal: Journal) -> None:
        recovered = self._until_it_works(lambda: self._replayed_from(journal))
        if recovered.lost or recovered.unsure:
            self._end_all_sessions(recovered.lost)

    def _begin(self) -> None:
        """Nothing is known: whatever was applied or replayed before does not count."""
        self.index = PathIndex()
        with self._lock:
            losses = self._readiness.losses + 1
            self._sessions = Sessions(self.settings.allow_concurrent_push)
            self._readiness = Readiness()
            self._readiness.losses = losses
            self._positions = {}
            self._last_event_latency_ms = 0.0
            self._snapshot_rows = 0

    def _replayed_from(self, journal: Journal) -> Recovered:
        self._begin()
        recovered = journal.recover()
        self.index = recovered.index
        if recovered.state is not None:
            self._load(recovered.state)
        self._replay(recovered)
        return recovered

    def _until_it_works(self, call: Callable[[], T]) -> T:
        """Whatever hinders a recovery, damage apart, may pass."""
        while True:
            try:
                result = call()
            except JournalDamaged:
                raise
            except (FusionError, MemoryError) as error:
                self._require_open()
                self._hindrance = str(error) or "there is not enough memory to recover"
                self._log.tell(logging.ERROR, "recovery_failed", f"{self._hindrance}; trying again")
            else:
                self._hindrance = None
                return result
            self._ingest.pause(_RETRY_SECONDS)
            self._require_open()

    def _require_open(self) -> None:
        if self._ingest.closing:
            raise Overloaded("the server is stopping; send this again later")

    def _replay(self, recovered: Recovered) -> None:
        self._replayed, self._to_replay = 0, recovered.last_sequence - recovered.sequence
        for sequence, data in recovered.records:
            self._require_open()
            try:
                record = decode(data)
            except DamagedRecord as error:
                raise JournalDamaged(sequence, error.detail) from None
            with suppress(FusionError):  # it was refused before, too
                self._apply(record)
            self._replayed += 1

    def _end_all_sessions(self, lost: int) -> None:
        """Acknowledged changes are gone or may be, so that only new snapshots can make the tree whole."""
        self._log.tell(
            logging.WARNING,
            "sessions_dropped",
            "the machine stopped before all of the journal was on its disk, or it was left out for a while;"
            " every session has to begin anew",
            lost_records=lost,
        )
        records = [EndSession(session.session_id, self._wall()) for session in self._sessions.active()]
        self._until_it_works(lambda: self._append(records))
        for record in records:
            self._apply(record)

    def _load(self, state: bytes) -> None:
        document = orjson.loads(state)
        with self._lock:
            self._sessions.load(document["sessions"])
            self._readiness.load(document["readiness"])
            self._positions = document["positions"]
            self._last_event_latency_ms = document["last_event_latency_ms"]

    def _dump(self) -> bytes:
        """All that belongs to the log up to here, the index apart."""
        with self._lock:
            return orjson.dumps(
                {
                    "sessions": self._sessions.dump(),
                    "readiness": self._readiness.dump(),
                    "positions": self._positions,
                    "last_event_latency_ms": self._last_event_latency_ms,
                }
            )

    def _append(self, records: Sequence[Record]) -> None:
        if self._journal is not None:
            self._journal.append([encode(record) for record in records])

    def _on_applied(self, drained: bool) -> None:
        if self._is_unvouched:
            self._log.tell(
                logging.ERROR, "recovery_begun", "a change was applied in part; all of it is made anew"
            )
            self._is_unvouched = False
            self.recover()
            return
        if drained:
            with self._lock:
                self._readiness.drained()
        self._tell_state()
        if self._journal is not None and self._journal.checkpoint_due:
            try:
                self._journal.checkpoint(self.index.instant(self._dump()))
            except Exception as error:
                self._journal.put_off_checkpoint(error)

    def _tell_state(self) -> None:
        with self._lock:
            state, reason = self._readiness.state, self._readiness.reason
        self._log.state(state, reason)

    def _apply_live(self, record: Record) -> Any:
        try:
            result = self._apply(record)
        except FusionError:
            raise
        except BaseException:
            # The journal has the record as a whole, the index perhaps in part: nothing is shown of that.
            with self._lock:
                self._readiness.recovering = True
            self._is_unvouched = True
            raise
        self._note(record)
        return result

    def _note(self, record: Record) -> None:
        """Count what was applied, and tell it: not rows, but the beginnings and ends of things."""
        totals = self.totals
        match record:
            case Push(batch):
                totals.rows += batch.n_rows
                totals.batches += 1
                totals.body_bytes += batch.nbytes
            case EndSession():
                totals.sessions_ended += 1
                self._log.ended(record.session_id)
            case ExpireSession():
                totals.sessions_expired += 1
                self._log.expired(record.session_id)
            case Anomaly():
                totals.anomalies += 1
                if (trip := self._readiness.trip) is not None:
                    self._log.tripped(trip)
            case Reset():
                self._log.tell(logging.INFO, "reset", "the tree was emptied on request")

    def _apply(self, record: Record) -> Any:
        match record:
            case Push():
                return self._apply_push(record)
            case OpenSession():
                return self._apply_open(record)
            case EndSession():
                with self._lock:
                    self._lose(record.session_id)
                    self._sessions.end(record.session_id)
            case ExpireSession():
                with self._lock:
                    self._lose(record.session_id)
                    self._sessions.expire(record.session_id)
            case Anomaly():
                return self._apply_anomaly(record)
            case Reset():
                self._apply_reset()

    def _lose(self, session_id: str) -> None:
        if session_id == self._sessions.authoritative:
            self._readiness.lose()
            self._snapshot_rows = 0

    def _apply_open(self, record: OpenSession) -> SessionGrant:
        self.index.begin_snapshot()
        session = Session(
            record.session_id,
            record.task_id,
            record.client_ip,
            record.timeout_seconds,
            created_at=record.at,
            last_activity=record.at,
            seen=self._clock.now(),
        )
        with self._lock:
            superseded = self._sessions.open(session)
            self._readiness.open()
            self._snapshot_rows = 0
        if not self._readiness.recovering:
            self.totals.sessions_opened += 1
            self.totals.sessions_superseded += len(superseded)
            self._log.opened(session, superseded)
        timeout_seconds = record.timeout_seconds
        return SessionGrant(record.session_id, timeout_seconds, max(1, timeout_seconds // 2))

    def _apply_push(self, record: Push) -> Applied:
        batch = record.batch
        is_snapshot = batch.source_type == "snapshot"
        with self._lock:
            session = self._sessions.find(batch.session_id)
            if is_snapshot:
                self._require_authoritative(session)
        applied = self.index.apply(batch, now=record.at)
        with self._lock:
            if batch.max_index > self._positions.get(session.task_id, 0):
                self._positions[session.task_id] = batch.max_index
            if batch.last_index > 0:
                now = record.at if self._readiness.recovering else self._wall()
                self._last_event_latency_ms = max(0.0, round(now * 1000 - batch.last_index, 3))
            if is_snapshot and batch.n_rows:
                self._readiness.snapshot_rows()
            if is_snapshot and batch.is_snapshot_end:
                self._readiness.snapshot_end()
        if is_snapshot:
            self._note_snapshot(batch)
        return applied

    def _note_snapshot(self, batch: Batch) -> None:
        begins = batch.n_rows and not self._snapshot_rows
        self._snapshot_rows += batch.n_rows
        is_live = not self._readiness.recovering
        if begins and is_live:
            self._log.snapshot_begun(batch.session_id)
        if batch.is_snapshot_end:
            if is_live:
                self._log.snapshot_ended(batch.session_id, self._snapshot_rows)
            self._snapshot_rows = 0

    def _apply_anomaly(self, record: Anomaly) -> dict[str, Any]:
        with self._lock:
            self._require_authoritative(self._sessions.find(record.session_id))
            trip = self._readiness.anomaly(record.at, record.reason, record.session_id)
        return {"status": "tripped", "resync_required": True, "tripped_at": trip.tripped_at}

    def _apply_reset(self) -> None:
        with self._lock:
            if not self._readiness.snapshot_complete:
                # The views were lost while the reset waited; what comes in since then is not its to remove.
                raise NotReady(self._readiness.state.value, self.queue, self.inflight)
        self.index.clear()
