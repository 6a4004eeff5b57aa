"""The log of a server, from its start to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from service import Server, Store, accepted, file, refused, until


def told(server: Server) -> list[dict[str, Any]]:
    """Every line of standard error is a JSON object."""
    return [json.loads(line) for line in server.errors().splitlines()]


def events(server: Server, datastore: str | None = None) -> list[str]:
    return [line["event"] for line in told(server) if line.get("datastore") == datastore]


def states(server: Server, datastore: str) -> list[str]:
    return [
        line["state"]
        for line in told(server)
        if line["event"] == "state_changed" and line["datastore"] == datastore
    ]


def test_a_life(start: Callable[..., Server]) -> None:
    server = start({"one": "", "other": ""}, "", "--log-format", "json", "--log-level", "info")
    store = Store(server, "one")
    until(lambda: states(server, "other") == ["recovering", "empty"])
    first = store.open("first")
    second = store.open("second")
    store.snapshot(second, file("/a"), file("/b"))
    store.snapshot(second, file("/c"))
    store.end(second)
    for number in range(50):
        store.message(second, file(f"/{number}"))
    accepted(store.http.delete("/views/fs/reset"))
    store.anomaly(second, reason="a missed change")
    store.end_session(second)
    assert store.heartbeat(first).status_code == 419
    refused(server.http.get("/views/fs/tree"), 401)
    server.stop(silent=False)
    assert events(server) == ["starting", "listening", "stopping", "stopped"]
    assert [name for name in events(server, "one") if name != "state_changed"] == [
        "recovered",
        "session_opened",
        "session_superseded",
        "session_opened",
        "snapshot_begun",
        "snapshot_ended",
        "reset",
        "anomaly_signalled",
        "breaker_tripped",
        "session_ended",
    ]
    assert states(server, "one") == ["recovering", "empty", "snapshot", "ready", "tripped"]
    lines = {line["event"]: line for line in told(server)}
    assert lines["snapshot_ended"]["rows"] == 3
    assert lines["breaker_tripped"]["reason"] == "a missed change"
    assert lines["session_superseded"]["task_id"] == "first"
    assert store.key not in server.errors()


def test_a_checkpoint_is_told(start: Callable[..., Server]) -> None:
    server = start({"one": "checkpoint_bytes = 0"}, "", "--log-format", "json", "--log-level", "info")
    session = Store(server, "one").ready(file("/a"))
    until(lambda: "checkpoint_written" in events(server, "one"))
    Store(server, "one").message(session, file("/b"))
    found = events(server, "one")
    assert found.index("checkpoint_begun") < found.index("checkpoint_written")
    server.stop(silent=False)


def test_expiry_is_told(start: Callable[..., Server]) -> None:
    server = start({"one": "session_timeout_seconds = 1"}, "", "--log-format", "json", "--log-level", "info")
    store = Store(server, "one")
    store.ready(file("/a"))
    until(lambda: store.state() == "stale")
    until(lambda: states(server, "one")[-1] == "stale")
    assert "session_expired" in events(server, "one")
    server.stop(silent=False)
