"""The circuit breaker: who trips it, what it closes, what closes it again."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from service import Store, accepted, file, refused, wrong_field

VIEWS = ["tree", "stats", "search?pattern=a"]


def tripped(store: Store) -> None:
    for view in VIEWS:
        assert refused(store.http.get(f"/views/fs/{view}"), 503)["state"] == "tripped"


def signal_by_event(store: Store, session: str) -> None:
    accepted(store.post({"session_id": session, "source_type": "anomaly", "events": []}))


def test_the_signal_is_answered(store: Store) -> None:
    before = time.time()
    answer = store.anomaly(
        store.ready(),
        reason="overflow",
        detected_at=1705832400.5,
        differences=[
            {"path": "/a", "kind": "missing"},
            {"path": "/b", "kind": "stale", "observed": {"size": 3}},
            {"path": "/c", "kind": "extra", "observed": None},
        ],
    )
    assert answer.status_code == 200
    document = answer.json()
    assert before - 1 <= document.pop("tripped_at") <= time.time() + 1
    assert document == {"status": "tripped", "resync_required": True}


def test_every_view_is_closed_when_the_reply_is_there(store: Store) -> None:
    session = store.ready(file("/a"))
    assert store.anomaly(session).status_code == 200
    tripped(store)


def test_an_event_of_that_source_trips_it_too(store: Store) -> None:
    signal_by_event(store, store.ready())
    tripped(store)
    assert store.breaker()["tripped"] is True


def test_an_anomaly_has_no_events(store: Store) -> None:
    session = store.ready()
    body: dict[str, Any] = {"session_id": session, "source_type": "anomaly"}
    wrong_field(store.post(body | {"events": [{"rows": [file("/a")]}]}), "/events")
    wrong_field(store.post(body | {"events": [{}]}), "/events")
    assert store.state() == "ready"


def test_an_unknown_session_is_404_without_effect(store: Store) -> None:
    store.ready()
    refused(store.anomaly(str(uuid.uuid4())), 404, "session_not_found")
    assert store.state() == "ready"


def test_an_obsolete_session_is_419_without_effect(store: Store) -> None:
    old = store.open()
    store.ready()
    refused(store.anomaly(old), 419, "session_obsolete")
    refused(store.post({"session_id": old, "source_type": "anomaly", "events": []}), 419)
    assert store.state() == "ready"
    assert store.breaker()["tripped"] is False


def test_a_session_that_is_not_authoritative_is_419_without_effect(shared: Store) -> None:
    other = shared.open("other")
    shared.ready()
    refused(shared.anomaly(other), 419)
    refused(shared.post({"session_id": other, "source_type": "anomaly", "events": []}), 419)
    assert shared.state() == "ready"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"session_id": None}, "/session_id"),
        ({"session_id": 5}, "/session_id"),
        ({"reason": 5}, "/reason"),
        ({"detected_at": "now"}, "/detected_at"),
        ({"detected_at": True}, "/detected_at"),
        ({"differences": {}}, "/differences"),
        ({"differences": ["x"]}, "/differences/0"),
        ({"differences": [{"path": "/a", "kind": "missing"}, {"kind": "stale"}]}, "/differences/1/path"),
        ({"differences": [{"path": 5, "kind": "stale"}]}, "/differences/0/path"),
        ({"differences": [{"path": "/a\0", "kind": "stale"}]}, "/differences/0/path"),
        ({"differences": [{"path": "/a"}]}, "/differences/0/kind"),
        ({"differences": [{"path": "/a", "kind": "odd"}]}, "/differences/0/kind"),
        ({"differences": [{"path": "/a", "kind": ["stale"]}]}, "/differences/0/kind"),
    ],
)
def test_a_bad_signal_is_422_without_effect(store: Store, changes: dict[str, Any], pointer: str) -> None:
    body = {"session_id": store.ready()} | changes
    wrong_field(store.http.post("/ingestor-api/v1/consistency/anomaly", json=body), pointer)
    assert store.state() == "ready"


def test_everything_but_the_session_is_optional(store: Store) -> None:
    session = store.ready()
    answer = store.anomaly(session, reason=None, detected_at=None, differences=None)
    assert answer.status_code == 200


def test_repeating_is_harmless(store: Store) -> None:
    session = store.ready()
    for _ in range(3):
        assert store.anomaly(session).status_code == 200
    tripped(store)
    store.snapshot(session, file("/a"), end=True)
    assert store.paths() == {"/a"}


def test_pushes_and_heartbeats_go_on(store: Store) -> None:
    session = store.ready()
    store.anomaly(session)
    store.message(session, file("/live"), index=5)
    assert store.heartbeat(session).status_code == 200
    assert store.position(session).json() == {"index": 5}
    tripped(store)
    store.snapshot(session, file("/a"))
    tripped(store)
    store.end(session)
    assert store.paths() == {"/a"}


def test_other_datastores_are_untouched(neighbours: list[Store]) -> None:
    one, other = neighbours
    other.ready(file("/a"))
    one.anomaly(one.ready())
    assert other.paths() == {"/a"}
    assert other.breaker()["tripped"] is False


def test_a_snapshot_that_began_after_the_signal_closes_it(store: Store) -> None:
    session = store.ready(file("/a"))
    store.anomaly(session)
    store.snapshot(session, file("/b"))
    tripped(store)
    store.end(session)
    assert store.paths() == {"/b"}


def test_the_end_of_a_snapshot_that_was_running_does_not_close_it(store: Store) -> None:
    session = store.ready(file("/a"))
    store.snapshot(session, file("/b"))
    store.anomaly(session)
    store.snapshot(session, file("/c"))
    store.end(session)
    tripped(store)
    store.snapshot(session, file("/d"), end=True)
    assert store.paths() == {"/d"}


def test_the_end_of_a_first_snapshot_that_was_running_does_not_close_it(store: Store) -> None:
    session = store.open()
    store.snapshot(session, file("/a"))
    store.anomaly(session)
    store.end(session)
    tripped(store)


def test_an_end_without_rows_of_the_same_session_does_not_close_it(store: Store) -> None:
    session = store.ready(file("/a"))
    store.anomaly(session)
    store.end(session)
    tripped(store)


def test_the_last_signal_counts(store: Store) -> None:
    session = store.ready()
    store.anomaly(session)
    store.snapshot(session, file("/a"))
    signal_by_event(store, session)
    store.end(session)
    tripped(store)
    store.snapshot(session, file("/b"), end=True)
    assert store.paths() == {"/b"}


def test_a_session_created_after_the_signal_closes_it_even_with_an_empty_snapshot(store: Store) -> None:
    store.anomaly(store.ready(file("/a")))
    session = store.open()
    tripped(store)
    store.end(session)
    assert store.paths() == set()


def test_only_the_authoritative_sessions_snapshot_closes_it(shared: Store) -> None:
    one = shared.open("one")
    two = shared.ready()
    shared.anomaly(two)
    refused(shared.try_snapshot(one, file("/x"), end=True), 419)
    tripped(shared)


def test_status_is_null_while_closed(store: Store) -> None:
    closed = {"tripped": False, "tripped_at": None, "reason": None, "session_id": None}
    assert store.breaker() == closed
    session = store.ready()
    assert store.breaker() == closed
    tripped_at = store.anomaly(session, reason="overflow").json()["tripped_at"]
    assert store.breaker() == {
        "tripped": True,
        "tripped_at": tripped_at,
        "reason": "overflow",
        "session_id": session,
    }
    store.snapshot(session, file("/a"), end=True)
    assert store.breaker() == closed


def test_status_is_not_gated(store: Store) -> None:
    assert store.state() == "empty"
    assert store.breaker()["tripped"] is False
