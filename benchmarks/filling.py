"""One agent's snapshot, from its session to the first tree, on a server that speaks the wire format."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import corpora
import orjson
from load import EVENTS, Connection, Pushes
from measure import cpu_seconds
from memory import memory_bytes, resident_bytes
from processes import Process

if TYPE_CHECKING:
    from conftest import Corpus

AGENT_CONNECTIONS = 4
SESSIONS = "/ingestor-api/v1/sessions/"
TREE = "/views/fs/tree"
# There is one such file beside the corpus.
RARE = "needle"
RARE_PATH = "/data/upload/a_needle_in_it.dat"


def open_session(connection: Connection) -> str:
    answer = connection.call("POST", SESSIONS, b'{"task_id":"benchmark"}')
    assert answer.status == 200, answer.body
    session: str = orjson.loads(answer.body)["session_id"]
    return session


@dataclass
class Filled:
    """A server that has just become ready, and what that took."""

    server: Process
    session: str
    resident_bytes: int  # beyond its start
    excess_bytes: int  # of its peak beyond the end, if the peak was forgotten at the start
    cpu_seconds: float
    seconds: dict[str, float]


def fill(server: Process, connections: list[Connection], pushes: Pushes) -> Filled:
    """One agent's snapshot: session, rows over all connections, end, and a tree that answers 200."""
    resident, cpu = resident_bytes(server.pid), cpu_seconds(server.pid)
    agent = connections[0]
    marks = [time.perf_counter()]
    session = open_session(agent)
    pushes.send(connections, session)
    marks.append(time.perf_counter())
    end = orjson.dumps(
        {"session_id": session, "source_type": "snapshot", "is_snapshot_end": True, "events": []}
    )
    answer = agent.call("POST", EVENTS, end)
    assert answer.status == 204, answer.body
    marks.append(time.perf_counter())
    agent.get_ready(f"{TREE}?path=/&max_depth=1")
    marks.append(time.perf_counter())
    seconds = {
        "pushes": marks[1] - marks[0],
        "snapshot end": marks[2] - marks[1],
        "tree": marks[3] - marks[2],
    }
    held = resident_bytes(server.pid)
    return Filled(
        server,
        session,
        resident_bytes=held - resident,
        excess_bytes=memory_bytes("VmHWM", server.pid) - held,
        cpu_seconds=cpu_seconds(server.pid) - cpu,
        seconds=seconds,
    )


def check_filled(corpus: Corpus, server: Process) -> None:
    connection = Connection(server.port, server.key)
    stats = orjson.loads(connection.get_ready("/views/fs/stats").body)
    connection.close()
    assert stats["total_files"] == corpus.nodes - corpus.directories
    assert stats["total_directories"] == corpus.directories


def filled_with(corpus: Corpus, pushes: Pushes, server: Process) -> Filled:
    """The server with corpus S and one file more, whose name is rare."""
    connections = [Connection(server.port, server.key) for _ in range(AGENT_CONNECTIONS)]
    filled = fill(server, connections, pushes)
    check_filled(corpus, server)
    (body,) = corpora.bodies([corpora.Row(RARE_PATH, 1, 1705832400.25, 1705832400.25, False)])
    body = body.replace(corpora.NO_SESSION.encode(), filled.session.encode())
    assert connections[0].call("POST", EVENTS, body).status == 204
    for connection in connections:
        connection.close()
    return filled
