"""When views answer, and when they do not."""

from __future__ import annotations

import threading

from service import Store, accepted, file, folder, refused, until


def test_empty_before_the_first_session(store: Store) -> None:
    assert store.state() == "empty"


def test_snapshot_from_the_session_until_its_end(store: Store) -> None:
    session = store.open()
    assert store.state() == "snapshot"
    store.snapshot(session, file("/a"))
    assert store.state() == "snapshot"
    store.message(session, file("/b"))
    assert store.state() == "snapshot"
    store.end(session)
    assert store.state() == "ready"


def test_ready_needs_the_end_of_the_authoritative_session(shared: Store) -> None:
    one = shared.open("one")
    shared.open("two")
    refused(shared.try_snapshot(one, end=True), 419)
    assert shared.state() == "snapshot"


def test_stale_when_the_session_ended(store: Store) -> None:
    store.end_session(store.ready())
    assert store.state() == "stale"


def test_stale_when_the_session_ended_before_its_snapshot_did(store: Store) -> None:
    store.end_session(store.open())
    assert store.state() == "stale"


def test_stale_when_the_heartbeat_is_lost(brief: Store) -> None:
    brief.ready()
    until(lambda: brief.state() == "stale")


def test_tripped_when_the_breaker_is(store: Store) -> None:
    session = store.ready()
    store.anomaly(session)
    assert store.state() == "tripped"


def test_lost_at_once_when_a_session_is_created(store: Store) -> None:
    store.ready()
    store.open()
    assert store.state() == "snapshot"


def test_ready_is_latched_against_messages(store: Store) -> None:
    session = store.ready()
    done = threading.Event()
    states: set[str] = set()

    def watch() -> None:
        watcher = Store(store.server, store.name)
        while not done.is_set():
            states.add(watcher.state())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for number in range(100):
            store.message(session, *(file(f"/{number}/{n}") for n in range(200)))
    finally:
        done.set()
        thread.join()
    assert states == {"ready"}


def test_every_view_is_gated_in_every_state_but_ready(store: Store) -> None:
    def gated() -> None:
        for path in ("tree", "stats", "search?pattern=a"):
            document = refused(store.http.get(f"/views/fs/{path}"), 503, "not_ready")
            assert document["queue"] >= 0 and document["inflight"] >= 0

    gated()
    session = store.open()
    gated()
    store.end(session)
    store.anomaly(session)
    gated()
    store.snapshot(session, file("/a"))
    store.end(session)
    assert store.state() == "ready"
    store.end_session(session)
    gated()


def test_data_stays_while_not_ready_and_is_reconciled_in_place(store: Store) -> None:
    store.end_session(store.ready(file("/kept"), file("/gone"), file("/also")))
    session = store.open()
    store.snapshot(session, file("/also", 2), file("/kept", 2), file("/new"))
    store.end(session)
    assert list(store.tree()["children"]) == ["kept", "also", "new"]


def test_messages_before_the_first_end_are_kept(store: Store) -> None:
    session = store.open()
    store.message(session, file("/live"))
    store.snapshot(session, file("/listed"), end=True)
    assert store.paths() == {"/live", "/listed"}


def test_a_200_never_lacks_an_acknowledged_event(store: Store) -> None:
    """Several readers beside a writer: what was acknowledged before a read began is in it."""
    session = store.ready(folder("/d"))
    acknowledged = 0
    stop = threading.Event()
    failures: list[str] = []

    def read() -> None:
        reader = Store(store.server, store.name)
        while not stop.is_set():
            least = acknowledged
            if len(reader.tree("/d")["children"]) < least or reader.counts()[0] < least:
                failures.append(f"less than {least}")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            accepted(store.try_message(session, file(f"/d/{number}")))
            acknowledged = number + 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
