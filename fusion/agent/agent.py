"""Keeps a server's view of one directory tree equal to the disk."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import NoReturn

from .audit import Audit
from .failures import ChangesLost, RootReplaced
from .outbox import Outbox
from .push import Pusher, Session, SessionLost
from .scan import ROWS_PER_BATCH, Scan
from .scope import Scope
from .spool import Spool
from .tell import Teller, now_ms
from .watch import Look, Watcher, WatchUnavailable
from .wire import Body, event, push_body

logger = logging.getLogger("fusion.agent")

CONNECTIONS = 3
GATHER_SECONDS = (
    0.1  # changes are told at once, but not more often: a file being written is not told byte by byte
)
BACKLOG_GATHER_SECONDS = 1.0  # while messages wait in the spool
RESCAN_SECONDS = 60.0  # between snapshots when the system cannot tell every change
ROOT_POLL_SECONDS = 1.0
AUDIT_SECONDS = 1.0
READ_SECONDS = 0.01  # between two readings of the watcher
TOLD_DIFFERENCES = 20  # at most, in an anomaly signal


class Phase(StrEnum):
    """What an agent is busy with."""

    CONNECTING = "connecting"
    SCANNING = "scanning"
    FOLLOWING = "following"
    SUPERSEDED = "superseded"  # a newer session has the datastore; waits until it is free


class Agent:
    """Scans a tree, pushes it as a snapshot, and follows it until cancelled.

    One event loop runs it; `phase`, `scan` and `pushed` may be read from any thread. A lost session, or
    changes that cannot be told one by one any more, start over with a new session and a new snapshot;
    everything a later try can mend is tried again.
    """

    def __init__(
        self,
        scope: Scope,
        pusher: Pusher,
        spool: Spool,
        *,
        on_phase: Callable[[Phase], None] = lambda phase: None,
        rescan_seconds: float = RESCAN_SECONDS,
    ) -> None:
        self.task_id = printable(f"{socket.gethostname()}:{scope.root}")
        self.phase = Phase.CONNECTING
        self.scan: Scan | None = None  # the newest snapshot's
        self.scan_started = 0.0  # of time.monotonic()
        self.pushed = 0  # rows of that snapshot the server has
        self._scope = scope
        self._root = scope.root
        self._pusher = pusher
        self._spool = spool
        self._on_phase = on_phase
        self._rescan_seconds = rescan_seconds
        self._changes: dict[str, Look] = {}  # not being told yet
        self._telling: dict[str, Look] = {}  # being told
        self._touched: dict[str, Look] | None = None  # what changed since the running snapshot began
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()  # there is no need to gather more changes
        self._announced: asyncio.Event | None = None  # set once all of _changes is with the server
        self._root_lost = False

    async def run(self) -> NoReturn:
        """Runs until cancelled; raises Refused when the server will not have this agent at all."""
        while True:
            session = await self._open_session()
            try:
                await self._serve(session)
            except asyncio.CancelledError:
                await self._end(session["session_id"])
                raise
            except BaseExceptionGroup as group:
                if await self._superseded(session["session_id"], list(_leaves(group))):
                    await self._wait_until_free()

    async def run_once(self) -> None:
        """Returns when the server has accepted one snapshot.

        The session is left to expire: until then views answer. Raises Refused like `run`.
        """
        while True:
            session = await self._open_session()
            self._begin(Phase.SCANNING)
            try:
                async with asyncio.TaskGroup() as group:
                    heartbeats = group.create_task(self._heartbeats(session))
                    await self._push_tree(session["session_id"], self._teller(session, None))
                    await self._push_end(session["session_id"])
                    heartbeats.cancel()
            except BaseExceptionGroup as errors:
                if await self._superseded(session["session_id"], list(_leaves(errors))):
                    await self._wait_until_free()
            else:
                return

    async def _superseded(self, session_id: str, reasons: list[BaseException]) -> bool:
        """Why a session ended: True when a newer one took over; raises what no new session can mend."""
        for reason in reasons:
            if not isinstance(reason, ChangesLost | RootReplaced | SessionLost):
                raise reason
        if any(isinstance(reason, RootReplaced) for reason in reasons):
            logger.warning("%s was replaced: scanning it again", printable(self._root))
        else:
            for reason in [reason for reason in reasons if isinstance(reason, ChangesLost)][:1]:
                logger.warning("%s: scanning %s again", reason, printable(self._root))
                try:  # the server stops answering from a tree known to be wrong
                    await self._pusher.signal_anomaly(
                        session_id, str(reason), reason.differences[:TOLD_DIFFERENCES]
                    )
                except SessionLost as lost:
                    reasons.append(lost)
        for reason in reasons:
            if isinstance(reason, SessionLost):
                logger.warning("the session is lost (%s)", reason)
                return reason.superseded
        return False

    async def _serve(self, session: Session) -> None:
        """One session: a snapshot, then changes; ends by an exception only."""
        watcher = self._open_watcher()
        self._changes, self._telling = {}, {}
        for happened in (self._changed, self._hurry):
            happened.clear()
        self._announced = None
        self._root_lost = False
        audit = Audit(self._root)
        teller = self._teller(session, watcher, audit)
        outbox = Outbox(self._pusher.push, self._spool)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heartbeats(session))
                group.create_task(outbox.run())
                group.create_task(self._follow(teller, outbox))
                group.create_task(self._snapshots(session["session_id"], teller, watcher))
                if watcher is not None:
                    group.create_task(self._listen(watcher))
                    group.create_task(self._audits(audit, watcher))
        finally:
            self._touched = None
            if watcher is not None:
                watcher.close()
            self._spool.clear()

    def _teller(self, session: Session, watcher: Watcher | None, audit: Audit | None = None) -> Teller:
        return Teller(
            session["session_id"], self._scope, watcher, audit or Audit(self._root), self._pusher.pack
        )

    def _open_watcher(self) -> Watcher | None:
        try:
            return Watcher(self._root)
        except WatchUnavailable as error:
            logger.warning("%s: no live changes, scanning again every %g s", error, self._rescan_seconds)
            return None

    # Snapshot

    async def _snapshots(self, session_id: str, teller: Teller, watcher: Watcher | None) -> None:
        self._begin(Phase.SCANNING)
        await self._snapshot(session_id, teller)
        self._begin(Phase.FOLLOWING)
        if watcher is not None and watcher.limited:
            logger.warning(
                "the system's limit of watched directories is reached (fs.inotify.max_user_watches):"
                " changes below some are seen by a new scan every %g s only",
                self._rescan_seconds,
            )
        while watcher is None or watcher.limited:
            await asyncio.sleep(self._rescan_seconds)
            await self._snapshot(session_id, teller)

    async def _snapshot(self, session_id: str, teller: Teller) -> None:
        """Pushes every row, what changed meanwhile once more, and the end."""
        self._touched = {}
        await self._push_tree(session_id, teller)
        # A row read early can arrive after what a change said of the same path, and win by its time. Saying
        # once more what changed meanwhile, now that all rows are there, makes the end of the snapshot show
        # the disk.
        self._note(self._touched)
        self._touched = None
        self._announced = announced = asyncio.Event()
        self._changed.set()
        self._hurry.set()
        await announced.wait()
        await self._push_end(session_id)

    async def _push_tree(self, session_id: str, teller: Teller) -> None:
        """Pushes every row, several batches at a time."""
        self.scan_started = time.monotonic()
        self.pushed = 0
        self.scan = scan = self._scope.scan(self._root, teller.watch)
        batches = iter(scan)
        index = now_ms()
        turn = asyncio.Lock()  # the scan is sequential; pushes overlap with it and with one another

        def next_body() -> tuple[Body, int] | None:
            rows = next(batches, None)
            if rows is None:
                return None
            body = push_body(session_id, "snapshot", [event("update", index, rows.json)])
            return self._pusher.pack(body), rows.count

        async def deliver() -> None:
            while True:
                async with turn:
                    made = await asyncio.to_thread(next_body)
                if made is None:
                    return
                body, count = made
                await self._pusher.push(body)
                self.pushed += count

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(deliver())
        finally:
            await asyncio.to_thread(scan.close)
        teller.unreadable = set(scan.unreadable)

    async def _push_end(self, session_id: str) -> None:
        end = push_body(session_id, "snapshot", [], is_snapshot_end=True)
        await self._pusher.push(self._pusher.pack(end))

    # Changes

    async def _listen(self, watcher: Watcher) -> None:
        """Takes what the kernel has queued."""
        loop = asyncio.get_running_loop()
        while True:
            readable = asyncio.Event()
            loop.add_reader(watcher.fileno(), readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(watcher.fileno())
            changes = watcher.read()
            self._note(changes.paths)
            if changes.root_lost:
                self._lose_root()
            if changes.overflow:
                raise ChangesLost("changes came faster than they could be read")
            await asyncio.sleep(READ_SECONDS)  # to be woken for each change would take most of the time

    def _note(self, paths: dict[str, Look]) -> None:
        for path, look in paths.items():
            self._changes[path] = max(look, self._changes.get(path, look))
        if self._changes:
            self._changed.set()
        if len(self._changes) >= ROWS_PER_BATCH:
            self._hurry.set()

    def _lose_root(self) -> None:
        self._root_lost = True
        self._note({self._root: Look.ENTRY})
        self._hurry.set()

    async def _follow(self, teller: Teller, outbox: Outbox) -> None:
        """Tells changes in order."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._hurry.clear()
            self._telling = self._changes  # first: at any instant a change is in one of the two
            self._changes = {}
            announced, self._announced = self._announced, None
            if self._touched is not None:
                for path, look in self._telling.items():
                    self._touched[path] = max(look, self._touched.get(path, look))
            messages = teller.messages(self._telling)
            while (body := await asyncio.to_thread(next, messages, None)) is not None:
                await outbox.put(body)
            self._telling = {}
            if self._root_lost:
                await self._root_present()
                raise RootReplaced
            if announced is not None:
                await outbox.delivered()
                announced.set()
            gather_seconds = BACKLOG_GATHER_SECONDS if outbox.backlogged else GATHER_SECONDS
            # Not asyncio.wait_for, in which Python 3.11 may lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(gather_seconds):
                    await self._hurry.wait()

    async def _audits(self, audit: Audit, watcher: Watcher) -> None:
        """Compares with the disk what was told of hot paths, as long as the kernel tells of every change."""
        while not watcher.limited:
            await asyncio.sleep(AUDIT_SECONDS)
            findings = await asyncio.to_thread(audit.examine, self._is_pending)
            self._note(dict.fromkeys(findings.stale, Look.ENTRY))
            if findings.lost:
                raise ChangesLost(
                    f"changes were not told, of {printable(findings.lost[0]['path'])} for one", findings.lost
                )

    def _is_pending(self, path: str) -> bool:
        while path not in self._changes and path not in self._telling:
            if len(path) <= len(self._root):
                return False
            path = os.path.dirname(path)
        return True

    async def _root_present(self) -> None:
        if not await asyncio.to_thread(os.path.isdir, self._root):
            logger.warning("%s is not there: waiting for it", printable(self._root))
        while not await asyncio.to_thread(os.path.isdir, self._root):
            await asyncio.sleep(ROOT_POLL_SECONDS)

    # Session

    async def _open_session(self) -> Session:
        self._begin(Phase.CONNECTING)
        await self._root_present()
        return await self._pusher.open_session(
            self.task_id, {"agent": "fusion", "root": printable(self._root)}
        )

    async def _heartbeats(self, session: Session) -> None:
        identity = await asyncio.to_thread(_identity, self._root)
        while True:
            await asyncio.sleep(session["suggested_heartbeat_interval_seconds"])
            await self._pusher.heartbeat(session["session_id"])
            # No watch tells that a directory above the root was moved.
            if await asyncio.to_thread(_identity, self._root) != identity:
                self._lose_root()

    async def _wait_until_free(self) -> None:
        """Leaves the datastore to the newer session for as long as there is one: the newest wins."""
        self._begin(Phase.SUPERSEDED)
        logger.warning("a newer session feeds this datastore: waiting until it has ended")
        while any(session.get("authoritative") for session in await self._pusher.active_sessions()):
            await asyncio.sleep(ROOT_POLL_SECONDS)

    async def _end(self, session_id: str) -> None:
        try:
            await self._pusher.end_session(session_id)
        except Exception as error:
            logger.debug("the session could not be ended: %s", error)

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self._on_phase(phase)


def printable(text: str) -> str:
    """The text with bytes that are not UTF-8 spelled out, fit for a name or a message."""
    return text.encode("utf-8", "backslashreplace").decode()


def _identity(path: str) -> tuple[int, int] | None:
    """What tells one directory from another under the same path."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
