"""Parts of the API that are hard to reach from outside, one by one and in this process."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import random
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sanic.compat import Header

from fusion.api import events
from fusion.api.budget import Budget, Share
from fusion.api.failures import Failures
from fusion.api.guard import recovery
from fusion.api.offload import Workers, completion
from fusion.api.patience import Patience
from fusion.api.renderings import Rendering, Renderings
from fusion.api.requests import hold, read_decoded
from fusion.errors import Overloaded

# Errors


def test_an_unforeseen_error_is_a_500_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    request: Any = SimpleNamespace(method="GET", path="/views/fs/tree")
    response = Failures().response(request, RuntimeError("the secret reason"))
    assert response.status == 500
    assert response.content_type == "application/json"
    document = json.loads(response.body or b"")
    assert document["code"] == "internal_error"
    assert "secret" not in document["detail"]
    assert "the secret reason" in caplog.text


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


class Views:
    """An index's revision, and renderings that finish when told."""

    def __init__(self, budget_bytes: int = 100) -> None:
        self.revision = 1
        self.started: list[asyncio.Future[bytes]] = []
        self.renderings = Renderings(budget_bytes)

    def ask(self, key: str, size_bytes: int = 10) -> Rendering:
        def render() -> asyncio.Future[bytes]:
            self.started.append(asyncio.get_running_loop().create_future())
            return self.started[-1]

        return self.renderings.share(key, size_bytes, lambda: self.revision, render)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_same_answer_at_the_same_revision_is_rendered_once() -> None:
    async def scenario() -> None:
        views = Views()
        first = views.ask("a")
        await turns()
        assert views.ask("a") is first
        assert views.ask("b") is not first
        views.started[0].set_result(b"body")
        assert await first.body() == b"body"
        assert views.ask("a") is first

    asyncio.run(scenario())


def test_a_later_revision_is_rendered_anew() -> None:
    async def scenario() -> None:
        views = Views()
        first = views.ask("a")
        await turns()
        views.revision = 2
        assert views.ask("a") is not first

    asyncio.run(scenario())


def test_a_rendering_that_waits_serves_whoever_asks_meanwhile() -> None:
    async def scenario() -> None:
        views = Views(budget_bytes=10)
        first = views.ask("a")
        await turns()
        views.revision = 2
        second = views.ask("a")
        await turns()
        views.revision = 3
        assert views.ask("a") is second
        assert len(views.started) == 1
        views.started[0].set_result(b"old")
        await first.body()
        del first
        gc.collect()
        await turns()
        assert second.revision == 3
        assert len(views.started) == 2

    asyncio.run(scenario())


def test_an_answer_larger_than_the_budget_goes_alone() -> None:
    async def scenario() -> None:
        views = Views(budget_bytes=10)
        large = views.ask("large", 1_000)
        small = views.ask("small", 1)
        await turns()
        assert (large.revision, small.revision) == (1, None)
        views.started[0].set_result(b"")
        await large.body()
        del large
        gc.collect()
        await turns()
        assert small.revision == 1

    asyncio.run(scenario())


def test_a_rendering_that_failed_gives_its_room_back() -> None:
    async def scenario() -> None:
        views = Views(budget_bytes=10)
        failed, after = views.ask("failed"), views.ask("after")
        await turns()
        views.started[0].set_exception(KeyError("/gone"))
        with pytest.raises(KeyError):
            await failed.body()
        await turns()
        assert after.revision == 1

    asyncio.run(scenario())


def test_one_client_that_goes_away_takes_no_answer_from_another() -> None:
    async def scenario() -> None:
        views = Views()
        rendering = views.ask("a")
        leaving = asyncio.create_task(rendering.body())
        staying = asyncio.create_task(rendering.body())
        await turns()
        leaving.cancel()
        await turns()
        views.started[0].set_result(b"body")
        assert await staying == b"body"

    asyncio.run(scenario())
