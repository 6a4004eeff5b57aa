"""The newest session wins; silence ends a session, and nothing revives it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from service import Server, Store, accepted, file, read_answer, refused, until


def calls(store: Store, session: str) -> list:
    """Every call of a session: message, snapshot, heartbeat, position."""
    return [
        store.try_message(session, file("/late")),
        store.try_snapshot(session, file("/late")),
        store.try_snapshot(session, end=True),
        store.heartbeat(session),
        store.position(session),
    ]


# Exclusive


def test_a_new_session_makes_the_one_before_it_obsolete(store: Store) -> None:
    old = store.ready(file("/a"))
    store.message(old, file("/b"), index=5)
    new = store.open()
    for answer in calls(store, old):
        refused(answer, 419, "session_obsolete")
    store.end(new)
    assert store.paths() == set()


def test_an_obsolete_sessions_rows_can_no_longer_arrive(store: Store) -> None:
    old = store.open()
    new = store.ready(file("/new"))
    for answer in calls(store, old):
        refused(answer, 419)
    assert store.paths() == {"/new"}
    assert store.heartbeat(new).status_code == 200


def test_the_same_task_takes_over_its_own_session(store: Store) -> None:
    old = store.open("task")
    new = store.open("task")
    refused(store.heartbeat(old), 419)
    assert store.heartbeat(new).status_code == 200


def test_a_long_line_of_obsolete_sessions_is_remembered(store: Store) -> None:
    line = [store.open() for _ in range(60)]
    for session in line[:-1]:
        refused(store.heartbeat(session), 419)
    assert store.heartbeat(line[-1]).status_code == 200


def test_nothing_revives_an_ended_session(store: Store) -> None:
    session = store.ready()
    store.end_session(session)
    for _ in range(2):
        for answer in calls(store, session):
            refused(answer, 404, "session_not_found")
    assert store.sessions() == {}
    assert store.state() == "stale"


def test_nothing_revives_an_expired_session(brief: Store) -> None:
    session = brief.ready()
    until(lambda: not brief.sessions())
    for _ in range(2):
        for answer in calls(brief, session):
            refused(answer, 404, "session_not_found")
    assert brief.state() == "stale"


def test_an_expired_session_is_not_made_obsolete_by_the_next(brief: Store) -> None:
    session = brief.open()
    until(lambda: not brief.sessions())
    brief.open()
    refused(brief.heartbeat(session), 404, "session_not_found")


def test_is_snapshot_end_on_a_message_is_no_end(store: Store) -> None:
    session = store.open()
    accepted(store.send(session, [{"rows": [file("/a")]}], "message", end=True))
    accepted(store.send(session, [], "message", end=True))
    assert store.state() == "snapshot"
    store.end(session)
    assert store.paths() == {"/a"}


# Concurrent


def test_sessions_of_other_tasks_stay_active(shared: Store) -> None:
    one = shared.open("one")
    two = shared.ready()
    assert set(shared.sessions()) == {one, two}
    assert shared.heartbeat(one).status_code == 200


def test_messages_of_other_tasks_are_applied(shared: Store) -> None:
    one = shared.open("one")
    shared.ready()
    shared.message(one, file("/from-one"), index=5)
    assert shared.paths() == {"/from-one"}
    assert shared.position(one).json() == {"index": 5}


def test_snapshots_of_other_tasks_are_419(shared: Store) -> None:
    one = shared.open("one")
    two = shared.open("two")
    refused(shared.try_snapshot(one, file("/a")), 419, "session_obsolete")
    refused(shared.try_snapshot(one, end=True), 419, "session_obsolete")
    assert shared.state() == "snapshot"
    shared.end(two)
    assert shared.paths() == set()


def test_the_same_task_replaces_its_predecessor(shared: Store) -> None:
    one = shared.open("one")
    two = shared.open("two")
    again = shared.open("one")
    for answer in calls(shared, one):
        refused(answer, 419, "session_obsolete")
    assert set(shared.sessions()) == {two, again}
    assert shared.sessions()[again]["authoritative"]


def test_a_session_of_another_task_may_end(shared: Store) -> None:
    one = shared.open("one")
    two = shared.ready()
    assert shared.end_session(one).status_code == 200
    assert set(shared.sessions()) == {two}
    assert shared.state() == "ready"


# Nobody inherits


@pytest.mark.parametrize("kind", ["plain", "shared"])
def test_nobody_inherits_from_an_ended_session(take: Callable[..., list[Store]], kind: str) -> None:
    (store,) = take(kind)
    one = store.open("one")
    two = store.ready()
    store.end_session(two)
    assert store.state() == "stale"
    refused(store.try_snapshot(one, end=True), 419)
    assert store.state() == "stale"
    assert not any(session["authoritative"] for session in store.sessions().values())
    store.ready()
    assert store.state() == "ready"


def test_nobody_inherits_from_an_expired_session(brief: Store) -> None:
    brief.ready()
    until(lambda: brief.state() == "stale")
    brief.open()
    assert brief.state() == "snapshot"


# Signs of life


@pytest.mark.parametrize("call", ["message", "snapshot", "end", "heartbeat", "position"])
def test_every_accepted_call_is_a_sign_of_life(store: Store, call: str) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=5)
    before = store.sessions()[session]["last_activity"]
    until(lambda: time.time() > before + 0.1)
    {
        "message": lambda: store.message(session, file("/a")),
        "snapshot": lambda: store.snapshot(session, file("/a")),
        "end": lambda: store.end(session),
        "heartbeat": lambda: store.heartbeat(session),
        "position": lambda: store.position(session),
    }[call]()
    assert store.sessions()[session]["last_activity"] > before


def test_views_and_lists_are_no_sign_of_life(brief: Store) -> None:
    session = brief.ready()
    before = brief.sessions()[session]["last_activity"]
    until(lambda: brief.state() == "stale" and not brief.sessions())
    assert before > 0


def test_heartbeats_keep_a_session_alive_beyond_its_timeout(brief: Store) -> None:
    session = brief.ready()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert brief.heartbeat(session).status_code == 200
    assert brief.state() == "ready"


def test_pushes_alone_keep_a_session_alive_beyond_its_timeout(brief: Store) -> None:
    session = brief.ready()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        brief.message(session, file("/a"))
    assert brief.state() == "ready"


def test_silence_longer_than_the_timeout_ends_a_session(brief: Store) -> None:
    session = brief.ready()
    until(lambda: brief.state() == "stale")
    refused(brief.heartbeat(session), 404)


def test_time_in_which_the_server_did_not_run_does_not_count(start: Callable[..., Server]) -> None:
    server = start({"one": "session_timeout_seconds = 1"})
    store = Store(server, "one")
    session = store.ready(file("/a"))
    head = (
        "POST /ingestor-api/v1/sessions/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        f"X-API-Key: {store.key}\r\nsession-id: {session}\r\n\r\n"
    )
    with server.connect() as connection:
        server.send_signal(signal.SIGSTOP)
        connection.sendall(head.encode())
        # Time is all this waits for: a stopped process has nothing to poll.
        time.sleep(2.5)
        server.send_signal(signal.SIGCONT)
        assert read_answer(connection).status_code == 200
    assert store.paths() == {"/a"}
    store.message(session, file("/b"))


def test_a_stopped_server_declares_nobody_dead_when_it_goes_on(start: Callable[..., Server]) -> None:
    server = start({"one": "session_timeout_seconds = 1"})
    store = Store(server, "one")
    session = store.ready(file("/a"))
    request = f"GET /views/fs/stats HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n\r\n".encode()
    with server.connect() as connection:
        server.send_signal(signal.SIGSTOP)
        connection.sendall(request)
        time.sleep(2.5)
        server.send_signal(signal.SIGCONT)
        assert read_answer(connection).status_code == 200
    assert store.heartbeat(session).status_code == 200
