"""More bodies at once than there is memory for, and a disk that does not keep up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cgroups import MemoryGroup, memory_group
from io_control import SYNC, IoControl
from load import Line
from service import Server, Store, file
from watching import Watch, peak_bytes

GIB, MIB = 1 << 30, 1 << 20
LIMIT_BYTES = 2 * GIB
SENDERS = 160
REQUESTS = 2
# A body may be no larger; the queue has room for so many of these.
BODY_BYTES = 16 * MIB
ROOM = 4
SETTINGS = f"""
allow_concurrent_push = true
session_timeout_seconds = 600
queue_bytes = {ROOM * BODY_BYTES}
"""
HEAD_BYTES = 1024
# Long ones: the bodies, not the tree, are what needs memory.
DIRECTORY = "/all" + f"/{'d' * 250}" * 6


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    """To be asked for before servers are, so that it ends after them."""
    with memory_group(LIMIT_BYTES) as made:
        yield made


def rows() -> tuple[bytes, int]:
    """What all bodies have in common, up to their end, and how many rows that is."""
    row = "," + json.dumps(file(f"{DIRECTORY}/{0:08}", 1, 1000.0))
    end = b"]}]}"
    count = (BODY_BYTES - HEAD_BYTES - len(end)) // len(row)
    made = "".join(row.replace("/00000000", f"/{n:08}") for n in range(count)).encode() + end
    return made.ljust(BODY_BYTES - HEAD_BYTES), count


def head(session: str, sender: int, number: int) -> bytes:
    """What a body begins with: up to its first row, which is the sender's own."""
    row = json.dumps(file(f"/own/{sender:03}", number, 1000.0))
    document = {"session_id": session, "source_type": "message", "is_snapshot_end": False}
    text = json.dumps(document)[:-1] + ', "events": [{"event_type": "update", "rows": [' + row
    return text.encode().ljust(HEAD_BYTES)


def test_within_two_gib(group: MemoryGroup, start: Callable[..., Server], io: IoControl) -> None:
    """The queue stays within its bound, and whoever finds no room is told to come back later."""
    server = start({"one": SETTINGS}, environment=io.environment)
    group.add(server.process.pid)
    store = Store(server, "one")
    sessions = [store.open() for _ in range(SENDERS)]
    store.ready()
    common, count = rows()
    compressed = gzip.compress(common, 1)
    io.slow("/journal.sqlite3-wal$", SYNC, 0.5)

    def send(sender: int) -> int | None:
        """Returns the number of the last batch that was acknowledged."""
        line = Line(server, store.key)
        last = None
        for number in range(1, 1 + REQUESTS):
            start = head(sessions[sender], sender, number)
            if sender % 2:
                answer = line.push(gzip.compress(start), compressed, encoding="gzip")
            else:
                answer = line.push(start, common)
            if answer.status == 204:
                last = number
            else:
                assert (answer.status, answer.document["code"]) == (503, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
        line.close()
        return last

    with Watch(server) as watch, ThreadPoolExecutor(SENDERS) as pool:
        acknowledged = list(pool.map(send, range(SENDERS)))
    io.calm()
    print(f"{sum(map(bool, acknowledged))} of {SENDERS} senders, peak: {peak_bytes(server) // MIB} MiB")
    assert group.kills == 0
    # What the queue and the budget for bodies hold is little beside the limit.
    assert peak_bytes(server) < LIMIT_BYTES // 4
    assert watch.most == ROOM
    own = store.tree("/own")["children"]
    assert {name: node["size"] for name, node in own.items()} == {
        f"{sender:03}": number for sender, number in enumerate(acknowledged) if number
    }
    assert store.counts() == (len(own) + count, 2 + DIRECTORY.count("/"))
    server.stop()
