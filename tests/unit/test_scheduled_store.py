"""A datastore whose every step is scheduled: arrivals, the writer's turns, failing writes, crashes, restarts.

Nothing runs by itself here. What arrives waits until a step lets the writer take it; the log is in memory and
fails on demand; a crash drops everything but the log and the checkpoints. Beside it a model keeps what was
written to the log, and everything that is told has to follow from that. A failure prints the history and the
seed that makes it again.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from memory_log import MemoryLog
from oracle import OracleIndex

from fusion._index import Batch
from fusion.datastore import Datastore
from fusion.errors import FusionError, JournalFailed
from fusion.journal import Journal
from fusion.settings import DatastoreSettings

TIMEOUT = 10
OK, GONE, OBSOLETE, UNAVAILABLE = 200, 404, 419, 503
TASKS = ("one", "two")
PATHS = st.sampled_from(["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f", "/g"])
AGES = st.sampled_from([0, 0, 0, 1, 2])  # of a session: how many were opened after it
# What a run has to come across: else it would show nothing.
EVENTS = {"open", "end", "expire", "push", "signal", "reset"}
STATES = {"empty", "snapshot", "ready", "stale", "tripped"}


@dataclass
class Entry:
    """What the log has, or will have: open, end, expire, push, signal or reset."""

    kind: str
    session: str = ""
    task: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0


class Model:
    """What follows from the log alone."""

    def __init__(self, concurrent: bool, entries: list[Entry]) -> None:
        self.concurrent = concurrent
        self.tasks: dict[str, str] = {}  # of the active sessions, in order
        self.obsolete: set[str] = set()
        self.expired: set[str] = set()  # found silent, which the log will say next
        self.authoritative: str | None = None
        self.opened = self.rows = self.counts = self.ended = self.tripped = False
        self.positions: dict[str, int] = {}
        self.tree = OracleIndex()
        for entry in entries:
            self.apply(entry)

    def status(self, session: str) -> int:
        return OK if session in self.tasks else OBSOLETE if session in self.obsolete else GONE

    def close(self) -> None:
        if self.ended:
            self.tripped = False
        self.ended = False

    def apply(self, entry: Entry) -> int:
        return getattr(self, f"_{entry.kind}")(entry)

    def _open(self, entry: Entry) -> int:
        for other, task in list(self.tasks.items()):
            if task == entry.task or not self.concurrent:
                del self.tasks[other]
                if other not in self.expired:
                    self.obsolete.add(other)
        self.tasks[entry.session] = entry.task
        self.authoritative = entry.session
        self.close()
        self.opened, self.rows, self.counts = True, False, True
        self.tree.begin_snapshot()
        return OK

    def _end(self, entry: Entry) -> int:
        if self.status(entry.session) == GONE:
            return GONE
        self.tasks.pop(entry.session, None)
        self._disinherit(entry.session)
        return OK

    def _expire(self, entry: Entry) -> int:
        self.tasks.pop(entry.session, None)
        self.obsolete.discard(entry.session)
        self._disinherit(entry.session)
        return OK

    def _disinherit(self, session: str) -> None:
        if session == self.authoritative:
            self.authoritative = None
            self.close()

    def _push(self, entry: Entry) -> int:
        status = self.status(entry.session)
        snapshot = entry.body["source_type"] == "snapshot"
        if status == OK and snapshot and entry.session != self.authoritative:
            status = OBSOLETE
        if status != OK:
            return status
        self.tree.apply(entry.body, now=entry.at)
        events = entry.body["events"]
        highest = max((event["index"] for event in events if event["index"] > 0), default=0)
        task = self.tasks[entry.session]
        if highest > self.positions.get(task, 0):
            self.positions[task] = highest
        if snapshot and any(event["rows"] for event in events) and not self.rows:
            self.rows = self.counts = True
        if snapshot and entry.body["is_snapshot_end"]:
            self.ended = self.ended or self.counts
            self.rows = False
        return OK

    def _signal(self, entry: Entry) -> int:
        status = self.status(entry.session)
        if status == OK and entry.session != self.authoritative:
            status = OBSOLETE
        if status == OK:
            self.close()
            self.tripped, self.counts = True, False
        return status

    def _reset(self, entry: Entry) -> int:
        if not self.ended:
            return UNAVAILABLE
        self.tree.clear()
        return OK


@dataclass
class Waiting:
    entry: Entry
    future: Future[Any] | None  # None: nobody waits for an expiry


class ScheduledStore(RuleBasedStateMachine):
    met: Counter[str] = Counter()  # of a whole run: records that changed something, states, starts

    @initialize(concurrent=st.booleans(), often=st.booleans(), ready=st.booleans())
    def start(self, concurrent: bool, often: bool, ready: bool) -> None:
        self.seconds = 0.0
        self.concurrent = concurrent
        self.checkpoint_bytes = 600 if often else 1 << 30
        self.folder = Path(tempfile.mkdtemp(prefix="fusion-test-"))
        self.disk = MemoryLog()
        self.kept: list[Entry] = []  # what the log has
        self.unwanted: list[Entry] = []  # what a failed append left there, until the next one
        self.opened: list[str] = []
        self.numbers = count(1)
        self.boot()
        if ready:
            self.snapshot(TASKS[0], ["/a/b", "/e"])

    def boot(self) -> None:
        """A new process."""
        self.unseen_time = False
        journal = Journal(
            self.folder / "store",
            checkpoint_bytes=self.checkpoint_bytes,
            min_free_bytes=0,
            open_log=lambda path, sync: self.disk,
        )
        self.journal = journal
        self.store = Datastore(
            "store",
            DatastoreSettings(TIMEOUT, self.concurrent),
            clock=self,
            wall=lambda: 1e9 + self.seconds,
            journal=journal,
        )
        self.waiting: list[Waiting] = []
        self.latched = False
        self.store.recover()
        self.model = Model(self.concurrent, self.kept)
        self.seen = dict.fromkeys(self.model.tasks, self.seconds)
        self.settle_checkpoint()
        self.latched = self.model.ended
        self.met[f"started {self.state()}"] += 1

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def now(self) -> float:
        """The machine is the datastore's clock."""
        return self.seconds

    def settle_checkpoint(self) -> None:
        if self.journal._writing is not None:
            self.journal._writing.join()

    # Arrivals

    def sweep(self) -> None:
        """Who is silent for too long: gone at once, and said to the log."""
        self.unseen_time = False
        for session in self.model.tasks:
            waits = any(each.entry.session == session and each.entry.kind == "push" for each in self.waiting)
            if waits:
                self.seen[session] = self.seconds
            elif session not in self.model.expired and self.seconds - self.seen[session] > TIMEOUT:
                self.model.expired.add(session)
                self.waiting.append(Waiting(Entry("expire", session), None))

    def arrive(self, entry: Entry, authoritative_only: bool, submit: Any) -> None:
        """A request of a session: refused at once, or waiting for the writer."""
        self.sweep()
        expected = GONE if entry.session in self.model.expired else self.model.status(entry.session)
        if expected == OK and authoritative_only and entry.session != self.model.authoritative:
            expected = OBSOLETE
        try:
            future = submit()
        except FusionError as error:
            assert error.status == expected != OK
        else:
            assert expected == OK or (expected == OBSOLETE and entry.kind == "end")
            if expected == OK:
                if entry.kind != "end":
                    self.seen[entry.session] = self.seconds
                entry.at = 1e9 + self.seconds
                self.waiting.append(Waiting(entry, future))

    def some_session(self, age: int) -> str:
        return self.opened[max(-1 - age, -len(self.opened))] if self.opened else "nobody"

    @rule(task=st.sampled_from(TASKS), turn=st.booleans())
    def open(self, task: str, turn: bool) -> None:
        self.sweep()
        future = self.store.open_session(task, None, "")
        session = self.store._ingest._queued[-1].record.session_id  # type: ignore[union-attr]
        self.opened.append(session)
        self.waiting.append(Waiting(Entry("open", session, task), future))
        if turn:
            self.step()

    @rule(
        age=AGES,
        source=st.sampled_from(["snapshot", "snapshot", "message"]),
        upserts=st.lists(PATHS, max_size=3),
        deletes=st.lists(PATHS, max_size=1),
        end=st.booleans(),
        turn=st.booleans(),
    )
    def push(
        self, age: int, source: str, upserts: list[str], deletes: list[str], end: bool, turn: bool
    ) -> None:
        number = next(self.numbers)
        rows = [{"path": path, "size": number, "modified_time": float(number % 7)} for path in upserts]
        kinds = {"update": rows, "delete": [{"path": path} for path in deletes]}
        events = [
            {"event_type": kind, "index": number if number % 3 else -1, "rows": rows}
            for kind, rows in kinds.items()
        ]
        session = self.some_session(age)
        body = {"session_id": session, "source_type": source, "is_snapshot_end": end, "events": events}
        self.arrive(
            Entry("push", session, body=body),
            source == "snapshot",
            lambda: self.store.push(Batch.decode(orjson.dumps(body))),
        )
        if turn:
            self.step()

    @rule(task=st.sampled_from(TASKS), upserts=st.lists(PATHS, min_size=1, max_size=5))
    def snapshot(self, task: str, upserts: list[str]) -> None:
        """All that an agent does at its start."""
        self.open(task, turn=True)
        self.push(0, "snapshot", upserts, [], end=True, turn=True)

    @rule(age=AGES)
    def signal(self, age: int) -> None:
        session = self.some_session(age)
        self.arrive(Entry("signal", session), True, lambda: self.store.anomaly(session, None, None, []))

    @rule(age=AGES)
    def end_session(self, age: int) -> None:
        session = self.some_session(age)
        self.arrive(Entry("end", session), False, lambda: self.store.end_session(session))

    @rule(age=AGES)
    def heartbeat(self, age: int) -> None:
        session = self.some_session(age)
        self.sweep()
        expected = GONE if session in self.model.expired else self.model.status(session)
        assert outcome(lambda: self.store.heartbeat(session)) == expected
        if expected == OK:
            self.seen[session] = self.seconds

    @rule()
    def reset(self) -> None:
        self.sweep()
        if self.state() == "ready":
            self.waiting.append(Waiting(Entry("reset"), self.store.reset()))

    @rule(seconds=st.sampled_from([0.5, 0.5, 4.0, TIMEOUT, TIMEOUT + 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.unseen_time = True

    # The writer, the disk

    @rule()
    def step(self) -> None:
        """The writer takes what waits."""
        self.sweep()
        assert self.store.state == self.state()  # which makes it look at its sessions, too
        if not self.waiting:
            return
        failing, group = self.disk.failing is not None, self.waiting
        self.waiting = []
        assert self.store.work()
        self.settle_checkpoint()
        if failing:
            self.unwanted = [each.entry for each in group] if self.disk.keeps_failed else self.unwanted
        else:
            self.unwanted = []
            self.kept += [each.entry for each in group]
        for each in group:
            status = UNAVAILABLE if failing else self.model.apply(each.entry)
            self.met[each.entry.kind] += status == OK
            if not failing and each.entry.kind == "open":
                self.seen[each.entry.session] = self.seconds
            if each.future is not None:
                assert each.future.done()
                assert outcome(each.future.result) == status
            if each.entry.kind == "push" and each.entry.session in self.seen:
                self.seen[each.entry.session] = self.seconds
            if each.future is None and failing:
                self.waiting.append(each)  # it is said again with the next look at the sessions
        self.latched = self.model.ended

    @precondition(lambda self: self.disk.failing is None)
    @rule(keeps=st.booleans())
    def writes_fail(self, keeps: bool) -> None:
        self.disk.failing, self.disk.keeps_failed = JournalFailed(), keeps

    @precondition(lambda self: self.disk.failing is not None)
    @rule()
    def writes_work(self) -> None:
        self.disk.failing = None

    @precondition(lambda self: self.kept or self.waiting)
    @rule(checkpoint=st.sampled_from(["kept", "kept", "unfinished", "damaged"]))
    def crash(self, checkpoint: str) -> None:
        """The process ends at once; the newest checkpoint may be gone with it, or damaged."""
        self.store._ingest._queued.clear()
        self.store.close()
        newest = sorted((self.folder / "store").glob("checkpoint-*.fusion"))[-1:]
        self.met["started from a checkpoint"] += bool(newest)
        if newest and checkpoint == "unfinished":
            newest[0].rename(newest[0].with_name(f".{newest[0].name}.0123.tmp"))
        elif newest and checkpoint == "damaged":
            data = bytearray(newest[0].read_bytes())
            data[len(data) // 2] ^= 1
            newest[0].write_bytes(data)
        self.disk = self.disk.reopened()
        self.kept += self.unwanted
        self.unwanted = []
        self.boot()

    # What is always so

    def state(self) -> str:
        model = self.model
        if model.tripped and not (model.ended and self.latched):
            return "tripped"
        if not model.opened:
            return "empty"
        if model.authoritative is None or model.authoritative in self.model.expired:
            return "stale"
        if not model.ended:
            return "snapshot"
        return "ready" if self.latched else "draining"

    @invariant()
    def everything_follows_from_the_log(self) -> None:
        if not hasattr(self, "store"):
            return
        if not self.unseen_time:
            assert self.store.state == self.state()
        self.met[self.state()] += 1
        assert self.store.index.tree_json() == self.model.tree.tree_json()
        assert self.store._positions == self.model.positions
        assert list(self.store._sessions._active) == list(self.model.tasks)
        assert set(self.store._sessions._obsolete) == self.model.obsolete
        assert self.store._sessions.authoritative == self.model.authoritative


def outcome(call: Any) -> int:
    try:
        call()
    except FusionError as error:
        return error.status
    return OK


def test_everything_follows_from_the_log_whatever_happens() -> None:
    number = int(os.environ.get("FUSION_SCHEDULE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"FUSION_SCHEDULE_SEED={number}")
    run_state_machine_as_test(
        seed(number)(ScheduledStore),
        settings=settings(max_examples=300, stateful_step_count=50, deadline=None, print_blob=True),
    )
    started = {f"started {state}" for state in STATES} | {"started from a checkpoint"}
    assert EVENTS | STATES | started <= (+ScheduledStore.met).keys(), ScheduledStore.met
