"""Keeps a server's view of one directory tree equal to the disk."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any, NoReturn

from .push import Pusher, Session, SessionLost
from .scan import ROWS_PER_BATCH, Rows, Scan, describe, pseudo_mounts
from .watch import Watcher, WatchUnavailable
from .wire import event, joined, push_body

logger = logging.getLogger("fusion.agent")

CONNECTIONS = 3
MESSAGE_SPACING_SECONDS = (
    0.02  # at least, between two message pushes: a file being written is not told byte by byte
)
RESCAN_SECONDS = 60.0  # between snapshots when the system cannot tell every change
ROOT_POLL_SECONDS = 1.0


class Phase(StrEnum):
    """What an agent is busy with."""

    CONNECTING = "connecting"
    SCANNING = "scanning"
    FOLLOWING = "following"
    SUPERSEDED = "superseded"  # a newer session has the datastore; waits until it is free


class ChangesLost(Exception):
    """The watcher overflowed: only a new scan can tell what changed."""


class RootReplaced(Exception):
    """The watched directory went away and is there again."""


class Agent:
    """Scans `root`, pushes it as a snapshot, and follows it until cancelled.

    The content of the directories in `skip` is left out. One event loop runs it; `phase`, `scan` and `pushed`
    may be read from any thread. A lost session or a watcher that overflowed starts over with a new session
    and a new snapshot; everything a later try can mend is tried again.
    """

    def __init__(
        self,
        root: str,
        pusher: Pusher,
        *,
        on_phase: Callable[[Phase], None] = lambda phase: None,
        skip: frozenset[str] = frozenset(),
        rescan_seconds: float = RESCAN_SECONDS,
    ) -> None:
        self.root = os.path.abspath(root)
        self.task_id = printable(f"{socket.gethostname()}:{self.root}")
        self.phase = Phase.CONNECTING
        self.scan: Scan | None = None  # the newest snapshot's
        self.scan_started = 0.0  # of time.monotonic()
        self.pushed = 0  # rows of that snapshot the server has
        self._pusher = pusher
        self._on_phase = on_phase
        self._rescan_seconds = rescan_seconds
        self._skip = (skip | pseudo_mounts()) - {self.root}
        self._changes: dict[
            str, bool
        ] = {}  # path -> whether its content must be scanned too; not yet announced
        self._changed = asyncio.Event()
        self._announced: asyncio.Future[None] | None = (
            None  # completed once all of _changes is with the server
        )
        self._lost = asyncio.Event()  # the watcher overflowed
        self._root_lost = False
        self._touched: dict[str, bool] | None = None  # what changed since the running snapshot began
        self._unreadable: set[str] = set()  # directories worth another try when their permissions change

    async def run(self) -> NoReturn:
        """Runs until cancelled; raises Refused when the server will not have this agent at all."""
        while True:
            self._begin(Phase.CONNECTING)
            await self._root_present()
            session = await self._pusher.open_session(
                self.task_id, {"agent": "fusion", "root": printable(self.root)}
            )
            try:
                await self._serve(session)
            except asyncio.CancelledError:
                await self._end(session["session_id"])
                raise
            except BaseExceptionGroup as group:
                if await self._superseded(session["session_id"], list(_leaves(group))):
                    await self._wait_until_free()

    async def _superseded(self, session_id: str, reasons: list[BaseException]) -> bool:
        """Why a session ended: True when a newer one took over; raises what no new session can mend."""
        for reason in reasons:
            if not isinstance(reason, ChangesLost | RootReplaced | SessionLost):
                raise reason
        if any(isinstance(reason, RootReplaced) for reason in reasons):
            logger.warning("%s was replaced: scanning it again", self.root)
        elif any(isinstance(reason, ChangesLost) for reason in reasons):
            logger.warning("changes came faster than they could be read: scanning %s again", self.root)
            try:  # the server stops answering from a tree known to be wrong
                await self._pusher.push(push_body(session_id, "anomaly", []))
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
        self._changes = {}
        self._changed.clear()
        self._lost.clear()
        self._root_lost = False
        loop = asyncio.get_running_loop()
        if watcher is not None:
            loop.add_reader(watcher.fileno(), self._take_changes, watcher)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heartbeats(session))
                group.create_task(self._follow(session["session_id"], watcher))
                group.create_task(self._snapshots(session["session_id"], watcher))
                group.create_task(self._raise_when_lost())
        finally:
            self._touched = None
            if watcher is not None:
                loop.remove_reader(watcher.fileno())
                watcher.close()

    def _open_watcher(self) -> Watcher | None:
        try:
            return Watcher(self.root)
        except WatchUnavailable as error:
            logger.warning("%s: no live changes, scanning again every %g s", error, self._rescan_seconds)
            return None

    # Snapshot

    async def _snapshots(self, session_id: str, watcher: Watcher | None) -> None:
        self._begin(Phase.SCANNING)
        await self._snapshot(session_id, watcher)
        self._begin(Phase.FOLLOWING)
        if watcher is not None and watcher.limited:
            logger.warning(
                "the system's limit of watched directories is reached (fs.inotify.max_user_watches):"
                " changes below some are seen by a new scan every %g s only",
                self._rescan_seconds,
            )
        while watcher is None or watcher.limited:
            await asyncio.sleep(self._rescan_seconds)
            await self._snapshot(session_id, watcher)

    async def _snapshot(self, session_id: str, watcher: Watcher | None) -> None:
        """Pushes every row, several batches at a time, then the end."""
        self._touched = {}
        self.scan_started = time.monotonic()
        self.pushed = 0
        self.scan = scan = Scan(self.root, enter=partial(self._enter, watcher))
        batches = iter(scan)
        index = _now_ms()
        turn = asyncio.Lock()  # the walk is sequential; pushes overlap with it and with one another

        def next_body() -> tuple[bytes, int] | None:
            rows = next(batches, None)
            if rows is None:
                return None
            return push_body(session_id, "snapshot", [event("update", index, rows.json)]), rows.count

        async def deliver() -> None:
            while True:
                async with turn:
                    body = await asyncio.to_thread(next_body)
                if body is None:
                    return
                await self._pusher.push(body[0])
                self.pushed += body[1]

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(deliver())
        self._unreadable = scan.unreadable
        # A row read early can arrive after what a change said of the same path, and win by its time. Saying
        # once more what changed meanwhile, now that all rows are there, makes the end of the snapshot show
        # the disk.
        self._note(self._touched)
        self._touched = None
        self._announced = asyncio.get_running_loop().create_future()
        self._changed.set()
        await self._announced
        await self._pusher.push(push_body(session_id, "snapshot", [], is_snapshot_end=True))

    def _enter(self, watcher: Watcher | None, path: str) -> bool:
        """Watches a directory that is about to be listed."""
        if path in self._skip:
            return False
        if watcher is not None:
            watcher.add(path)
        return True

    # Changes

    def _take_changes(self, watcher: Watcher) -> None:
        """Reads what the kernel has queued; the event loop calls it when there is something."""
        changes = watcher.read()
        self._note(changes.paths)
        if changes.root_lost:
            self._root_lost = True
            self._changes.setdefault(self.root, False)
        if changes.overflow:
            self._lost.set()
        if self._changes:
            self._changed.set()

    def _note(self, paths: dict[str, bool]) -> None:
        for path, appeared in paths.items():
            self._changes[path] = appeared or self._changes.get(path, False)

    async def _raise_when_lost(self) -> None:
        await self._lost.wait()
        raise ChangesLost

    async def _follow(self, session_id: str, watcher: Watcher | None) -> None:
        """Announces changes in order, at once, one push at a time."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._changes = self._changes, {}
            announced, self._announced = self._announced, None
            if self._touched is not None:
                for path, appeared in changes.items():
                    self._touched[path] = appeared or self._touched.get(path, False)
            messages = self._messages(session_id, changes, watcher, afresh=announced is not None)
            while (body := await asyncio.to_thread(next, messages, None)) is not None:
                await self._pusher.push(body)
            if self._root_lost:
                await self._root_present()
                raise RootReplaced
            if announced is not None:
                announced.set_result(None)
            await asyncio.sleep(MESSAGE_SPACING_SECONDS)

    def _messages(
        self, session_id: str, changes: dict[str, bool], watcher: Watcher | None, afresh: bool
    ) -> Iterator[bytes]:
        """Bodies that tell how the changed paths look now; `afresh`: whatever was told before."""
        events: list[tuple[bool, list[bytes]]] = []  # (is it a delete, rows)
        count = 0
        for is_delete, rows in self._looks(changes, watcher, afresh):
            if not events or events[-1][0] != is_delete:
                events.append((is_delete, []))
            events[-1][1].append(rows.json)
            count += rows.count
            if count >= ROWS_PER_BATCH:
                yield _message(session_id, events)
                events, count = [], 0
        if events:
            yield _message(session_id, events)

    def _looks(
        self, changes: dict[str, bool], watcher: Watcher | None, afresh: bool
    ) -> Iterator[tuple[bool, Rows]]:
        """(is it a delete, rows) of each changed path as it is now, with the content of new directories."""
        for path, appeared in changes.items():
            try:
                row = describe(path, follow=path == self.root)
            except OSError:
                continue  # cannot be looked at: what is known of it stays
            if row is None:
                yield True, _one({"file_path": path})
            elif row["is_dir"] and self._is_new(path, watcher, appeared, afresh):
                # In place of what may be known there.
                yield True, _one({"file_path": path})
                self._unreadable.discard(path)
                scan = Scan(path, enter=partial(self._enter, watcher))
                for rows in scan:
                    yield False, rows
                self._unreadable |= scan.unreadable
            else:
                yield False, _one(row)

    def _is_new(self, path: str, watcher: Watcher | None, appeared: bool, afresh: bool) -> bool:
        """Whether the content of a directory must be told: not if it was watched here all the time."""
        if path in self._skip or not (appeared or path in self._unreadable):
            return False
        if afresh or path in self._unreadable or watcher is None:
            return True
        try:
            return watcher.add(path)
        except OSError:
            return True

    async def _root_present(self) -> None:
        if not await asyncio.to_thread(os.path.isdir, self.root):
            logger.warning("%s is not there: waiting for it", self.root)
        while not await asyncio.to_thread(os.path.isdir, self.root):
            await asyncio.sleep(ROOT_POLL_SECONDS)

    # Session

    async def _heartbeats(self, session: Session) -> None:
        identity = await asyncio.to_thread(_identity, self.root)
        while True:
            await asyncio.sleep(session["suggested_heartbeat_interval_seconds"])
            await self._pusher.heartbeat(session["session_id"])
            # No watch tells that a directory above the root was moved.
            if await asyncio.to_thread(_identity, self.root) != identity:
                self._root_lost = True
                self._changes.setdefault(self.root, False)
                self._changed.set()

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


def _one(row: Any) -> Rows:
    return Rows(1, joined([row]))


def _message(session_id: str, events: list[tuple[bool, list[bytes]]]) -> bytes:
    index = _now_ms()
    encoded = [
        event("delete" if is_delete else "update", index, b",".join(rows)) for is_delete, rows in events
    ]
    return push_body(session_id, "message", encoded)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
