"""Deliveries: what is tried again, what is given up, and how bodies are written."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from fake_fusion import Answer, FakeFusion

from fusion.agent import push as push_module
from fusion.agent.push import Pusher, Refused, SessionLost, is_loopback
from fusion.agent.scan import Row
from fusion.agent.wire import Body, compressed, encode, event, joined, plain, push_body

EMPTY = Body(b"{}", "identity")
ROW = Row(file_path="/a", size=1, modified_time=2.5, created_time=3.0, is_dir=False)


@pytest.fixture
def fake() -> Iterator[FakeFusion]:
    with FakeFusion() as fake:
        yield fake


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(push_module, "_LONGEST_DELAY_SECONDS", 0.01)


def with_pusher(fake: FakeFusion, use: Callable[[Pusher], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        pusher = Pusher(fake.url, "the key")
        try:
            return await use(pusher)
        finally:
            await pusher.close()

    return asyncio.run(run())


def test_a_session_is_asked_for_with_the_key(fake: FakeFusion) -> None:
    session = with_pusher(fake, lambda pusher: pusher.open_session("task", {"agent": "x"}))
    (request,) = fake.requests
    assert session["session_id"] == "session-1"
    assert request.document == {"task_id": "task", "client_info": {"agent": "x"}}
    assert {name.lower(): value for name, value in request.headers.items()}["x-api-key"] == "the key"


def test_heartbeat_and_end_name_the_session(fake: FakeFusion) -> None:
    with_pusher(fake, lambda pusher: pusher.heartbeat("abc"))
    with_pusher(fake, lambda pusher: pusher.end_session("abc"))
    assert [(r.method, r.path) for r in fake.requests] == [
        ("POST", "/ingestor-api/v1/sessions/heartbeat"),
        ("DELETE", "/ingestor-api/v1/sessions/"),
    ]
    assert all(r.headers["session-id"] == "abc" for r in fake.requests)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_push_is_tried_until_it_is_taken(fake: FakeFusion, status: int) -> None:
    answers = iter([Answer(status, {"detail": "busy"}), Answer(status, "no object", {"Retry-After": "1"})])
    fake.intercept = lambda request: next(answers, None)
    body = push_body("s", "snapshot", [event("update", 5, joined([ROW]))])
    with_pusher(fake, lambda pusher: pusher.push(compressed(body)))
    assert [r.body for r in fake.requests] == [body] * 3
    assert fake.rows == {"/a": ROW}


LONG = push_body("s", "message", [event("update", 5, joined([ROW] * 1000))])


def test_long_bodies_are_compressed_and_short_ones_are_not(fake: FakeFusion) -> None:
    short = push_body("s", "message", [])
    for body in (LONG, short):
        with_pusher(fake, lambda pusher, body=body: pusher.push(compressed(body)))
    assert [r.body for r in fake.requests] == [LONG, short]
    assert [r.headers.get("Content-Encoding") for r in fake.requests] == ["zstd", None]
    assert len(compressed(LONG).content) < len(LONG) / 5


@pytest.mark.parametrize(("url", "coding"), [("http://127.0.0.1:1", "identity"), ("http://other", "zstd")])
def test_bodies_are_compressed_where_it_pays(url: str, coding: str) -> None:
    pusher = Pusher(url, "key")
    assert pusher.pack(LONG).coding == coding
    assert plain(pusher.pack(LONG)).content == LONG
    asyncio.run(pusher.close())


def test_a_server_without_codings_gets_plain_bodies(fake: FakeFusion) -> None:
    no_zstd = Answer(415, {"detail": "no zstd"})
    fake.intercept = lambda request: no_zstd if "Content-Encoding" in request.headers else None

    async def twice(pusher: Pusher) -> None:
        await pusher.push(compressed(LONG))
        await pusher.push(compressed(LONG))

    with_pusher(fake, twice)
    assert [r.headers.get("Content-Encoding") for r in fake.requests] == ["zstd", None, None]
    assert [r.body for r in fake.requests] == [LONG] * 3


def test_a_body_that_expands_too_much_is_sent_plain(fake: FakeFusion) -> None:
    too_much = Answer(413, {"detail": "more than 1,000 times"})
    answers = iter([too_much])
    fake.intercept = lambda request: next(answers, None)

    async def twice(pusher: Pusher) -> None:
        await pusher.push(compressed(LONG))
        await pusher.push(compressed(LONG))

    with_pusher(fake, twice)
    assert [r.headers.get("Content-Encoding") for r in fake.requests] == ["zstd", None, "zstd"]


def test_an_anomaly_is_signalled_with_its_reason(fake: FakeFusion) -> None:
    difference = {"path": "/a", "kind": "stale", "observed": ROW}
    with_pusher(fake, lambda pusher: pusher.signal_anomaly("s", "so it is", [difference]))
    assert fake.signals() == [{"session_id": "s", "reason": "so it is", "differences": [difference]}]


def test_a_server_out_of_reach_is_waited_for() -> None:
    with FakeFusion() as fake:
        port = fake.port

    async def run() -> None:
        pusher = Pusher(f"http://127.0.0.1:{port}", "k")
        push = asyncio.create_task(pusher.push(compressed(push_body("s", "message", []))))
        while not pusher.out_of_reach:
            await asyncio.sleep(0.001)
        with FakeFusion(port) as again:
            await push
            assert len(again.pushes("message")) == 1
            await pusher.close()
        assert not pusher.out_of_reach

    asyncio.run(run())


@pytest.mark.parametrize(("status", "superseded"), [(404, False), (419, True)])
def test_a_lost_session(fake: FakeFusion, status: int, superseded: bool) -> None:
    fake.intercept = lambda request: Answer(status, {"detail": "so it is"})
    for use in (lambda pusher: pusher.push(EMPTY), lambda pusher: pusher.heartbeat("s")):
        with pytest.raises(SessionLost, match="so it is") as caught:
            with_pusher(fake, use)
        assert caught.value.superseded is superseded
    assert len(fake.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422])
def test_a_refusal_is_not_tried_again(fake: FakeFusion, status: int) -> None:
    fake.intercept = lambda request: Answer(status, {"detail": "no"})
    with pytest.raises(Refused, match="no") as caught:
        with_pusher(fake, lambda pusher: pusher.push(EMPTY))
    assert caught.value.status == status
    assert len(fake.requests) == 1


def test_a_session_that_is_refused(fake: FakeFusion) -> None:
    fake.intercept = lambda request: Answer(404, ["no detail"])
    with pytest.raises(Refused, match="HTTP status 404"):
        with_pusher(fake, lambda pusher: pusher.open_session("t", {}))


def test_bodies_are_the_wire_format() -> None:
    body = push_body("s", "message", [event("delete", 7, joined([{"file_path": "/a"}]))])
    assert json.loads(body) == {
        "session_id": "s",
        "source_type": "message",
        "is_snapshot_end": False,
        "events": [{"event_type": "delete", "index": 7, "rows": [{"file_path": "/a"}]}],
    }


def test_names_that_are_not_utf8_are_surrogate_escapes_in_plain_ascii() -> None:
    body = encode({"file_path": "/caf\udce9/ü", "modified_time": 1705832400.25})
    assert body == b'{"file_path":"/caf\\udce9/\\u00fc","modified_time":1705832400.25}'
    assert encode({"file_path": "/ü"}) == '{"file_path":"/ü"}'.encode()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://example.org", False),
        ("http://127.example.org", False),
        ("", False),
    ],
)
def test_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
