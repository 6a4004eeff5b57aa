"""A datastore as a request handler sees it, with clocks moved by hand."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from memory_log import MemoryLog
from service import until

from fusion import PathIndex
from fusion._index import Batch
from fusion.datastore import Datastore
from fusion.errors import (
    DiskFull,
    FusionError,
    JournalDamaged,
    JournalFailed,
    NotReady,
    Overloaded,
    PositionNotFound,
    SessionNotFound,
    SessionObsolete,
)
from fusion.journal import Journal
from fusion.settings import DatastoreSettings

STUCK_SECONDS = 60.0
WALL = 1_700_000_000.0
TIMEOUT = 30


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


class Store:
    """A started datastore, its clock, and the calls of a client that waits for every answer."""

    def __init__(
        self, *, concurrent: bool = False, queue_bytes: int = 1 << 26, name: str = "research"
    ) -> None:
        self.clock = Clock()
        settings = DatastoreSettings(TIMEOUT, concurrent, queue_bytes)
        self.datastore = Datastore(name, settings, clock=self.clock, wall=lambda: WALL + self.clock.seconds)
        self.datastore.start()

    def pass_seconds(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def open(self, task: str = "task") -> str:
        return answer(self.datastore.open_session(task, None, "10.0.0.1")).session_id

    def end_session(self, session: str) -> None:
        answer(self.datastore.end_session(session))

    def submit(self, session: str, *events: Any, source: str = "message", end: bool = False) -> Future[Any]:
        return self.datastore.push(batch(session, *events, source=source, end=end))

    def message(self, session: str, *paths: str, index: int = -1, end: bool = False) -> Any:
        return answer(self.submit(session, event(*paths, index=index), end=end))

    def delete(self, session: str, *paths: str, index: int = -1) -> Any:
        return answer(self.submit(session, event(*paths, index=index, event_type="delete")))

    def snapshot(self, session: str, *paths: str, end: bool = False, **row: Any) -> Any:
        return answer(self.submit(session, event(*paths, **row), source="snapshot", end=end))

    def end(self, session: str) -> Any:
        return answer(self.submit(session, source="snapshot", end=True))

    def signal(self, session: str, reason: str | None = None) -> Any:
        return answer(self.datastore.anomaly(session, reason, None, []))

    def ready(self, *paths: str) -> str:
        session = self.open()
        self.snapshot(session, *paths)
        self.end(session)
        assert self.state == "ready"
        return session

    @property
    def state(self) -> str:
        return self.datastore.state

    def files(self) -> set[str]:
        return {node.path for node in self.datastore.index.search("*")}

    def calls(self, session: str) -> list[Callable[[], Any]]:
        """Everything a session may ask for."""
        return [
            lambda: self.datastore.heartbeat(session),
            lambda: self.datastore.position(session),
            lambda: self.message(session, "/late"),
            lambda: self.snapshot(session, "/late"),
            lambda: self.end(session),
            lambda: self.signal(session),
            lambda: answer(self.submit(session, source="anomaly")),
        ]

    def refuses(self, session: str, error: type[Exception]) -> None:
        for call in self.calls(session):
            with pytest.raises(error):
                call()


def answer(future: Future[Any]) -> Any:
    return future.result(STUCK_SECONDS)


def event(*paths: str, index: int = -1, event_type: str = "update", size: int = 1, mtime: float = 1.0) -> Any:
    rows = [
        {"path": path, "size": size, "modified_time": mtime, "is_dir": path.endswith("/")} for path in paths
    ]
    return {"event_type": event_type, "index": index, "rows": rows}


def batch(session: str, *events: Any, source: str = "message", end: bool = False) -> Batch:
    document = {"session_id": session, "source_type": source, "is_snapshot_end": end, "events": events}
    return Batch.decode(json.dumps(document).encode())


class HeldIndex:
    """The datastore's index, whose writes wait until let go."""

    def __init__(self, index: PathIndex) -> None:
        self._index = index
        self.entered = threading.Event()
        self._gate = threading.Event()

    def apply(self, body: Batch, *, now: float | None = None) -> Any:
        self.entered.set()
        assert self._gate.wait(STUCK_SECONDS)
        return self._index.apply(body, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def wait_until_held(self) -> None:
        assert self.entered.wait(STUCK_SECONDS)

    def let_go(self) -> None:
        self._gate.set()


@pytest.fixture
def make() -> Iterator[Callable[..., Store]]:
    stores: list[Store] = []

    def make(**settings: Any) -> Store:
        stores.append(Store(**settings))
        return stores[-1]

    yield make
    for store in stores:
        store.datastore.close()


@pytest.fixture
def store(make: Callable[..., Store]) -> Store:
    return make()


@pytest.fixture
def shared(make: Callable[..., Store]) -> Store:
    """Concurrent pushes allowed."""
    return make(concurrent=True)


@pytest.fixture
def hold() -> Iterator[Callable[[Store], HeldIndex]]:
    """Make the writer wait inside the next push."""
    held: list[HeldIndex] = []

    def hold(store: Store) -> HeldIndex:
        index = HeldIndex(store.datastore.index)
        store.datastore.index = index  # type: ignore[assignment]
        held.append(index)
        return index

    yield hold
    for index in held:
        index.let_go()


# Sessions


def test_a_grant_names_the_session_and_its_times(store: Store) -> None:
    grant = answer(store.datastore.open_session("task", {"version": "1"}, "10.0.0.1"))
    assert uuid.UUID(grant.session_id).version == 4
    assert grant.session_timeout_seconds == TIMEOUT
    assert grant.suggested_heartbeat_interval_seconds == TIMEOUT // 2


def test_the_suggested_interval_is_at_least_a_second() -> None:
    datastore = Datastore("quick", DatastoreSettings(session_timeout_seconds=1), clock=Clock())
    datastore.start()
    assert answer(datastore.open_session("task", None, "")).suggested_heartbeat_interval_seconds == 1
    datastore.close()


def test_sessions_are_listed(shared: Store) -> None:
    one = shared.open("one")
    shared.pass_seconds(2)
    two = shared.open("two")
    shared.pass_seconds(3)
    shared.datastore.heartbeat(one)
    common = {"client_ip": "10.0.0.1", "allow_concurrent_push": True, "session_timeout_seconds": TIMEOUT}
    assert shared.datastore.sessions() == [
        {
            "session_id": one,
            "task_id": "one",
            "created_at": WALL,
            "last_activity": WALL + 5,
            "authoritative": False,
            **common,
        },
        {
            "session_id": two,
            "task_id": "two",
            "created_at": WALL + 2,
            "last_activity": WALL + 2,
            "authoritative": True,
            **common,
        },
    ]


def test_an_unknown_session_is_not_found(store: Store) -> None:
    store.open()
    store.refuses(str(uuid.uuid4()), SessionNotFound)
    with pytest.raises(SessionNotFound):
        store.end_session(str(uuid.uuid4()))


def test_a_session_of_another_datastore_is_not_found(make: Callable[..., Store]) -> None:
    one, other = make(name="one"), make(name="other")
    session = one.open()
    other.open()
    other.refuses(session, SessionNotFound)
    with pytest.raises(SessionNotFound):
        other.end_session(session)


def test_an_obsolete_session_is_refused_everything(store: Store) -> None:
    old = store.ready("/a")
    new = store.open()
    store.refuses(old, SessionObsolete)
    store.end(new)
    assert store.files() == set()
    store.end_session(old)
    store.refuses(old, SessionObsolete)
    assert store.state == "ready"


def test_the_detail_of_a_refusal_says_obsolete(shared: Store) -> None:
    one = shared.open("one")
    shared.open("two")
    with pytest.raises(SessionObsolete, match="obsolete"):
        shared.snapshot(one, "/a")
    shared.open("one")
    with pytest.raises(SessionObsolete, match="obsolete"):
        shared.message(one, "/a")


def test_an_ended_session_is_not_found(store: Store) -> None:
    session = store.ready()
    store.end_session(session)
    store.refuses(session, SessionNotFound)
    with pytest.raises(SessionNotFound):
        store.end_session(session)
    assert store.state == "stale"
    assert store.datastore.sessions() == []


def test_an_expired_session_is_not_found_for_ever(store: Store) -> None:
    session = store.ready()
    store.pass_seconds(TIMEOUT)
    assert store.state == "ready"
    store.datastore.heartbeat(session)
    store.pass_seconds(TIMEOUT + 0.001)
    store.refuses(session, SessionNotFound)
    with pytest.raises(SessionNotFound):
        store.end_session(session)
    assert store.state == "stale"
    store.ready()
    store.refuses(session, SessionNotFound)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.state,
        lambda store: store.datastore.sessions(),
        lambda store: store.datastore.ingest_stats(),
        lambda store: store.datastore.end_session("unknown"),
    ],
)
def test_expiry_is_judged_by_whatever_is_asked_first(store: Store, ask: Callable[[Store], Any]) -> None:
    session = store.ready()
    store.pass_seconds(TIMEOUT + 1)
    with suppress(SessionNotFound):
        ask(store)
    # Even if time went back nobody would be revived.
    store.clock.seconds = 0.0
    store.refuses(session, SessionNotFound)
    assert store.state == "stale"


def test_every_accepted_call_is_a_sign_of_life(store: Store) -> None:
    session = store.ready()
    store.message(session, "/a", index=5)
    accepted = [
        lambda: store.datastore.heartbeat(session),
        lambda: store.datastore.position(session),
        lambda: store.message(session, "/a"),
        lambda: store.snapshot(session, "/a"),
        lambda: store.end(session),
        lambda: store.signal(session),
        lambda: answer(store.submit(session, source="anomaly")),
    ]
    for call in accepted:
        store.pass_seconds(TIMEOUT - 1)
        call()
    store.pass_seconds(TIMEOUT)
    assert [known["session_id"] for known in store.datastore.sessions()] == [session]
    store.pass_seconds(1)
    assert store.datastore.sessions() == []


def test_refused_calls_are_no_sign_of_life(shared: Store) -> None:
    one = shared.open("one")
    shared.pass_seconds(TIMEOUT - 1)
    shared.open("two")
    with pytest.raises(SessionObsolete):
        shared.snapshot(one, "/a")
    with pytest.raises(SessionObsolete):
        shared.signal(one)
    shared.pass_seconds(2)
    shared.refuses(one, SessionNotFound)


@pytest.mark.parametrize("asked_meanwhile", [True, False])
def test_a_session_is_not_silent_while_its_push_is_unanswered(
    store: Store, hold: Callable[[Store], HeldIndex], asked_meanwhile: bool
) -> None:
    session = store.ready()
    index = hold(store)
    future = store.submit(session, event("/a"))
    index.wait_until_held()
    store.pass_seconds(TIMEOUT * 3)
    if asked_meanwhile:
        assert store.state == "ready"
    index.let_go()
    answer(future)
    store.pass_seconds(TIMEOUT - 1)
    assert store.state == "ready"
    store.pass_seconds(2)
    assert store.state == "stale"


def test_an_expired_session_is_not_made_obsolete_by_the_next(store: Store) -> None:
    session = store.open()
    store.pass_seconds(TIMEOUT + 1)
    store.open()
    store.refuses(session, SessionNotFound)


# Concurrent pushes


def test_other_tasks_push_messages_and_no_snapshots(shared: Store) -> None:
    one, two = shared.open("one"), shared.open("two")
    shared.message(one, "/from-one", index=7)
    assert shared.datastore.position(one) == 7
    shared.datastore.heartbeat(one)
    for refused in (lambda: shared.snapshot(one, "/x"), lambda: shared.end(one), lambda: shared.signal(one)):
        with pytest.raises(SessionObsolete):
            refused()
    assert shared.state == "snapshot"
    shared.end(two)
    assert shared.files() == {"/from-one"}
    assert shared.state == "ready"


def test_the_same_task_replaces_its_session(shared: Store) -> None:
    one, two = shared.open("one"), shared.open("two")
    again = shared.open("one")
    shared.refuses(one, SessionObsolete)
    shared.message(two, "/a")
    shared.end(again)
    assert shared.state == "ready"


def test_nobody_inherits(shared: Store) -> None:
    one = shared.open("one")
    two = shared.ready("/a")
    shared.end_session(two)
    assert shared.state == "stale"
    shared.message(one, "/b")
    with pytest.raises(SessionObsolete):
        shared.snapshot(one, "/c", end=True)
    assert [known["authoritative"] for known in shared.datastore.sessions()] == [False]
    assert shared.state == "stale"


def test_the_expiry_of_another_session_leaves_views_ready(shared: Store) -> None:
    shared.open("one")
    two = shared.ready("/a")
    shared.pass_seconds(TIMEOUT - 1)
    shared.datastore.heartbeat(two)
    shared.pass_seconds(2)
    assert shared.state == "ready"
    assert [known["session_id"] for known in shared.datastore.sessions()] == [two]


# The order of the log decides


def test_a_batch_is_judged_again_when_its_turn_comes(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    old = store.ready("/a")
    index = hold(store)
    before = store.submit(old, event("/before"))
    index.wait_until_held()
    opening = store.datastore.open_session("task", None, "")
    late = [
        store.submit(old, event("/late")),
        store.submit(old, source="snapshot", end=True),
        store.submit(old, source="anomaly"),
        store.datastore.anomaly(old, None, None, []),
    ]
    index.let_go()
    answer(before)
    new = answer(opening).session_id
    for future in late:
        with pytest.raises(SessionObsolete):
            answer(future)
    assert store.state == "snapshot"
    assert store.files() == {"/a", "/before"}
    store.end(new)
    assert store.files() == set()


def test_who_loses_authority_while_waiting_loses_its_snapshots_and_signals(
    shared: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    one = shared.ready("/a")
    index = hold(shared)
    shared.submit(one, event("/before"))
    index.wait_until_held()
    opening = shared.datastore.open_session("another task", None, "")
    snapshot = shared.submit(one, event("/late"), source="snapshot", end=True)
    signals = [shared.datastore.anomaly(one, None, None, []), shared.submit(one, source="anomaly")]
    message = shared.submit(one, event("/message"))
    index.let_go()
    answer(opening)
    for future in (snapshot, *signals):
        with pytest.raises(SessionObsolete):
            answer(future)
    answer(message)
    assert shared.state == "snapshot"
    assert shared.files() == {"/a", "/before", "/message"}


def test_what_comes_after_the_end_of_its_session_is_not_found(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    session = store.ready()
    index = hold(store)
    before = store.submit(session, event("/before"))
    index.wait_until_held()
    ending = store.datastore.end_session(session)
    late = [
        store.submit(session, event("/late")),
        store.datastore.anomaly(session, None, None, []),
        store.datastore.end_session(session),
    ]
    index.let_go()
    answer(before)
    answer(ending)
    for future in late:
        with pytest.raises(SessionNotFound):
            answer(future)
    assert store.files() == {"/before"}
    assert store.state == "stale"


def test_the_end_of_a_session_that_became_obsolete_first_has_no_effect(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    old = store.ready()
    index = hold(store)
    store.submit(old, event("/a"))
    index.wait_until_held()
    opening = store.datastore.open_session("task", None, "")
    ending = store.datastore.end_session(old)
    index.let_go()
    answer(ending)
    store.end(answer(opening).session_id)
    assert store.state == "ready"
    store.refuses(old, SessionObsolete)


def test_of_two_sessions_that_open_at_once_the_later_one_wins(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    session = store.ready()
    index = hold(store)
    store.submit(session, event("/a"))
    index.wait_until_held()
    openings = [store.datastore.open_session("task", None, "") for _ in range(3)]
    index.let_go()
    *older, newest = [answer(opening).session_id for opening in openings]
    for obsolete in (session, *older):
        store.refuses(obsolete, SessionObsolete)
    store.end(newest)
    assert store.state == "ready"


# Readiness


def test_recovering_until_started() -> None:
    datastore = Datastore("early", DatastoreSettings(), clock=Clock())
    assert datastore.state == "recovering"
    for call in (
        datastore.check_ready,
        datastore.sessions,
        lambda: datastore.open_session("task", None, ""),
        lambda: datastore.heartbeat("any"),
        lambda: datastore.push(batch("any")),
    ):
        with pytest.raises(NotReady) as refusal:
            call()
        assert refusal.value.extra == {"state": "recovering", "queue": 0, "inflight": 0}
    datastore.start()
    assert datastore.state == "empty"
    datastore.close()


def test_a_client_that_got_its_answer_finds_the_state_that_follows(store: Store) -> None:
    assert store.state == "empty"
    for _ in range(200):
        session = store.open()
        assert store.state == "snapshot"
        store.snapshot(session, "/a")
        assert store.state == "snapshot"
        store.end(session)
        store.datastore.check_ready()


def test_an_answer_begun_before_the_tree_was_replaced_is_refused(store: Store) -> None:
    session = store.open()
    store.end(session)
    before = store.datastore.check_ready()
    assert store.datastore.check_ready(before) == before
    session = store.open()
    store.end(session)
    with pytest.raises(NotReady):
        store.datastore.check_ready(before)
    store.datastore.check_ready()


def test_readiness_waits_until_everything_accepted_is_applied(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    session = store.open()
    index = hold(store)
    store.submit(session, event("/first"))
    index.wait_until_held()
    futures = [
        store.submit(session, event("/a"), source="snapshot"),
        store.submit(session, source="snapshot", end=True),
        store.submit(session, event("/b")),
    ]
    assert store.state == "snapshot"
    with pytest.raises(NotReady) as refusal:
        store.datastore.check_ready()
    assert refusal.value.extra == {"state": "snapshot", "queue": 3, "inflight": 1}
    index.let_go()
    wait(futures, STUCK_SECONDS)
    assert store.state == "ready"
    assert store.files() == {"/first", "/a", "/b"}


def test_draining_between_the_end_and_the_last_record(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    session = store.open()
    states: list[str] = []

    class Watching(HeldIndex):
        def apply(self, body: Batch, *, now: float | None = None) -> Any:
            applied = super().apply(body, now=now)
            states.append(store.state)
            return applied

    index = Watching(store.datastore.index)
    store.datastore.index = index  # type: ignore[assignment]
    futures = [store.submit(session, event("/first"))]
    index.wait_until_held()
    futures += [store.submit(session, source="snapshot", end=True), store.submit(session, event("/b"))]
    index.let_go()
    wait(futures, STUCK_SECONDS)
    assert states == ["snapshot", "snapshot", "draining"]
    assert store.state == "ready"


def test_once_ready_it_is_latched(store: Store, hold: Callable[[Store], HeldIndex]) -> None:
    session = store.ready()
    index = hold(store)
    future = store.submit(session, event("/a"))
    index.wait_until_held()
    assert (store.state, store.datastore.inflight) == ("ready", 1)
    index.let_go()
    answer(future)
    assert (store.state, store.datastore.inflight) == ("ready", 0)


def test_an_end_on_a_message_is_no_end(store: Store) -> None:
    session = store.open()
    store.message(session, "/a", end=True)
    answer(store.submit(session, end=True))
    assert store.state == "snapshot"
    assert store.datastore.index.snapshot_open


def test_rows_and_end_in_one_push(store: Store) -> None:
    store.ready("/old")
    session = store.open()
    store.snapshot(session, "/a", "/b", end=True)
    assert store.state == "ready"
    assert store.files() == {"/a", "/b"}
    store.snapshot(session, "/b", "/c", end=True)
    assert store.files() == {"/b", "/c"}


def test_a_repeated_end_is_harmless(store: Store) -> None:
    session = store.ready("/a")
    store.message(session, "/b")
    for _ in range(3):
        store.end(session)
        answer(store.submit(session, event(), source="snapshot", end=True))
    assert store.files() == {"/a", "/b"}
    assert store.state == "ready"


def test_a_first_end_without_rows_ends_an_empty_snapshot(store: Store) -> None:
    store.ready("/a")
    session = store.open()
    store.message(session, "/live")
    store.end(session)
    assert store.files() == {"/live"}
    assert store.state == "ready"


def test_a_later_snapshot_begins_with_its_first_row(store: Store) -> None:
    session = store.ready("/a")
    store.message(session, "/before")
    store.snapshot(session, "/b")
    store.message(session, "/during")
    assert store.files() == {"/a", "/before", "/b", "/during"}
    assert store.state == "ready"
    store.end(session)
    assert store.files() == {"/b", "/during"}


def test_a_new_sessions_snapshot_begins_with_the_session(store: Store) -> None:
    old = store.ready("/a")
    store.message(old, "/before")
    new = store.open()
    store.message(new, "/during")
    store.snapshot(new, "/b")
    store.end(new)
    assert store.files() == {"/b", "/during"}


def test_what_an_obsolete_snapshot_carried_does_not_count(store: Store) -> None:
    old = store.open()
    store.snapshot(old, "/old")
    new = store.open()
    store.snapshot(new, "/new")
    store.end(new)
    assert store.files() == {"/new"}


def test_the_data_stays_while_views_are_not_ready(store: Store) -> None:
    store.end_session(store.ready("/a"))
    assert store.state == "stale"
    assert store.files() == {"/a"}


def test_a_delete_without_an_index_happened_when_it_arrived(store: Store) -> None:
    session = store.open()
    store.delete(session, "/early", "/late")
    store.pass_seconds(20)
    store.snapshot(session, "/early", mtime=WALL)
    store.snapshot(session, "/late", mtime=WALL + 1)
    assert store.files() == {"/late"}


def test_a_refused_body_changes_nothing(store: Store) -> None:
    session = store.ready()
    with pytest.raises(ValueError):
        store.submit(session, {"rows": [{"path": "/a"}, {"path": "/b", "size": -1}]})
    assert store.files() == set()


# Position


def test_position_is_the_highest_index_of_the_task(store: Store) -> None:
    session = store.open("one")
    with pytest.raises(PositionNotFound):
        store.datastore.position(session)
    store.message(session, "/a", index=0)
    store.message(session, "/a", index=-5)
    with pytest.raises(PositionNotFound):
        store.datastore.position(session)
    store.snapshot(session, "/a", index=40)
    store.message(session, "/a", index=30)
    assert store.datastore.position(session) == 40
    answer(store.submit(session, event(index=60), event("/b", index=50)))
    assert store.datastore.position(session) == 60


def test_position_outlives_the_session_and_belongs_to_its_task(store: Store) -> None:
    store.message(store.open("one"), "/a", index=9)
    other = store.open("two")
    with pytest.raises(PositionNotFound):
        store.datastore.position(other)
    store.message(other, "/a", index=4)
    assert store.datastore.position(store.open("one")) == 9
    assert store.datastore.position(store.open("two")) == 4


def test_position_belongs_to_the_datastore(make: Callable[..., Store]) -> None:
    one, other = make(name="one"), make(name="other")
    one.message(one.open("task"), "/a", index=9)
    with pytest.raises(PositionNotFound):
        other.datastore.position(other.open("task"))


def test_a_refused_push_leaves_the_position(store: Store, hold: Callable[[Store], HeldIndex]) -> None:
    old = store.open("one")
    store.message(old, "/a", index=5)
    index = hold(store)
    store.submit(old, event("/a"))
    index.wait_until_held()
    opening = store.datastore.open_session("one", None, "")
    late = store.submit(old, event("/b", index=99))
    index.let_go()
    with pytest.raises(SessionObsolete):
        answer(late)
    assert store.datastore.position(answer(opening).session_id) == 5


# Circuit breaker


def test_a_signal_trips_before_it_is_answered(store: Store) -> None:
    session = store.ready("/a")
    store.pass_seconds(3)
    assert store.signal(session, "overflow") == {
        "status": "tripped",
        "resync_required": True,
        "tripped_at": WALL + 3,
    }
    assert store.state == "tripped"
    assert store.datastore.consistency() == {
        "tripped": True,
        "tripped_at": WALL + 3,
        "reason": "overflow",
        "session_id": session,
    }


def test_consistency_is_null_while_closed(store: Store) -> None:
    closed = {"tripped": False, "tripped_at": None, "reason": None, "session_id": None}
    assert store.datastore.consistency() == closed
    session = store.ready()
    store.signal(session)
    store.snapshot(session, "/a", end=True)
    assert store.datastore.consistency() == closed


def test_an_anomaly_push_trips(store: Store) -> None:
    session = store.ready("/a")
    answer(store.submit(session, source="anomaly"))
    assert store.state == "tripped"
    assert store.datastore.consistency()["session_id"] == session


def test_pushes_go_on_while_tripped_and_the_next_snapshot_closes(store: Store) -> None:
    session = store.ready("/a")
    store.signal(session)
    store.datastore.heartbeat(session)
    store.message(session, "/live")
    store.snapshot(session, "/b")
    assert store.state == "tripped"
    store.end(session)
    assert store.state == "ready"
    assert store.files() == {"/b"}


def test_a_snapshot_that_was_running_does_not_close(store: Store) -> None:
    session = store.ready("/a")
    store.snapshot(session, "/b")
    store.signal(session)
    store.snapshot(session, "/c")
    store.end(session)
    assert store.state == "tripped"
    assert store.files() == {"/b", "/c"}


def test_events_without_rows_begin_no_snapshot(store: Store) -> None:
    session = store.ready("/a")
    store.signal(session)
    answer(store.submit(session, event(), source="snapshot"))
    store.end(session)
    assert store.state == "tripped"
    assert store.files() == {"/a"}


def test_a_session_opened_after_the_signal_closes_with_an_empty_snapshot(store: Store) -> None:
    store.signal(store.ready("/a"))
    store.end(store.open())
    assert store.state == "ready"


def test_the_breaker_waits_for_the_queue_too(store: Store, hold: Callable[[Store], HeldIndex]) -> None:
    session = store.ready()
    store.signal(session)
    index = hold(store)
    futures = [store.submit(session, event("/a"), source="snapshot", end=True)]
    index.wait_until_held()
    futures += [store.submit(session, source="anomaly"), store.submit(session, event("/b"))]
    index.let_go()
    wait(futures, STUCK_SECONDS)
    assert store.state == "tripped"


def test_the_breaker_belongs_to_one_datastore(make: Callable[..., Store]) -> None:
    one, other = make(name="one"), make(name="other")
    other.ready("/a")
    one.signal(one.ready())
    assert other.state == "ready"
    assert other.datastore.consistency()["tripped"] is False


# Reset


def test_reset_empties_the_tree_and_leaves_readiness(store: Store) -> None:
    session = store.ready("/a", "/d/b")
    answer(store.datastore.reset())
    assert store.state == "ready"
    assert store.files() == set()
    assert len(store.datastore.index) == 1
    store.message(session, "/c")
    assert store.files() == {"/c"}


def test_reset_is_gated(store: Store) -> None:
    session = store.open()
    store.snapshot(session, "/a")
    with pytest.raises(NotReady):
        store.datastore.reset()
    store.end(session)
    assert store.files() == {"/a"}


def test_reset_does_not_remove_what_a_newer_session_brought(
    store: Store, hold: Callable[[Store], HeldIndex]
) -> None:
    session = store.ready("/a")
    index = hold(store)
    store.submit(session, event("/b"))
    index.wait_until_held()
    opening = store.datastore.open_session("task", None, "")
    resetting = store.datastore.reset()
    index.let_go()
    answer(opening)
    with pytest.raises(NotReady):
        answer(resetting)
    assert store.files() == {"/a", "/b"}


# Statistics


def test_stats(store: Store) -> None:
    session = store.ready("/old/", "/new/", "/new/a")
    answer(store.submit(session, event("/new/", mtime=9.5)))
    stats = store.datastore.stats()
    memory = store.datastore.index.memory()
    assert stats.pop("bytes_per_node") == pytest.approx(memory["total"] / 4, abs=0.05)
    assert stats == {
        "total_files": 1,
        "total_directories": 3,
        "total_bytes": 1,
        "last_event_latency_ms": 0.0,
        "oldest_directory": {"path": "/old", "timestamp": 1.0},
        "state": "ready",
        "queue": 0,
        "inflight": 0,
        "revision": store.datastore.index.revision,
        "nodes": 4,
        "sessions": 1,
    }


def test_stats_of_an_empty_datastore(store: Store) -> None:
    stats = store.datastore.stats()
    assert (stats["total_files"], stats["total_directories"]) == (0, 1)
    assert stats["oldest_directory"] is None
    assert stats["state"] == "empty"


def test_latency_is_of_the_last_event_with_a_positive_index(store: Store) -> None:
    session = store.open()
    milliseconds = int(WALL * 1000)
    store.message(session, "/a", index=milliseconds - 1500)
    assert store.datastore.stats()["last_event_latency_ms"] == 1500.0
    store.message(session, "/a")
    store.message(session, "/a", index=0)
    assert store.datastore.stats()["last_event_latency_ms"] == 1500.0
    answer(store.submit(session, event("/a", index=milliseconds - 20), event("/b", index=-1)))
    assert store.datastore.stats()["last_event_latency_ms"] == 20.0
    store.message(session, "/a", index=milliseconds + 5000)
    assert store.datastore.stats()["last_event_latency_ms"] == 0.0
    store.message(session, "/a", index=2**63 - 1)
    assert store.datastore.stats()["last_event_latency_ms"] == 0.0


def test_paths_in_statistics_are_strict_unicode(store: Store) -> None:
    store.ready("/d\udcff\udcfe/")
    assert store.datastore.stats()["oldest_directory"]["path"] == "/d\ufffd\ufffd"
    metrics = store.datastore.ingest_stats()["metrics"]
    assert metrics["oldest_directory"]["path"] == "/d\ufffd\ufffd"


def test_ingest_stats(shared: Store) -> None:
    session = shared.open("agent:one")
    shared.message(session, "/f", "/d/", index=int(WALL * 1000) - 2500)
    answer(shared.submit(session, event("/d/", mtime=WALL - 10.5 * 86_400)))
    shared.open("agent:two")
    assert shared.datastore.ingest_stats() == {
        "sources": [{"id": "agent:one", "type": "Agent"}, {"id": "agent:two", "type": "Agent"}],
        "metrics": {
            "total_volume": 1,
            "latency_ms": 2500,
            "oldest_directory": {"path": "/d", "age_days": 10},
        },
    }


def test_ingest_stats_of_an_empty_datastore(store: Store) -> None:
    assert store.datastore.ingest_stats() == {
        "sources": [],
        "metrics": {
            "total_volume": 0,
            "latency_ms": 0,
            "oldest_directory": {"path": "N/A", "age_days": 0},
        },
    }


def test_a_directory_from_the_future_has_no_age(store: Store) -> None:
    answer(store.submit(store.open(), event("/d/", mtime=WALL + 1e6)))
    assert store.datastore.ingest_stats()["metrics"]["oldest_directory"]["age_days"] == 0


# Load and the end


def test_a_full_queue_refuses_pushes_but_no_session(
    make: Callable[..., Store], hold: Callable[[Store], HeldIndex]
) -> None:
    store = make(queue_bytes=1000)
    session = store.ready()
    index = hold(store)
    futures = [store.submit(session, event(*("/" + "x" * 100 + str(n) for n in range(20))))]
    index.wait_until_held()
    store.pass_seconds(TIMEOUT - 1)
    with pytest.raises(Overloaded):
        store.submit(session, event("/a"))
    opening = store.datastore.open_session("task", None, "")
    index.let_go()
    wait(futures, STUCK_SECONDS)
    answer(opening)


def test_a_push_refused_for_load_is_a_sign_of_life(
    make: Callable[..., Store], hold: Callable[[Store], HeldIndex]
) -> None:
    store = make(concurrent=True, queue_bytes=500)
    quiet = store.open("quiet")
    busy = store.open("busy")
    index = hold(store)
    future = store.submit(busy, event("/" + "x" * 1000))
    index.wait_until_held()
    store.pass_seconds(TIMEOUT - 1)
    with pytest.raises(Overloaded):
        store.submit(quiet, event("/a"))
    store.pass_seconds(TIMEOUT - 1)
    assert quiet in [known["session_id"] for known in store.datastore.sessions()]
    index.let_go()
    answer(future)


def test_close_applies_what_was_accepted() -> None:
    store = Store()
    session = store.ready()
    futures = [store.submit(session, event(f"/{number}")) for number in range(100)]
    store.datastore.close()
    assert all(future.done() for future in futures)
    assert len(store.files()) == 100
    with pytest.raises(Overloaded):
        store.submit(session, event("/late"))


def test_questions_are_answered_after_the_end() -> None:
    store = Store()
    session = store.ready("/a")
    store.datastore.close()
    store.pass_seconds(TIMEOUT + 1)
    assert store.state == "stale"
    with pytest.raises(SessionNotFound):
        store.datastore.heartbeat(session)
    assert store.files() == {"/a"}


def test_many_threads_at_once(shared: Store) -> None:
    """Pushes, heartbeats and questions from several threads: what was accepted is there, in its order."""
    shared.ready()
    failures: list[BaseException] = []

    def agent(task: str) -> None:
        try:
            session = shared.open(task)
            for number in range(50):
                shared.message(session, f"/{task}/{number}", index=number + 1)
                shared.datastore.heartbeat(session)
                assert shared.datastore.position(session) == number + 1
                shared.datastore.sessions()
                assert shared.state in ("ready", "snapshot")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=agent, args=(f"task{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(shared.files()) == 200
    assert (shared.datastore.queue, shared.datastore.inflight) == (0, 0)


Life = Callable[[MemoryLog], Datastore]


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    """The next process with a log, which was started; it does not wait long before it tries again."""
    monkeypatch.setattr("fusion.datastore._RETRY_SECONDS", 0.01)
    lives: list[Datastore] = []

    def life(log: MemoryLog) -> Datastore:
        journal = Journal(
            tmp_path,
            sync=False,
            checkpoint_bytes=1 << 30,
            min_free_bytes=0,
            open_log=lambda path, *, sync: log,
        )
        lives.append(Datastore("one", DatastoreSettings(), clock=Clock(), journal=journal))
        lives[-1].start()
        return lives[-1]

    yield life
    for each in lives:
        each.close()


@pytest.mark.parametrize("error", [DiskFull(), JournalFailed()])
def test_a_recovery_that_cannot_be_written_yet_goes_on_when_it_can(
    error: FusionError, tmp_path: Path, life: Life
) -> None:
    """After a power cut the end of the sessions has to get into the journal, whose disk may be full."""
    log = MemoryLog()
    datastore = life(log)
    until(lambda: not datastore.recovering)
    session = answer(datastore.open_session("task", None, "")).session_id
    answer(datastore.push(batch(session, source="snapshot", end=True)))
    assert datastore.state == "ready"
    datastore.close()
    (tmp_path / "unsynced").write_text("another run of the machine")

    log = log.reopened()
    log.failing = error
    datastore = life(log)
    until(lambda: datastore.health()["journal"]["error"])
    assert datastore.state == "recovering"
    log.failing = None
    until(lambda: datastore.state == "stale")


def filled(life: Life) -> tuple[MemoryLog, str]:
    """What a process left: a ready tree of two files, by the second of two sessions, which is named."""
    log = MemoryLog()
    datastore = life(log)
    until(lambda: not datastore.recovering)
    for name in ("/a", "/b"):
        session = answer(datastore.open_session("task", None, "")).session_id
        answer(datastore.push(batch(session, event(name, index=7))))
    answer(datastore.push(batch(session, event("/a", "/b"), source="snapshot", end=True)))
    datastore.close()
    return log.reopened(), session


def is_as_before(datastore: Datastore, session: str) -> None:
    until(lambda: datastore.state == "ready")
    assert {node.path for node in datastore.index.search("*")} == {"/a", "/b"}
    assert [known["session_id"] for known in datastore.sessions()] == [session]
    assert datastore.position(session) == 7
    assert datastore.health()["problem"] is None


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_record_that_cannot_be_read_yet_is_read_later(life: Life, number: int) -> None:
    """The replay begins anew: nothing of what was replayed before counts twice."""
    log, session = filled(life)
    log.unreadable = number
    datastore = life(log)
    until(lambda: datastore.health()["problem"])
    health = datastore.health()
    assert (health["ok"], health["state"]) == (False, "recovering")
    assert "disk I/O error" in health["problem"]
    log.unreadable = None
    is_as_before(datastore, session)


def everything_asked(datastore: Datastore, session: str) -> list[Callable[[], Any]]:
    return [
        datastore.check_ready,
        datastore.reset,
        datastore.sessions,
        datastore.consistency,
        datastore.ingest_stats,
        lambda: datastore.open_session("task", None, ""),
        lambda: datastore.heartbeat(session),
        lambda: datastore.position(session),
        lambda: datastore.push(batch(session)),
        lambda: datastore.anomaly(session, None, None, []),
        lambda: datastore.end_session(session),
    ]


def test_nothing_is_told_of_half_a_journal(life: Life) -> None:
    """Neither while it is replayed, nor when it has a hole."""
    log, session = filled(life)
    log.unreadable = 5
    datastore = life(log)
    until(lambda: datastore.health()["problem"])
    for ask in everything_asked(datastore, session):
        with pytest.raises(NotReady, match="recovering"):
            ask()
    del log.records[5]
    until(lambda: datastore.state == "damaged")
    for ask in everything_asked(datastore, session):
        with pytest.raises(JournalDamaged, match="journal damaged at record 5:"):
            ask()


@pytest.mark.parametrize("part", ["instant", "thread"])
def test_a_checkpoint_that_cannot_be_begun_is_told_and_not_tried_with_every_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    tried: list[object] = []

    def fails(*arguments: object) -> None:
        tried.append(arguments)
        raise MemoryError

    journal = Journal(tmp_path, checkpoint_bytes=0, min_free_bytes=0)
    datastore = Datastore("one", DatastoreSettings(), clock=Clock(), journal=journal)
    if part == "instant":
        monkeypatch.setattr(datastore, "_dump", fails)
    else:
        monkeypatch.setattr("fusion.journal._Writing.start", fails)
    datastore.start()
    until(lambda: not datastore.recovering)
    for number in range(5):
        answer(datastore.open_session(str(number), None, ""))
    health = datastore.health()
    datastore.close()
    assert health["ok"]
    assert health["journal"]["checkpoint_error"] == "MemoryError"
    assert len(tried) == 1


class ScarceIndex(HeldIndex):
    """The datastore's index, which takes a batch in part."""

    def apply(self, body: Batch, *, now: float | None = None) -> Any:
        self._index.upsert(["/part"], [1], [1.0], [1.0], [False])
        raise MemoryError("the index could not grow")


def test_what_is_applied_in_part_is_not_shown(life: Life) -> None:
    """The tree is made anew from the journal, which has all of it."""
    log, session = filled(life)
    datastore = life(log)
    is_as_before(datastore, session)
    mark = datastore.check_ready()
    datastore.index = ScarceIndex(datastore.index)  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        answer(datastore.push(batch(session, event("/c"))))
    assert datastore.state == "ready"
    assert {node.path for node in datastore.index.search("*")} == {"/a", "/b", "/c"}
    with pytest.raises(NotReady):
        datastore.check_ready(mark)
    answer(datastore.push(batch(session, event("/d"))))


def test_without_a_journal_a_tree_in_part_is_given_up(store: Store) -> None:
    session = store.ready("/a")
    store.datastore.index = ScarceIndex(store.datastore.index)  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        store.message(session, "/b")
    assert store.state == "empty"
    store.refuses(session, SessionNotFound)
    store.ready("/c")
    assert store.files() == {"/c"}


def test_a_tree_that_cannot_be_made_anew_is_not_shown(life: Life) -> None:
    log, session = filled(life)
    datastore = life(log)
    is_as_before(datastore, session)
    del log.records[3]
    datastore.index = ScarceIndex(datastore.index)  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        answer(datastore.push(batch(session, event("/c"))))
    for ask in everything_asked(datastore, session):
        with pytest.raises(JournalDamaged, match="journal damaged at record 3:"):
            ask()


def test_memory_that_is_not_there_for_a_replay_may_be_there_later(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, session = filled(life)

    def decode(data: bytes) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("fusion.datastore.decode", decode)
        datastore = life(log)
        until(lambda: datastore.health()["problem"])
        assert datastore.state == "recovering"
    is_as_before(datastore, session)


def test_a_recovery_that_fails_for_no_known_reason_is_told(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(data: bytes) -> Any:
        raise RuntimeError("unforeseen")

    log, session = filled(life)
    monkeypatch.setattr("fusion.datastore.decode", decode)
    datastore = life(log)
    until(lambda: datastore.health()["problem"])
    assert not datastore.health()["ok"]
    for call in (datastore.check_ready, lambda: datastore.heartbeat(session)):
        with pytest.raises(JournalFailed):
            call()
