"""The session routes."""

from __future__ import annotations

import time
import uuid

import pytest
from service import Store, file, refused, wrong_field

SESSIONS = "/ingestor-api/v1/sessions/"


def test_opening_answers_id_timeout_and_heartbeat_interval(store: Store) -> None:
    answer = store.http.post(SESSIONS, json={"task_id": "agent:task", "client_info": {"version": "1"}})
    assert answer.status_code == 200
    document = answer.json()
    assert set(document) == {"session_id", "session_timeout_seconds", "suggested_heartbeat_interval_seconds"}
    assert uuid.UUID(document["session_id"]).version == 4
    assert document["session_timeout_seconds"] == 30
    assert document["suggested_heartbeat_interval_seconds"] == 15


def test_the_suggested_interval_is_at_least_a_second(brief: Store) -> None:
    document = brief.http.post(SESSIONS, json={"task_id": "t"}).json()
    assert document["session_timeout_seconds"] == 1
    assert document["suggested_heartbeat_interval_seconds"] == 1


def test_client_info_is_optional(store: Store) -> None:
    assert store.http.post(SESSIONS, json={"task_id": "t"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"client_info": {}}, "/task_id"),
        ({"task_id": None}, "/task_id"),
        ({"task_id": 7}, "/task_id"),
        ({"task_id": True}, "/task_id"),
        ({"task_id": "t", "client_info": "text"}, "/client_info"),
        ({"task_id": "t", "client_info": []}, "/client_info"),
    ],
)
def test_a_wrong_session_is_422(store: Store, body: object, pointer: str) -> None:
    wrong_field(store.http.post(SESSIONS, json=body), pointer)
    assert store.sessions() == {}


def test_opening_is_never_409(store: Store) -> None:
    for task in ("one", "one", "two", "one"):
        assert store.http.post(SESSIONS, json={"task_id": task}).status_code == 200


def test_heartbeat_is_ok(store: Store) -> None:
    answer = store.heartbeat(store.open())
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert isinstance(answer.json()["message"], str)


def test_heartbeat_takes_the_agents_empty_body_and_any_other(store: Store) -> None:
    session = store.open()
    for body in (b"", b"{}", b"anything"):
        headers = {"session-id": session}
        assert store.http.post(f"{SESSIONS}heartbeat", headers=headers, content=body).status_code == 200


def test_heartbeat_of_an_unknown_session_is_404(store: Store) -> None:
    for session in (str(uuid.uuid4()), "nonsense", ""):
        refused(store.heartbeat(session), 404, "session_not_found")


def test_heartbeat_of_an_ended_session_is_404(store: Store) -> None:
    session = store.open()
    store.end_session(session)
    refused(store.heartbeat(session), 404, "session_not_found")


def test_heartbeat_of_an_obsolete_session_is_419(store: Store) -> None:
    session = store.open()
    store.open()
    document = refused(store.heartbeat(session), 419, "session_obsolete")
    assert "obsolete" in document["detail"]


def test_heartbeat_without_the_header_is_422(store: Store) -> None:
    wrong_field(store.http.post(f"{SESSIONS}heartbeat"), "/session-id")


def test_ending_is_ok_once(store: Store) -> None:
    session = store.open()
    answer = store.end_session(session)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    refused(store.end_session(session), 404, "session_not_found")


def test_ending_an_obsolete_session_is_ok_without_effect(store: Store) -> None:
    old = store.open()
    new = store.ready(file("/a"))
    for _ in range(2):
        assert store.end_session(old).status_code == 200
    refused(store.heartbeat(old), 419)
    assert store.heartbeat(new).status_code == 200
    assert store.paths() == {"/a"}


def test_ending_an_unknown_session_is_404(store: Store) -> None:
    refused(store.end_session(str(uuid.uuid4())), 404, "session_not_found")


def test_ending_without_the_header_is_422(store: Store) -> None:
    wrong_field(store.http.delete(SESSIONS), "/session-id")


def test_the_list_describes_the_active_session(store: Store) -> None:
    before = time.time()
    session = store.open("agent:task")
    document = store.http.get(SESSIONS).json()
    assert set(document) == {"datastore_id", "active_sessions", "count"}
    assert document["datastore_id"] == store.name
    assert document["count"] == 1
    (active,) = document["active_sessions"]
    times = [active.pop("created_at"), active.pop("last_activity")]
    assert all(before - 1 <= at <= time.time() + 1 for at in times)
    assert active == {
        "session_id": session,
        "task_id": "agent:task",
        "client_ip": "127.0.0.1",
        "allow_concurrent_push": False,
        "session_timeout_seconds": 30,
        "authoritative": True,
    }


def test_the_list_is_empty_before_the_first_session(store: Store) -> None:
    assert store.http.get(SESSIONS).json() == {
        "datastore_id": store.name,
        "active_sessions": [],
        "count": 0,
    }


def test_the_list_has_no_obsolete_and_no_ended_session(store: Store) -> None:
    store.open()
    new = store.open()
    assert set(store.sessions()) == {new}
    store.end_session(new)
    assert store.sessions() == {}


def test_the_list_tells_who_is_authoritative(shared: Store) -> None:
    one, two = shared.open("one"), shared.open("two")
    sessions = shared.sessions()
    assert {session: sessions[session]["authoritative"] for session in sessions} == {one: False, two: True}
    assert all(session["allow_concurrent_push"] for session in sessions.values())
