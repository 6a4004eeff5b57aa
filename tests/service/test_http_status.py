"""/status and the reasons in /health/ready, in every state that a client can bring about."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from service import Store, file, folder, refused, until

from fusion.api.description.status import READY as READY_OPERATION
from fusion.api.description.status import STATUS as STATUS_OPERATION


def status(store: Store) -> dict[str, Any]:
    answer = store.http.get("/status")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    Draft202012Validator(STATUS_OPERATION.answers[0].content["application/json"]).validate(document)
    assert (document["reason"] is None) == document["ready"] == (document["state"] == "ready")
    assert document["ready"] == (document["files"] is not None)
    assert document["breaker"]["tripped"] == (document["state"] == "tripped")
    return document


def health(store: Store) -> dict[str, Any]:
    document = store.server.http.get("/health/ready").json()
    Draft202012Validator(READY_OPERATION.answers[0].content["application/json"]).validate(document)
    found: dict[str, Any] = document["datastores"][store.name]
    return found


def test_a_new_datastore(store: Store) -> None:
    found = status(store)
    assert found["datastore"] == store.name
    assert found["scopes"] == ["admin", "ingest", "read"]
    assert found["state"] == "empty" and "no agent" in found["reason"]
    assert found["progress"] is None and found["last_event_latency_ms"] is None
    assert found["sessions"] == []
    assert found["nodes"] == 1 and found["bytes"] is None
    assert found["totals"] == {"rows": 0, "batches": 0, "body_bytes": 0}
    assert found["started"] <= found["time"] <= time.time()


def test_a_snapshot_on_its_way_and_after_its_end(store: Store) -> None:
    session = store.open("the task")
    assert status(store)["progress"] == {"phase": "snapshot", "done": 0, "total": None}
    store.snapshot(session, folder("/d"), file("/d/a", 5), file("/d/b", 6))
    found = status(store)
    assert found["state"] == "snapshot"
    assert found["progress"] == health(store)["progress"] == {"phase": "snapshot", "done": 3, "total": None}
    assert health(store)["reason"] == found["reason"]
    store.end(session)
    found = status(store)
    assert found["state"] == "ready" and found["progress"] is None
    assert (found["files"], found["directories"], found["bytes"], found["nodes"]) == (2, 2, 11, 4)
    assert found["revision"] == store.stats()["revision"]
    assert found["totals"]["rows"] == 3 and found["totals"]["batches"] == 2
    assert found["queue"] == {"batches": 0, "bytes": 0} and found["inflight"] == 0
    assert health(store)["reason"] is None


def test_a_later_snapshot_is_told_while_views_are_shown(store: Store) -> None:
    session = store.ready(file("/a"))
    store.snapshot(session, file("/a"), file("/b"))
    assert status(store)["progress"] == {"phase": "snapshot", "done": 2, "total": None}
    store.end(session)
    assert status(store)["progress"] is None


def test_the_sessions_are_told_without_their_ids(store: Store) -> None:
    session = store.ready()
    [found] = status(store)["sessions"]
    listed = store.sessions()[session]
    assert found == {name: listed[name] for name in found}
    assert "session_id" not in found


def test_a_tripped_breaker_is_told_with_its_reason(store: Store) -> None:
    session = store.ready(file("/a"))
    store.anomaly(session, reason="a missed change")
    found = status(store)
    assert found["state"] == "tripped" and "a missed change" in found["reason"]
    assert found["breaker"] == {"tripped": True, "reason": "a missed change"}
    assert health(store)["reason"] == found["reason"]
    assert health(store)["ok"]  # there is nothing to mend in the server


def test_a_stale_datastore(store: Store, brief: Store) -> None:
    store.end_session(store.ready(file("/a")))
    assert status(store)["state"] == "stale" and status(store)["sessions"] == []
    brief.ready(file("/a"))
    until(lambda: status(brief)["state"] == "stale")


def test_every_scope_but_read_is_refused(store: Store) -> None:
    refused(store.server.http.get("/status"), 401, "unauthorized")
    for scope in ("ingest", "admin"):
        refused(Store(store.server, store.name, scope).http.get("/status"), 403, "forbidden")
    assert status(Store(store.server, store.name, "read"))["scopes"] == ["read"]


def test_a_neighbour_is_not_seen(neighbours: list[Store]) -> None:
    one, other = neighbours
    one.ready(file("/a"))
    found = status(other)
    assert found["state"] == "empty" and found["sessions"] == []
    assert found["totals"]["rows"] == 0 and found["nodes"] == 1


@pytest.mark.parametrize("index", [1, 2**40])
def test_the_latency_is_told_once_there_is_one(store: Store, index: int) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=index)
    assert status(store)["last_event_latency_ms"] == store.stats()["last_event_latency_ms"] is not None
