"""Trailing slashes, doubled paths, pages without a key."""

from __future__ import annotations

import pytest
from service import Store, accepted, file


@pytest.mark.parametrize("path", ["/ingestor-api/v1/sessions/", "/ingestor-api/v1/sessions"])
def test_sessions_works_with_and_without_the_slash(store: Store, path: str) -> None:
    answer = store.http.post(path, json={"task_id": "t"}, follow_redirects=False)
    assert answer.status_code == 200
    assert store.http.get(path, follow_redirects=False).status_code == 200
    headers = {"session-id": answer.json()["session_id"]}
    assert store.http.delete(path, headers=headers, follow_redirects=False).status_code == 200


@pytest.mark.parametrize("path", ["/ingestor-api/v1/events/", "/ingestor-api/v1/events"])
def test_events_works_with_and_without_the_slash(store: Store, path: str) -> None:
    session = store.ready()
    body = {"session_id": session, "source_type": "message", "events": [{"rows": [file("/a")]}]}
    accepted(store.http.post(path, json=body, follow_redirects=False))
    assert store.has("/a")


@pytest.mark.parametrize(
    "prefix",
    [
        "/ingestor-api/v1",
        "/ingestor-api/v1/events",
        "/ingestor-api/v1/events/",
        "/ingestor-api/v1/sessions/ingestor-api/v1/events",
        "/behind/a/proxy",
    ],
)
def test_a_doubled_path_is_routed_on_its_last_prefix(store: Store, prefix: str) -> None:
    session = store.http.post(f"{prefix}/ingestor-api/v1/sessions/", json={"task_id": "t"}).json()[
        "session_id"
    ]
    headers = {"session-id": session}
    heartbeat = store.http.post(f"{prefix}/ingestor-api/v1/sessions/heartbeat", headers=headers)
    assert heartbeat.status_code == 200
    body = {"session_id": session, "source_type": "snapshot", "events": [], "is_snapshot_end": True}
    accepted(store.http.post(f"{prefix}/ingestor-api/v1/events/", json=body))
    assert store.state() == "ready"


def test_the_root_greets_in_json(store: Store) -> None:
    answer = store.server.http.get("/")
    assert answer.status_code == 200
    assert isinstance(answer.json(), dict)


@pytest.mark.parametrize("path", ["/docs", "/view"])
def test_the_pages_are_html_and_load_nothing_from_elsewhere(store: Store, path: str) -> None:
    answer = store.server.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "://" not in answer.text
