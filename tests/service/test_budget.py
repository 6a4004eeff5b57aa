"""The memory that bodies share while they are read and decoded."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st
from service import Server, Store, refused

from fusion.api.budget import Budget, Share

PATIENT = 60.0
SENDERS = 16


def test_it_is_shared_and_given_back() -> None:
    async def run() -> None:
        budget = Budget(100)
        one, two, three = (Share(budget) for _ in range(3))
        assert await one.grow(60, PATIENT)
        assert not await two.grow(50, 0.01)
        waiting = asyncio.ensure_future(two.grow(50, PATIENT))
        await asyncio.sleep(0)
        assert not await three.grow(1, 0.01)  # nobody passes who waits
        one.shrink(50)
        assert await waiting
        assert await three.grow(0, PATIENT)
        one.shrink()
        one.shrink()
        two.shrink()
        assert await three.grow(100, PATIENT)

    asyncio.run(run())


def test_what_is_larger_than_all_of_it_goes_alone() -> None:
    async def run() -> None:
        budget = Budget(100)
        large, small = Share(budget), Share(budget)
        assert await large.grow(1000, 0.01)
        assert not await small.grow(1, 0.01)
        large.shrink()
        assert await small.grow(1, 0.01)
        assert not await large.grow(1000, 0.01)

    asyncio.run(run())


@given(steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans()), max_size=40))
def test_never_more_than_there_is_and_all_comes_back(steps: list[tuple[int, int, bool]]) -> None:
    async def run() -> None:
        budget = Budget(100)
        shares = [Share(budget) for _ in range(5)]
        held = [0] * 5
        for who, size, release in steps:
            if release:
                shares[who].shrink(size)
                held[who] = min(held[who], size)
            elif await shares[who].grow(size, 0.0):
                held[who] += size
            assert sum(held) <= 100 or sum(map(bool, held)) == 1
        for share in shares:
            share.shrink()
        assert budget.try_take(100)

    asyncio.run(run())


def test_many_large_bodies_at_once_wait_for_each_other_and_not_for_ever(start: Callable[..., Server]) -> None:
    """They would need more memory than there is, and half of each of them all there is."""
    server = start({"one": ""}, "max_body_bytes = 16777216")
    store = Store(server, "one")
    session = store.ready()
    body = {"session_id": session, "source_type": "message", "padding": "x" * (7 << 20), "events": []}
    data = json.dumps(body).encode()
    with ThreadPoolExecutor(SENDERS) as pool:
        answers = list(pool.map(store.post, [data] * SENDERS))
    assert [answer.status_code for answer in answers] == [204] * SENDERS


def test_bodies_that_find_no_room_are_refused_and_may_come_again(start: Callable[..., Server]) -> None:
    """Large bodies that do not go on hold all there is; whoever comes then is told so."""
    server = start({"one": ""}, "max_body_bytes = 16777216")
    store = Store(server, "one")
    session = store.ready()
    half = b"x" * (8 << 20)
    head = f"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n"
    connections = [server.connect() for _ in range(3)]
    for connection in connections:
        connection.sendall(f"{head}Content-Length: 16000000\r\n\r\n".encode() + half)
    body = {"session_id": session, "source_type": "message", "events": [{"rows": [{"path": "/a"}]}]}
    packed = gzip.compress(json.dumps(body).encode())
    answer = store.http.post(
        "/ingestor-api/v1/events/", content=packed, headers={"content-encoding": "gzip"}, timeout=30
    )
    document = refused(answer, 503, "overloaded")
    assert "no room" in document["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    for connection in connections:
        connection.close()
    answer = store.http.post(
        "/ingestor-api/v1/events/", content=packed, headers={"content-encoding": "gzip"}, timeout=30
    )
    assert answer.status_code == 204, answer.text
    assert store.paths() == {"/a"}
