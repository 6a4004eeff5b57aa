"""Parts of the API that are hard to reach from outside, one by one and in this process."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sanic.compat import Header
from sanic.http import Stage

from fusion import PathIndex
from fusion.api import events
from fusion.api.budget import Budget, Share
from fusion.api.failures import Failures
from fusion.api.guard import recovery
from fusion.api.offload import Workers, completion
from fusion.api.patience import Patience
from fusion.api.requests import hold, read_decoded
from fusion.api.streaming import MOST_STREAMS, StreamedAnswer, Streams
from fusion.api.traffic import Traffic
from fusion.errors import Overloaded

# Errors


def test_an_unforeseen_error_is_a_500_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    request: Any = SimpleNamespace(
        method="GET",
        path="/views/fs/tree",
        route=None,
        headers=Header(),
        app=SimpleNamespace(ctx=SimpleNamespace(traffic=Traffic())),
        ctx=SimpleNamespace(),
    )
    response = Failures().response(request, RuntimeError("the secret reason"))
    assert response.status == 500
    assert response.content_type == "application/json"
    document = json.loads(response.body or b"")
    assert document["code"] == "internal_error"
    assert "secret" not in document["detail"]
    assert "the secret reason" in caplog.text
    assert (
        document["request_id"] == response.headers["x-request-id"] == caplog.records[0].fields["request_id"]
    )


# Bodies


class Arriving:
    """A request with a body, as Sanic hands it to a handler."""

    def __init__(self, body: bytes, *codings: str) -> None:
        self.body = body
        self.headers = Header([("content-encoding", coding) for coding in codings])
        self.stream = self
        self.request_body = True
        self.app = SimpleNamespace(ctx=SimpleNamespace(max_body_bytes=1 << 20, workers=Workers()))
        self.ctx = SimpleNamespace(body=Share(Budget(1 << 22)), patience=Patience())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body


NOISE = random.Random(1).randbytes(64 * 1024 + 1)


@pytest.mark.parametrize(
    ("body", "codings", "thread"),
    [
        (NOISE[:-1], [], "MainThread"),
        (NOISE, [], "fusion-decode"),
        (gzip.compress(NOISE[:900]), ["gzip"], "MainThread"),
        (gzip.compress(NOISE[:1100]), ["gzip"], "fusion-decode"),
        (gzip.compress(NOISE), ["gzip"], "fusion-decode"),
    ],
)
def test_large_bodies_are_decoded_in_a_thread(body: bytes, codings: list[str], thread: str) -> None:
    request: Any = Arriving(body, *codings)

    def decode(plain: bytes) -> tuple[bytes, str]:
        return plain, threading.current_thread().name

    plain, name = asyncio.run(read_decoded(request, decode))
    request.app.ctx.workers.close()
    assert plain == (gzip.decompress(body) if codings else body)
    assert name.startswith(thread)


@pytest.mark.parametrize(
    ("bytes_long", "codings", "quick_takes_it", "expected"),
    [
        (256 * 1024, [], True, "quick"),
        (256 * 1024, [], False, "fusion-decode"),
        (256 * 1024 + 1, [], True, "fusion-decode"),
        (64 * 1024 + 1, ["gzip"], True, "fusion-decode"),
    ],
)
def test_bodies_of_middle_size_are_tried_at_once(
    bytes_long: int, codings: list[str], quick_takes_it: bool, expected: str
) -> None:
    body = random.Random(1).randbytes(bytes_long)
    request: Any = Arriving(gzip.compress(body) if codings else body, *codings)
    found = asyncio.run(
        read_decoded(
            request,
            lambda _: threading.current_thread().name,
            lambda plain: "quick" if quick_takes_it and plain == body else None,
        )
    )
    request.app.ctx.workers.close()
    assert found.startswith(expected)


# Waiting for the store


def test_a_client_that_goes_away_does_not_cancel_what_is_queued() -> None:
    async def scenario() -> None:
        future: Future[int] = Future()
        waiting = asyncio.create_task(completion(future))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        future.set_result(7)
        assert await completion(future) == 7

    asyncio.run(scenario())


def test_an_error_of_the_store_reaches_who_waits() -> None:
    async def scenario() -> None:
        future: Future[int] = Future()
        waiting = asyncio.create_task(completion(future))
        await asyncio.sleep(0)
        future.set_exception(KeyError("gone"))
        with pytest.raises(KeyError):
            await waiting

    asyncio.run(scenario())


# Waiting for room in the queue


class Crowded:
    """A datastore whose queue is full for the first pushes."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def push(self, batch: object) -> object:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded()
        return batch


def test_a_push_waits_for_room_in_the_queue() -> None:
    store: Any = Crowded(refusals=3)
    batch: Any = object()
    assert asyncio.run(events.enqueue(store, batch, Patience())) is batch


def test_a_push_is_refused_when_there_is_no_room_for_long() -> None:
    store: Any = Crowded(refusals=1_000_000)
    batch: Any = object()
    with pytest.raises(Overloaded):
        asyncio.run(events.enqueue(store, batch, Patience(0.05)))


def test_all_waits_of_a_request_together_end() -> None:
    """One that has waited for a recovery, or for memory, has no time left to wait for the queue."""

    async def scenario() -> None:
        patience = Patience(0.05)
        store: Any = SimpleNamespace(recovering=True)
        await recovery(store, patience)
        crowded, batch = Crowded(refusals=1), object()
        with pytest.raises(Overloaded):
            await events.enqueue(cast(Any, crowded), cast(Any, batch), patience)
        assert not crowded.refusals
        budget = Budget(100)
        assert budget.try_take(100)
        request: Any = SimpleNamespace(ctx=SimpleNamespace(body=Share(budget), patience=patience))
        with pytest.raises(Overloaded):
            await hold(request, 1)

    asyncio.run(scenario())


# Large answers


class Wire:
    """A connection that takes what it is sent, as Sanic and its transport look to a streamed answer."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.aborted = False
        self.limits: list[dict[str, int]] = []
        self.stage = Stage.HANDLER
        self.head_only = self.expecting_continue = False
        self.keep_alive = True
        self.protocol = self.transport = self
        self.response_func: Any = None

    async def send(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        self.sent += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        for part in parts:
            self.write(part)

    def get_extra_info(self, name: str) -> None:
        """There is no TLS."""

    def set_write_buffer_limits(self, **limits: int) -> None:
        self.limits.append(limits)

    def abort(self) -> None:
        self.aborted = True


def answer_of(wire: Wire, pieces: Iterable[memoryview], **options: Any) -> StreamedAnswer:
    streams = Streams(max_seconds=60, max_kept_bytes=1 << 30)
    answer = StreamedAnswer(
        pieces, b"x: y\r\n", index=PathIndex(), streams=streams, workers=Workers(), **options
    )
    answer.stream = cast(Any, wire)
    return answer


def test_pieces_may_share_a_buffer() -> None:
    buffer = bytearray(5)

    def pieces() -> Iterator[memoryview]:
        for text in (b"one", b"three", b"2"):
            buffer[: len(text)] = text
            yield memoryview(buffer)[: len(text)]

    wire = Wire()
    asyncio.run(answer_of(wire, pieces()).send(end_stream=True))
    head, _, body = bytes(wire.sent).partition(b"\r\n\r\n")
    assert body == b"3\r\none\r\n5\r\nthree\r\n1\r\n2\r\n0\r\n\r\n"
    assert head.split(b"\r\n")[:2] == [b"HTTP/1.1 200 OK", b"x: y"]
    assert (wire.stage, wire.aborted, wire.limits[0]) == (Stage.IDLE, False, {"high": 0, "low": 0})
    assert wire.limits[-1] == {"low": 16_384, "high": 65_536}


@pytest.mark.parametrize("failure", [MemoryError("no room"), RuntimeError("a bug"), asyncio.CancelledError()])
def test_a_failure_on_the_way_is_no_end(failure: BaseException) -> None:
    def pieces() -> Iterator[memoryview]:
        yield memoryview(b"half")
        raise failure

    wire = Wire()
    made = pieces()
    answer = answer_of(wire, made)
    with pytest.raises(type(failure)):
        asyncio.run(answer.send(end_stream=True))
    assert wire.aborted
    assert wire.sent.endswith(b"4\r\nhalf\r\n")
    assert wire.stage is Stage.RESPONSE  # so that Sanic does not answer a second time
    assert answer._pieces is None


def test_too_many_answers_at_once_are_refused() -> None:
    streams = Streams(max_seconds=60, max_kept_bytes=1 << 30)
    answers = [answer_of(Wire(), []) for _ in range(MOST_STREAMS)]
    for answer in answers:
        streams.check()
        streams.enter(answer)
    with pytest.raises(Overloaded):
        streams.check()
    streams.exit(answers[0])
    streams.check()
    assert streams.is_oldest(answers[1], answers[1].index)
    assert streams.is_oldest(answers[2], answers[2].index)  # of another index
