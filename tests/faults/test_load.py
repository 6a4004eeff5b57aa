"""More than the disk can take, and orders that come while much is on the way."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from io_control import SYNC, IoControl
from load import Batch, Line, Writer, settle
from service import Server, Store, accepted, file, refused, until
from watching import Watch, health, peak_bytes

from fusion import _index

WRITERS = 8
SENDERS = 16
ROWS = 1_000
QUEUE_BYTES = 1 << 20
JOURNAL = "/journal.sqlite3-wal$"
SHARED = "allow_concurrent_push = true\nsession_timeout_seconds = 600"


def writers_of(store: Store, count: int, **options: Any) -> list[Writer]:
    """The datastore is ready."""
    writers = [
        Writer(f"w{n}", store.open(f"task-{n}"), store.key, n, last_words=("overloaded",), **options)
        for n in range(count)
    ]
    store.ready()
    return writers


@pytest.mark.parametrize("sync_seconds", [0.0, 0.1])
def test_told_to_stop_under_full_load(
    sync_seconds: float, start: Callable[..., Server], io: IoControl
) -> None:
    server = start({"one": SHARED}, environment=io.environment)
    store = Store(server, "one")
    writers = writers_of(store, WRITERS)
    io.slow(JOURNAL, SYNC, sync_seconds)
    for writer in writers:
        writer.start(server)
    until(lambda: all(writer.book.acknowledged > 2 for writer in writers))
    server.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    for writer in writers:
        writer.join()
    assert not server.errors()
    io.calm()
    server = start({"one": SHARED})
    store = Store(server, "one")
    until(lambda: store.get_tree(max_depth=0).status_code == 200)
    settle(store, writers)
    for writer in writers:
        accepted(store.send(writer.session, []))
    server.stop()


def test_what_waits_when_it_is_told_to_stop(start: Callable[..., Server], io: IoControl) -> None:
    """It is answered, and kept; who does not send all of a body does not hold it up."""
    server = start({"one": SHARED}, environment=io.environment)
    store = Store(server, "one")
    writers = writers_of(store, WRITERS)
    io.stuck(JOURNAL, SYNC)
    with server.connect() as half, ThreadPoolExecutor(WRITERS) as pool:
        head = f"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n"
        half.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
        waiting = [
            pool.submit(writer.push, Line(server, store.key), writer.next_batch()) for writer in writers
        ]
        until(lambda: sum(health(server)[name] for name in ("queue", "inflight")) == WRITERS)
        server.send_signal(signal.SIGTERM)
        until(lambda: not listens(server))
        io.calm()
        assert [future.result().status for future in waiting] == [204] * WRITERS
        assert server.process.wait(10) == 0
    assert not server.errors()
    server = start({"one": SHARED})
    store = Store(server, "one")
    until(lambda: store.get_tree(max_depth=0).status_code == 200)
    settle(store, writers, certain=True)
    server.stop()


def listens(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def body_of(session: str, number: int) -> bytes:
    """All bodies make batches of one size."""
    rows = {f"/{number:08}/{n:08}": (number, 1000.0) for n in range(ROWS)}
    return Batch(rows).body(session)


def room() -> int:
    """How many such batches the queue has room for."""
    return QUEUE_BYTES // _index.Batch.decode(body_of("0" * 36, 0)).nbytes


def test_a_disk_ten_times_as_slow(start: Callable[..., Server], io: IoControl) -> None:
    """Everybody waits, nobody is refused, and the queue stays within its bound."""
    server = start({"one": f"{SHARED}\nqueue_bytes = {QUEUE_BYTES}"}, environment=io.environment)
    store = Store(server, "one")
    sessions = [store.open() for _ in range(SENDERS)]
    store.ready()
    io.slow(JOURNAL, SYNC, 0.05)

    def send(sender: int) -> None:
        line = Line(server, store.key)
        for number in range(5):
            answer = line.push(body_of(sessions[sender], sender * 1000 + number))
            assert answer.status == 204, answer.document

    with Watch(server) as watch, ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, range(SENDERS)))
    assert 2 < room() < SENDERS
    assert watch.most <= room()
    assert store.counts() == (SENDERS * 5 * ROWS, SENDERS * 5 + 1)
    server.stop()


def test_a_disk_that_stands_still(start: Callable[..., Server], io: IoControl) -> None:
    """Impatient clients send again and again; patient ones are told to come back later."""
    server = start({"one": f"{SHARED}\nqueue_bytes = {QUEUE_BYTES}"}, environment=io.environment)
    store = Store(server, "one")
    session = store.ready()
    until(lambda: store.counts())
    before = peak_bytes(server)
    io.stuck(JOURNAL, SYNC)
    done = threading.Event()

    def send_again_and_again(sender: int) -> None:
        while not done.is_set():
            line = server.connection()
            line.timeout = 0.2
            try:
                line.request(
                    "POST", "/ingestor-api/v1/events/", body_of(session, sender), {"X-API-Key": store.key}
                )
                line.getresponse().read()
            except (OSError, http.client.HTTPException):
                pass
            finally:
                line.close()

    with Watch(server) as watch, ThreadPoolExecutor(SENDERS) as pool:
        for sender in range(SENDERS):
            pool.submit(send_again_and_again, sender)
        until(lambda: watch.most >= room())
        answer = Line(server, store.key).push(body_of(session, SENDERS))
        done.set()
    assert (answer.status, answer.document["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert watch.most == room()
    assert store.heartbeat(session).status_code == 200  # it is not the session's fault
    # What the interpreter needs for so many clients, and not each of their bodies.
    assert peak_bytes(server) - before < 64 << 20
    io.calm()
    until(lambda: store.post(body_of(session, SENDERS)).status_code == 204)
    server.stop()


def test_superseded_while_its_batches_are_queued(start: Callable[..., Server], io: IoControl) -> None:
    """What was queued before the newer session counts, what was queued after it does not; for good."""
    names = {"one": "session_timeout_seconds = 600"}
    server = start(names, environment=io.environment)
    store = Store(server, "one")
    old = store.open("task")
    store.end(old)
    io.stuck(JOURNAL, SYNC)
    waiting: list[Any] = []
    with ThreadPoolExecutor(8) as pool:

        def submit(call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
            """Queued behind all before."""
            waiting.append(pool.submit(call, *arguments, **options))
            until(lambda: sum(health(server)[name] for name in ("queue", "inflight")) == len(waiting))

        submit(store.try_message, old, file("/first"), index=1)
        submit(store.try_snapshot, old, file("/second"))
        submit(store.try_message, old, file("/third"), index=3)
        submit(store.open, "task")
        submit(store.try_message, old, file("/fourth"), index=4)
        submit(store.try_snapshot, old, file("/fifth"), end=True)
        io.calm()
    *answers, new, late, later = (future.result() for future in waiting)
    assert [answer.status_code for answer in answers] == [204] * 3
    refused(late, 419, "session_obsolete")
    refused(later, 419, "session_obsolete")

    def outcome() -> dict[str, Any]:
        return {
            "files": store.http.get("/ingestor-api/v1/events/stats").json()["metrics"]["total_volume"],
            "position": store.position(new).json()["index"],
            "old": store.heartbeat(old).status_code,
            "new": store.heartbeat(new).status_code,
            "state": store.state(),
        }

    expected = {"files": 3, "position": 3, "old": 419, "new": 200, "state": "snapshot"}
    assert outcome() == expected
    server.kill()
    server = start(names)
    store = Store(server, "one")
    until(lambda: store.state() != "recovering")
    assert outcome() == expected
    store.message(new, file("/third"))
    store.snapshot(new, file("/second"), end=True)
    assert store.paths() == {"/second", "/third"}
    server.stop()
