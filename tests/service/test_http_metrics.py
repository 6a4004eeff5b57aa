"""/metrics: who may see it, in which formats, and that its numbers are those of what was done."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from service import Server, Store, file, refused, until

from fusion.readiness import State

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """One answer, as numbers."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.samples = [
            sample for family in text_string_to_metric_families(answer.text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The one sample of that name with these labels; None when there is none."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) <= 1, (name, labels)
        return found[0] if found else None

    def datastores(self) -> set[str]:
        return {sample.labels["datastore"] for sample in self.samples if "datastore" in sample.labels}

    def requests(self, **labels: str) -> float | None:
        return self("fusion_http_request_duration_seconds_count", **labels)


def scrape(server: Server) -> Scrape:
    return Scrape(server.http.get("/metrics"))


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start({"one": "", "memory": 'durability = "none"'})


# Formats


def test_the_text_format_is_what_is_sent_without_a_wish(store: Store) -> None:
    answer = store.server.http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert list(text_string_to_metric_families(answer.text))


def test_openmetrics_is_sent_to_whoever_asks_for_it(store: Store) -> None:
    answer = store.server.http.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(answer.text)}
    assert families["fusion_ingested_rows"].type == "counter"
    assert families["fusion_build"].type == "info"


@pytest.mark.parametrize("accept", ["", "text/plain", "a/b;version=x", "text/plain;version=9,*/*", "é;;=;"])
def test_whatever_is_accepted_there_is_an_answer(store: Store, accept: str) -> None:
    answer = store.server.http.get("/metrics", headers={"Accept": accept.encode()})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_every_metric_says_what_it_is(store: Store) -> None:
    for family in text_string_to_metric_families(store.server.http.get("/metrics").text):
        assert family.documentation and family.type != "unknown", family.name


# Who may see it


def test_everyone_sees_all_datastores(server: Server) -> None:
    assert scrape(server).datastores() == {"one", "memory"}


def test_with_a_key_its_datastore_alone_is_shown(start: Callable[..., Server]) -> None:
    server = start({"one": "", "other": ""}, 'metrics = "key"')
    refused(server.http.get("/metrics"), 401, "unauthorized")
    refused(server.http.get("/metrics", headers={"X-API-Key": "wrong"}), 401, "unauthorized")
    refused(Store(server, "one", "ingest").http.get("/metrics"), 403, "forbidden")
    for scope in ("read", "admin"):
        found = Scrape(Store(server, "one", scope).http.get("/metrics"))
        assert found.datastores() == {"one"}
        assert found("fusion_build_info") == 1


def test_it_can_be_switched_off(start: Callable[..., Server]) -> None:
    server = start({"one": ""}, 'metrics = "off"')
    refused(Store(server, "one").http.get("/metrics"), 404, "route_not_found")


# Numbers


def test_what_is_pushed_is_counted(server: Server) -> None:
    store = Store(server, "one")
    session = store.open()
    bodies = [
        json.dumps({"session_id": session, "source_type": source, "events": events, **more}).encode()
        for source, events, more in [
            ("snapshot", [{"rows": [file("/a"), file("/b")]}], {}),
            ("snapshot", [], {"is_snapshot_end": True}),
            ("message", [{"index": 1, "rows": [file("/c")]}], {}),
        ]
    ]
    for body in bodies:
        assert store.post(body).status_code == 204
    wrong = json.dumps({"session_id": "none", "source_type": "message", "events": []}).encode()
    assert store.post(wrong).status_code == 404
    found = scrape(server)
    expected = {
        "fusion_ingested_rows_total": 3,
        "fusion_ingested_batches_total": 3,
        "fusion_ingested_body_bytes_total": sum(map(len, bodies)),
        "fusion_nodes": 4,
        "fusion_index_revisions_total": store.stats()["revision"],
        "fusion_index_bytes_per_node": store.stats()["bytes_per_node"],
        "fusion_queue_batches": 0,
        "fusion_queue_bytes": 0,
        "fusion_inflight_batches": 0,
        "fusion_datastore_ready": 1,
        "fusion_datastore_healthy": 1,
        "fusion_sessions": 1,
        "fusion_sessions_authoritative": 1,
        "fusion_journal_sync_seconds_count": 4,  # the session, and three batches
        "fusion_journal_failures_total": 0,
        "fusion_last_event_latency_seconds": store.stats()["last_event_latency_ms"] / 1000,
    }
    assert {name: found(name, datastore="one") for name in expected} == expected
    assert found("fusion_ingested_rows_total", datastore="memory") == 0


def test_a_datastore_without_a_journal_has_no_numbers_of_one(server: Server) -> None:
    names = {sample.name for sample in scrape(server).samples if sample.labels.get("datastore") == "memory"}
    assert "fusion_nodes" in names
    assert not [name for name in names if "journal" in name or "checkpoint" in name]


def test_sessions_and_anomalies_are_counted(start: Callable[..., Server]) -> None:
    server = start({"one": "session_timeout_seconds = 1"})
    store = Store(server, "one")
    store.open()
    second = store.ready(file("/a"))
    assert store.anomaly(second, reason="a test").status_code == 200
    found = scrape(server)
    assert found("fusion_breaker_tripped") == 1
    assert found("fusion_anomalies_total") == 1
    assert found("fusion_datastore_state", state="tripped") == 1
    store.end_session(second)
    third = store.open()
    until(lambda: third not in store.sessions())
    until(lambda: scrape(server)("fusion_sessions_expired_total") == 1)
    found = scrape(server)
    assert found("fusion_sessions_opened_total") == 3
    assert found("fusion_sessions_superseded_total") == 1
    assert found("fusion_sessions_ended_total") == 1


def test_exactly_one_state_is_true(server: Server) -> None:
    states = [s for s in scrape(server).samples if s.name == "fusion_datastore_state"]
    for datastore in ("one", "memory"):
        values = {s.labels["state"]: s.value for s in states if s.labels["datastore"] == datastore}
        assert set(values) == {state.value for state in State}
        assert sorted(values.values()) == [0] * (len(State) - 1) + [1]


def test_what_was_there_before_the_start_is_not_counted(start: Callable[..., Server], tmp_path: Any) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    server = start({"one": ""}, "", *data)
    Store(server, "one").ready(file("/a"), file("/b"))
    server.stop()
    server = start({"one": ""}, "", *data)
    until(lambda: Store(server, "one").state() == "ready")
    found = scrape(server)
    assert found("fusion_nodes") == 3
    assert found("fusion_ingested_rows_total") == found("fusion_sessions_opened_total") == 0
    assert (found("fusion_journal_replay_bytes") or 0) > 0


# Requests


def test_requests_are_counted_by_route_method_and_status(server: Server) -> None:
    store = Store(server, "one")
    store.ready(file("/a"))
    for path in ("/", "/a", "/nothing"):
        store.http.get("/views/fs/tree", params={"path": path})
    store.http.get("/views/fs/tree/", params={"path": "/"})
    server.http.get("/views/fs/tree")
    found = scrape(server)
    assert found.requests(route="/views/fs/tree", method="GET", status="200") == 3
    assert found.requests(route="/views/fs/tree", status="404") == 1
    assert found.requests(route="/views/fs/tree", status="401") == 1
    assert found.requests(route="/ingestor-api/v1/events", method="POST", status="204") == 2


def test_unknown_routes_and_methods_make_one_label(server: Server) -> None:
    for number in range(5):
        server.http.get(f"/nothing/{number}")
        server.http.request(f"METHOD{number}", "/nothing")
    server.http.request("PATCH", "/views/fs/tree")
    found = scrape(server)
    assert found.requests(route="unknown", method="unknown", status="404") == 10
    assert found.requests(route="unknown", method="unknown", status="405") == 1
    assert {s.labels["route"] for s in found.samples if "route" in s.labels} == {"unknown"}


def test_histograms_add_up(server: Server) -> None:
    Store(server, "one").ready(file("/a"))
    scrape(server)
    samples = scrape(server).samples
    for name in ("fusion_http_request_duration_seconds", "fusion_journal_sync_seconds"):
        counts = {tuple(s.labels.items()): s.value for s in samples if s.name == f"{name}_count"}
        assert counts
        for labels, count in counts.items():
            buckets = [
                (float(s.labels["le"]), s.value)
                for s in samples
                if s.name == f"{name}_bucket" and set(labels) <= set(s.labels.items())
            ]
            assert buckets == sorted(buckets)
            assert [value for _, value in buckets] == sorted(value for _, value in buckets)
            assert buckets[-1] == (math.inf, count)


# The ids of requests

VALID = "a-Z_0.9" * 18


@pytest.mark.parametrize("path", ["/views/fs/tree", "/views/fs/stats", "/health/live", "/status", "/nothing"])
@pytest.mark.parametrize("sent", ["x", VALID])
def test_the_id_of_a_request_comes_back(store: Store, path: str, sent: str) -> None:
    store.ready(file("/a"))
    answer = store.http.get(path, headers={"X-Request-ID": sent})
    assert answer.headers.get_list("x-request-id") == [sent]


def test_a_streamed_answer_and_one_without_a_body_have_it_too(store: Store) -> None:
    session = store.ready(*(file(f"/{number}" + "x" * 200) for number in range(3000)))
    streamed = store.http.get("/views/fs/tree", headers={"X-Request-ID": "s"})
    assert streamed.headers["x-request-id"] == "s" and "content-length" not in streamed.headers
    body = {"session_id": session, "source_type": "message", "events": []}
    pushed = store.http.post("/ingestor-api/v1/events/", json=body, headers={"X-Request-ID": "p"})
    assert (pushed.status_code, pushed.headers["x-request-id"]) == (204, "p")
    tag = streamed.headers["etag"]
    known = store.http.get("/views/fs/tree", headers={"X-Request-ID": "k", "If-None-Match": tag})
    assert (known.status_code, known.headers["x-request-id"]) == (304, "k")


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "é", "a:b", "a\tb", '"'])
def test_an_invalid_id_is_replaced(store: Store, sent: str) -> None:
    answer = store.server.http.get("/health/live", headers={"X-Request-ID": sent.encode()})
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != sent


def test_answers_have_none_when_nobody_asked_but_errors_do(store: Store) -> None:
    store.ready(file("/a"))
    assert "x-request-id" not in store.http.get("/views/fs/tree").headers
    first, second = (store.server.http.get("/nothing").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_5xx_tells_it_in_its_document_and_others_do_not(store: Store) -> None:
    mine = {"X-Request-ID": "mine"}
    answer = store.http.get("/views/fs/tree", headers=mine)
    assert answer.headers["x-request-id"] == "mine"
    assert "request_id" not in refused(answer, 503, "not_ready")
    store.ready()
    answer = store.http.get("/views/fs/tree?min_revision=1000000", headers=mine)
    assert refused(answer, 503, "revision_not_reached")["request_id"] == "mine"
    assert "request_id" not in refused(store.server.http.get("/nothing"), 404)
