"""POST /ingestor-api/v1/events/, the position and the ingest stats."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from service import Server, Store, accepted, file, folder, refused, until, wrong_field

DELETE: Any = object()


def envelope(session: str, **changes: Any) -> dict[str, Any]:
    """A push of one row, with some of its fields replaced or left out."""
    body = {
        "session_id": session,
        "source_type": "message",
        "is_snapshot_end": False,
        "events": [{"event_type": "update", "index": 5, "rows": [file("/a", 3)]}],
    }
    body.update(changes)
    return {key: value for key, value in body.items() if value is not DELETE}


def event(**changes: Any) -> dict[str, Any]:
    body = {"event_type": "update", "index": 5, "rows": [file("/a", 3)]} | changes
    return {key: value for key, value in body.items() if value is not DELETE}


def row(**changes: Any) -> dict[str, Any]:
    body = file("/a", 3, 1.5) | changes
    return {key: value for key, value in body.items() if value is not DELETE}


def push_event(store: Store, session: str, **changes: Any) -> Any:
    return store.post(envelope(session, events=[event(**changes)]))


def push_row(store: Store, session: str, **changes: Any) -> Any:
    return push_event(store, session, rows=[file("/before"), row(**changes)])


# Envelope


def test_a_push_is_204_with_an_empty_body(store: Store) -> None:
    answer = store.post(envelope(store.open()))
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"session_id": DELETE}, "/session_id"),
        ({"session_id": None}, "/session_id"),
        ({"session_id": 5}, "/session_id"),
        ({"events": DELETE}, "/events"),
        ({"events": None}, "/events"),
        ({"events": {}}, "/events"),
        ({"events": [5]}, "/events/0"),
        ({"events": [{}, None]}, "/events/1"),
        ({"source_type": DELETE}, "/source_type"),
        ({"source_type": "realtime"}, "/source_type"),
        ({"source_type": "Message"}, "/source_type"),
        ({"source_type": None}, "/source_type"),
        ({"is_snapshot_end": "true"}, "/is_snapshot_end"),
        ({"is_snapshot_end": 1}, "/is_snapshot_end"),
        ({"is_snapshot_end": None}, "/is_snapshot_end"),
    ],
)
def test_a_wrong_envelope_is_422(store: Store, changes: dict[str, Any], pointer: str) -> None:
    session = store.ready()
    wrong_field(store.post(envelope(session, **changes)), pointer)
    assert store.paths() == set()


def test_is_snapshot_end_is_false_by_default(store: Store) -> None:
    session = store.open()
    accepted(store.post(envelope(session, source_type="snapshot", is_snapshot_end=DELETE)))
    assert store.state() == "snapshot"


# Events


@pytest.mark.parametrize("event_type", ["insert", "update", DELETE])
def test_insert_and_update_are_the_same_and_the_default(store: Store, event_type: Any) -> None:
    session = store.ready()
    accepted(push_event(store, session, event_type=event_type))
    accepted(push_event(store, session, event_type=event_type, rows=[file("/a", 4)]))
    assert store.tree("/a")["size"] == 4


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"event_type": "create"}, "/events/0/event_type"),
        ({"event_type": None}, "/events/0/event_type"),
        ({"event_type": 1}, "/events/0/event_type"),
        ({"index": "5"}, "/events/0/index"),
        ({"index": 5.5}, "/events/0/index"),
        ({"index": True}, "/events/0/index"),
        ({"index": None}, "/events/0/index"),
        ({"rows": {}}, "/events/0/rows"),
        ({"rows": None}, "/events/0/rows"),
        ({"rows": [file("/b"), "text"]}, "/events/0/rows/1"),
    ],
)
def test_a_wrong_event_is_422(store: Store, changes: dict[str, Any], pointer: str) -> None:
    session = store.ready()
    wrong_field(push_event(store, session, **changes), pointer)
    assert store.paths() == set()


def test_index_and_rows_and_the_rest_are_optional(store: Store) -> None:
    session = store.ready()
    accepted(store.post(envelope(session, events=[{}, {"rows": [file("/a")]}])))
    assert store.paths() == {"/a"}
    refused(store.position(session), 404)


def test_fields_schema_and_table_do_not_matter(store: Store) -> None:
    session = store.ready()
    accepted(push_event(store, session, fields=["nonsense"], event_schema="/data", table="files"))
    accepted(push_event(store, session, fields=[], event_schema="", table="other"))
    assert store.paths() == {"/a"}


@pytest.mark.parametrize("when", ["before the end", "after the end"])
@pytest.mark.parametrize("source", ["message", "snapshot"])
def test_an_event_without_rows_changes_nothing(store: Store, when: str, source: str) -> None:
    trigger = {
        "event_type": "update",
        "fields": [],
        "rows": [],
        "index": -1,
        "event_schema": "bench-fs",
        "table": "initial_trigger",
    }
    session = store.open()
    store.snapshot(session, file("/a", 3))
    if when == "after the end":
        store.end(session)
    accepted(store.send(session, [trigger], source))
    if when == "before the end":
        assert store.state() == "snapshot"
        store.end(session)
    assert store.paths() == {"/a"}
    refused(store.position(session), 404)


# Rows


def test_path_and_file_path_are_the_same(store: Store) -> None:
    session = store.ready()
    accepted(push_row(store, session, path=DELETE, file_path="/by-file-path"))
    accepted(push_row(store, session, path="/by-path"))
    assert store.paths() == {"/before", "/by-file-path", "/by-path"}


def test_path_wins_when_both_are_given(store: Store) -> None:
    session = store.ready()
    accepted(push_row(store, session, path="/one", file_path="/two"))
    accepted(store.send(session, [{"rows": [{"file_path": "/three", "path": "/four"}]}]))
    assert store.paths() == {"/before", "/one", "/four"}


def test_is_dir_and_is_directory_are_the_same(store: Store) -> None:
    session = store.ready()
    accepted(push_row(store, session, path="/one", is_dir=DELETE, is_directory=True))
    accepted(push_row(store, session, path="/two", is_dir=True))
    assert store.tree("/one")["content_type"] == store.tree("/two")["content_type"] == "directory"


@pytest.mark.parametrize("key", ["size", "modified_time", "created_time"])
@pytest.mark.parametrize("value", [DELETE, None])
def test_absent_and_null_numbers_are_0(store: Store, key: str, value: Any) -> None:
    accepted(push_row(store, store.ready(), **{key: value}))
    assert store.tree("/a")[key] == 0


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"path": DELETE}, "path"),
        ({"path": None}, "path"),
        ({"path": 5}, "path"),
        ({"path": "/a\0b"}, "path"),
        ({"path": "/" + "x" * 65_535}, "path"),
        ({"path": "/"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/x/.."}, "path"),
        ({"path": DELETE, "file_path": "/"}, "file_path"),
        ({"size": -1}, "size"),
        ({"size": 2**63}, "size"),
        ({"size": 10**400}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": 1.0}, "size"),
        ({"size": "3"}, "size"),
        ({"size": True}, "size"),
        ({"modified_time": "now"}, "modified_time"),
        ({"modified_time": False}, "modified_time"),
        ({"modified_time": [1]}, "modified_time"),
        ({"created_time": {}}, "created_time"),
        ({"created_time": 10**400}, "created_time"),
        ({"is_dir": 1}, "is_dir"),
        ({"is_dir": "true"}, "is_dir"),
        ({"is_dir": None}, "is_dir"),
        ({"is_dir": DELETE, "is_directory": 0}, "is_directory"),
    ],
)
def test_a_wrong_row_is_422_and_nothing_of_the_batch_is_applied(
    store: Store, changes: dict[str, Any], pointer: str
) -> None:
    session = store.ready(file("/kept"))
    wrong_field(push_row(store, session, **changes), f"/events/0/rows/1/{pointer}")
    delete = {"event_type": "delete", "rows": [{"path": "/kept"}]}
    answer = store.post(envelope(session, events=[delete, event(rows=[row(**changes)])]))
    wrong_field(answer, f"/events/1/rows/0/{pointer}")
    assert store.paths() == {"/kept"}
    refused(store.position(session), 404)


FIELDS = ["path", "size", "modified_time", "created_time", "is_dir"]


def push_arrays(store: Store, session: str, *rows: list[Any], **changes: Any) -> Any:
    """A push of one event with an object and these arrays."""
    return push_event(store, session, **{"fields": FIELDS, "rows": [file("/before"), *rows], **changes})


@pytest.mark.parametrize("fields_first", [True, False])
def test_rows_may_be_arrays_in_the_order_of_fields(store: Store, fields_first: bool) -> None:
    session = store.ready()
    members = {
        "fields": FIELDS,
        "rows": [["/d", 0, 1.5, 2.5, True], file("/b", 5), ["/d/a", 3, None, 7, False]],
    }
    event = members if fields_first else dict(reversed(members.items()))
    accepted(store.send(session, [event]))
    assert store.paths() == {"/d", "/b", "/d/a"}
    assert store.tree("/d", max_depth=0)["created_time"] == 2.5
    node = {"name": "a", "content_type": "file", "path": "/d/a"}
    assert store.tree("/d/a") == node | {"size": 3, "modified_time": 0.0, "created_time": 7.0}
    accepted(
        store.send(session, [{"event_type": "delete", "fields": ["file_path"], "rows": [["/d"], ["/b"]]}])
    )
    assert store.paths() == set()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"fields": DELETE}, "fields"),
        ({"fields": None}, "fields"),
        ({"fields": []}, "fields"),
        ({"fields": FIELDS[1:]}, "fields"),
        ({"fields": [5]}, "fields"),
        ({"rows": [["/a", 3, 1.5, 1.5]]}, "rows/0"),
        ({"rows": [file("/b"), ["/a", 3, 1.5, 1.5, False, None]]}, "rows/1"),
        ({"rows": [[]], "event_type": "delete"}, "rows/0"),
        ({"rows": [[None, 3, 1.5, 1.5, False]]}, "rows/0/0"),
        ({"rows": [["/a\0b", 3, 1.5, 1.5, False]]}, "rows/0/0"),
        ({"rows": [["/x/..", 3, 1.5, 1.5, False]]}, "rows/0/0"),
        ({"rows": [["/a", 3.0, 1.5, 1.5, False]]}, "rows/0/1"),
        ({"rows": [["/a", 3, "now", 1.5, False]]}, "rows/0/2"),
        ({"rows": [["/a", 3, 1.5, 10**400, False]]}, "rows/0/3"),
        ({"rows": [["/a", 3, 1.5, 1.5, None]]}, "rows/0/4"),
        ({"rows": [["/a", 5]], "fields": ["file_path", "path"]}, "rows/0/1"),
    ],
)
def test_a_wrong_array_is_422_and_nothing_of_the_batch_is_applied(
    store: Store, changes: dict[str, Any], pointer: str
) -> None:
    session = store.ready(file("/kept"))
    wrong_field(push_arrays(store, session, ["/a", 3, 1.5, 1.5, False], **changes), f"/events/0/{pointer}")
    assert store.paths() == {"/kept"}


@pytest.mark.parametrize(
    "literal",
    ['"size":1e999', '"modified_time":1e999', '"created_time":-1e999', '"size":Infinity', '"size":NaN'],
)
def test_a_number_that_is_none_changes_nothing(store: Store, literal: str) -> None:
    session = store.ready()
    body = (
        f'{{"session_id":"{session}","source_type":"message",'
        f'"events":[{{"rows":[{{"path":"/good"}},{{"path":"/bad",{literal}}}]}}]}}'
    )
    answer = store.post(body.encode())
    assert answer.status_code == 422 if "1e999" in literal else answer.status_code in (400, 422)
    refused(answer, answer.status_code)
    if answer.status_code == 422:
        wrong_field(answer, f"/events/0/rows/1/{literal.split(chr(34))[1]}")
    assert store.paths() == set()


def test_a_path_of_the_longest_kind_is_taken(store: Store) -> None:
    path = "/" + "/".join("x" * 255 for _ in range(256))
    assert len(path) == 65_536
    session = store.ready()
    wrong_field(push_row(store, session, path=path), "/events/0/rows/1/path")
    accepted(push_row(store, session, path=path[:-1]))
    assert store.counts() == (2, 256)
    store.delete(session, path[:-1])
    assert store.counts() == (1, 256)


NORMAL = [
    ("/t/", "/t"),
    ("rel/x", "/rel/x"),
    ("/a//b/./c", "/a/b/c"),
    ("/q/../b", "/b"),
    ("//d", "/d"),
    ("/../e", "/e"),
]


@pytest.mark.parametrize(("sent", "stored"), NORMAL)
def test_paths_are_normalised(store: Store, sent: str, stored: str) -> None:
    session = store.ready()
    store.message(session, file(sent, 7))
    assert store.tree(stored)["size"] == 7
    assert store.counts()[0] == 1
    assert all(part not in ("", ".", "..") for path in store.paths() for part in path[1:].split("/"))


@pytest.mark.parametrize(("sent", "stored"), NORMAL)
def test_paths_of_deletes_are_normalised(store: Store, sent: str, stored: str) -> None:
    session = store.ready(file(stored))
    store.delete(session, sent)
    assert not store.has(stored)


def test_the_root_may_be_described_as_a_directory(store: Store) -> None:
    store.ready(folder("/", 5.5))
    assert store.tree("/", max_depth=0)["modified_time"] == 5.5


def test_a_delete_row_needs_the_path_alone(store: Store) -> None:
    session = store.ready(file("/a"), file("/b"))
    accepted(store.send(session, [{"event_type": "delete", "rows": [{"file_path": "/a"}]}]))
    accepted(
        push_event(store, session, event_type="delete", rows=[{"path": "/b", "size": "odd", "is_dir": 5}])
    )
    assert store.paths() == set()


def test_deleting_what_is_not_there_is_204(store: Store) -> None:
    session = store.ready(file("/a"))
    store.delete(session, "/none", "/a/below", "/x/y/z")
    assert store.paths() == {"/a"}


def test_a_large_batch_is_applied_whole(store: Store) -> None:
    session = store.ready()
    store.message(session, *(file(f"/d/{number}", number) for number in range(5_000)))
    assert store.counts() == (5_000, 2)
    assert store.tree("/d/4999")["size"] == 4999


def test_what_is_answered_204_is_in_the_next_view(store: Store) -> None:
    session = store.ready()
    for number in range(50):
        store.message(session, file(f"/{number}"))
        assert store.has(f"/{number}")
        assert store.counts() == (number + 1, 1)


# Refusals


def test_an_unknown_session_is_404(store: Store) -> None:
    refused(store.try_message(str(uuid.uuid4()), file("/a")), 404, "session_not_found")


def test_an_ended_session_is_404(store: Store) -> None:
    session = store.ready()
    store.end_session(session)
    refused(store.try_message(session, file("/a")), 404, "session_not_found")


def test_an_expired_session_is_404(brief: Store) -> None:
    session = brief.ready()
    until(lambda: not brief.sessions())
    refused(brief.try_message(session, file("/a")), 404, "session_not_found")


def test_an_obsolete_session_is_419(store: Store) -> None:
    session = store.open()
    store.open()
    document = refused(store.try_message(session, file("/a")), 419, "session_obsolete")
    assert "obsolete" in document["detail"]


# Position


def test_the_position_is_the_highest_index(store: Store) -> None:
    session = store.ready()
    refused(store.position(session), 404, "position_not_found")
    for index, highest in [(7, 7), (1_705_832_400_123, 1_705_832_400_123), (9, 1_705_832_400_123)]:
        store.message(session, file("/a"), index=index)
        answer = store.position(session)
        assert (answer.status_code, answer.json()) == (200, {"index": highest})


def test_the_position_takes_no_index_up_to_0(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=0)
    store.message(session, file("/a"), index=-1)
    refused(store.position(session), 404)


def test_the_position_counts_snapshots_and_every_event_of_a_push(store: Store) -> None:
    session = store.open()
    events = [{"index": 5, "rows": [file("/a")]}, {"index": 9, "rows": []}, {"index": 6, "rows": []}]
    accepted(store.send(session, events, "snapshot"))
    assert store.position(session).json() == {"index": 9}


def test_the_position_belongs_to_the_task(store: Store) -> None:
    session = store.open("task")
    store.message(session, file("/a"), index=9)
    assert store.position(store.open("task")).json() == {"index": 9}
    refused(store.position(store.open("another")), 404, "position_not_found")
    assert store.position(store.open("task")).json() == {"index": 9}


def test_the_position_belongs_to_the_datastore(neighbours: list[Store]) -> None:
    one, other = neighbours
    one.message(one.open("task"), file("/a"), index=9)
    refused(other.position(other.open("task")), 404)


def test_the_position_of_an_unknown_session_is_404(store: Store) -> None:
    refused(store.position(str(uuid.uuid4())), 404, "session_not_found")


def test_the_position_without_a_session_is_422(store: Store) -> None:
    wrong_field(store.http.get("/ingestor-api/v1/events/position"), "/session_id")


# Stats


def test_ingest_stats_have_their_shape(store: Store) -> None:
    session = store.ready(folder("/old", 86_400.0), file("/a"))
    store.message(session, file("/b"), index=1_705_832_400_123)
    document = store.http.get("/ingestor-api/v1/events/stats").json()
    assert set(document) == {"sources", "metrics"}
    (source,) = document["sources"]
    assert set(source) == {"id", "type"}
    assert source["type"] == "Agent"
    metrics = document["metrics"]
    assert set(metrics) == {"total_volume", "latency_ms", "oldest_directory"}
    assert metrics["latency_ms"] > 0
    assert metrics["oldest_directory"]["path"] == "/old"
    assert metrics["oldest_directory"]["age_days"] > 19_000


def test_ingest_stats_are_not_gated(store: Store) -> None:
    assert store.state() == "empty"
    assert store.http.get("/ingestor-api/v1/events/stats").status_code == 200


# The real agent


def test_the_agents_own_requests_in_its_order(store: Store) -> None:
    """A snapshot bottom-up, its end, the trigger, then live changes with a directory move."""
    session = store.open("7283973e-a20a-411c-b1b5-fead798bb77f:bench-sync")
    fields = ["file_path", "size", "modified_time", "created_time", "is_dir"]

    def update(index: int, *rows: tuple[str, bool]) -> dict[str, Any]:
        return {
            "event_type": "update",
            "fields": fields,
            "rows": [
                {
                    "file_path": path,
                    "size": 4096 if is_dir else 11,
                    "modified_time": 1795461842.9020936,
                    "created_time": 1795461842.9020936,
                    "is_dir": is_dir,
                }
                for path, is_dir in rows
            ],
            "index": index,
            "event_schema": "/data/small",
            "table": "files",
        }

    def delete(index: int, path: str) -> dict[str, Any]:
        return {
            "event_type": "delete",
            "fields": ["file_path"],
            "rows": [{"file_path": path}],
            "index": index,
            "event_schema": "/data/small",
            "table": "files",
        }

    def post(events: list[dict[str, Any]], source: str, end: bool = False) -> None:
        body = {"session_id": session, "events": events, "source_type": source, "is_snapshot_end": end}
        accepted(store.post(json.dumps(body, separators=(",", ":")).encode()))

    start = 1_795_461_925_492
    post([update(start, ("/data/small/d/one", False), ("/data/small/d/two", False))], "snapshot")
    post([update(start, ("/data/small/d", True), ("/data/small", True))], "snapshot")
    post([], "snapshot", end=True)
    trigger = update(-1) | {"fields": [], "event_schema": "bench-fs", "table": "initial_trigger"}
    post([trigger], "message")
    expected = {"/data", "/data/small", "/data/small/d", "/data/small/d/one", "/data/small/d/two"}
    assert store.paths() == expected
    post([update(start + 10, ("/data/small/new.txt", False))], "message")
    later = start + 20
    post(
        [delete(later, "/data/small/new.txt"), update(later, ("/data/small/d/renamed.txt", False))], "message"
    )
    assert store.paths() == expected | {"/data/small/d/renamed.txt"}
    later += 10
    post([delete(later, "/data/small/d")], "message")
    post([delete(later, "/data/small/d/one"), update(later, ("/data/small/moved/one", False))], "message")
    assert store.paths() == {"/data", "/data/small", "/data/small/moved", "/data/small/moved/one"}
    assert store.heartbeat(session).status_code == 200


# Load


def test_pushes_wait_for_room_rather_than_being_refused(start: Callable[..., Server]) -> None:
    """A queue that has room for about one push at a time, and many agents."""
    server = start({"one": "queue_bytes = 1048576\nallow_concurrent_push = true"})
    store = Store(server, "one")
    store.ready()
    rows = [file(f"/{'x' * 200}{number}") for number in range(3_000)]

    def agent(number: int) -> list[int]:
        mine = Store(server, "one")
        session = mine.open(f"task{number}")
        return [mine.try_message(session, *rows).status_code for _ in range(4)]

    with ThreadPoolExecutor(8) as agents:
        assert list(agents.map(agent, range(8))) == [[204] * 4] * 8
