"""Half an hour of a service that is busy but not full: `soak.py MINUTES [NODES]`, by `make soak`.

Agents push at 80 % of what they reached flat out, a viewer asks for trees and sends heartbeats. Then the
server is killed in full flight and started again. Prints what happened; the exit status is 1 when memory grew
by GROWTH_LIMIT MiB a minute or more, a request failed, or the tree is not what was acknowledged.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import corpora
import numpy as np
import orjson
import submissions
from load import EVENTS, Answer, Connection, head
from memory import MIB, resident_bytes
from processes import Process, fusion_server, kill

AGENTS = 4
SHARE = 0.8
PROBE_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
WARM_UP_SECONDS = 300.0
VIEWER_PAUSE_SECONDS = 0.05
FLIGHT_SECONDS = 2.0
GROWTH_LIMIT = 1.0
SESSIONS = "/ingestor-api/v1/sessions/"

# A generation is what all files of a submission have for their size.
FIRST_GENERATION = 100_000
DELETED = 0

_NAME, _FIRST, _SECOND = b"\1" * 36, b"\2", b"\3"
_GENERATION = b"\4" * 6


class Bodies:
    """Push bodies that write all of a submission at once; every file's size is the generation written."""

    def __init__(self, session: str) -> None:
        session_id = session.encode()
        above = f"{submissions.TOP}/\2/\3/" + "\1" * 36
        paths = [
            (f"{above}/sub_{sub}/data_{number:04d}.dat", False)
            for sub in range(submissions.SUBS)
            for number in range(submissions.FILES_PER_SUB)
        ]
        paths += [(f"{above}/sub_{sub}", True) for sub in range(submissions.SUBS)] + [(above, True)]
        rows = b",".join(
            b'{"file_path":"%b","size":%b,"modified_time":17%b00.25,"created_time":1705832400.5,"is_dir":%b}'
            % (path.encode(), _GENERATION, _GENERATION, b"true" if is_dir else b"false")
            for path, is_dir in paths
        )
        delete = corpora.envelope(b'{"file_path":"%b"}' % above.encode(), event_type="delete")
        self._write, self._delete = (
            body.replace(corpora.NO_SESSION.encode(), session_id) for body in (corpora.envelope(rows), delete)
        )

    def _of(self, body: bytes, name: str) -> bytes:
        letters = name.encode()
        named = body.replace(_NAME, letters)
        return named.replace(_FIRST, letters[:1]).replace(_SECOND, letters[1:2])

    def write(self, name: str, generation: int) -> bytes:
        return self._of(self._write, name).replace(_GENERATION, b"%06d" % generation)

    def snapshot(self, name: str, generation: int) -> bytes:
        return self.write(name, generation).replace(
            b'"source_type":"message"', b'"source_type":"snapshot"', 1
        )

    def delete(self, name: str) -> bytes:
        return self._of(self._delete, name)


@dataclass(frozen=True)
class Service:
    """What the clients of one session need to know; nobody changes the submission `still`."""

    port: int
    session: str
    bodies: Bodies
    still: str


class Agent:
    """A connection that keeps changing submissions which nobody else touches, and knows what they are now.

    `wanted` has the generation of each; of a push that was never answered the one before it counts, too.
    """

    def __init__(self, names: list[str], seed: int) -> None:
        self.wanted = dict.fromkeys(names, DELETED)
        self.unanswered: tuple[str, int] | None = None
        self.seconds: list[float] = []
        self.failed: list[Answer] = []
        self._names = names
        self._rng = random.Random(seed)
        self._generation = FIRST_GENERATION

    def fill(self, connection: Connection, bodies: Bodies) -> None:
        for name in self._names:
            self._push(connection, name, self._generation, bodies.snapshot)

    def run(self, connection: Connection, bodies: Bodies, pause: float, stop: threading.Event) -> None:
        """Push again and again, at least `pause` seconds from one beginning to the next."""
        due = time.perf_counter()
        while not stop.wait(max(0.0, due - time.perf_counter())):
            due = max(due + pause, time.perf_counter() - 1.0)  # a stall is not made up for by a rush
            name = self._rng.choice(self._names)
            if self.wanted[name] != DELETED and self._rng.random() < 0.2:
                self._push(connection, name, DELETED, lambda name, _: bodies.delete(name))
            else:
                self._generation += 1
                self._push(connection, name, self._generation, bodies.write)

    def _push(
        self, connection: Connection, name: str, generation: int, make: Callable[[str, int], bytes]
    ) -> None:
        body = make(name, generation)
        before, self.wanted[name], self.unanswered = self.wanted[name], generation, (name, self.wanted[name])
        started = time.perf_counter()
        connection.send(head("POST", EVENTS, len(body)), body)
        answer = connection.answer()
        self.seconds.append(time.perf_counter() - started)
        self.unanswered = None
        if answer.status != 204:
            self.failed.append(answer)
            self.wanted[name] = before


class Viewer:
    """Asks for a small tree and sends a heartbeat, in turn."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"tree": [], "heartbeat": []}
        self.failed: list[Answer] = []

    def run(self, connection: Connection, service: Service, stop: threading.Event) -> None:
        heartbeat = head("POST", f"{SESSIONS}heartbeat").replace(
            b"\r\n\r\n", f"\r\nsession-id: {service.session}\r\n\r\n".encode()
        )
        tree = head("GET", f"/views/fs/tree?path={submissions.base(service.still)}&max_depth=1")
        requests = {"tree": tree, "heartbeat": heartbeat}
        while True:
            for what, request in requests.items():
                if stop.wait(VIEWER_PAUSE_SECONDS):
                    return
                started = time.perf_counter()
                connection.send(request)
                answer = connection.answer()
                self.seconds[what].append(time.perf_counter() - started)
                if answer.status != 200:
                    self.failed.append(answer)


class Crowd:
    """The agents and the viewer, each in a thread, from the moment this is made until `stop`."""

    def __init__(self, service: Service, agents: list[Agent], viewer: Viewer, pause: float) -> None:
        self._stopping = threading.Event()
        self._connections = [Connection(service.port) for _ in range(len(agents) + 1)]
        *theirs, viewers = self._connections
        self._threads = [
            threading.Thread(target=_until_gone(viewer.run), args=(viewers, service, self._stopping)),
            *(
                threading.Thread(
                    target=_until_gone(agent.run), args=(connection, service.bodies, pause, self._stopping)
                )
                for agent, connection in zip(agents, theirs, strict=True)
            ),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()


def _until_gone(work: Callable[..., None]) -> Callable[..., None]:
    def run(*arguments: object) -> None:
        try:
            work(*arguments)
        except (AssertionError, OSError) as gone:  # what a killed server does to its clients
            print(f"a client ended: {gone!r}", flush=True)

    return run


def open_session(port: int) -> str:
    connection = Connection(port)
    answer = connection.call("POST", SESSIONS, b'{"task_id":"soak"}')
    connection.close()
    assert answer.status == 200, answer.body
    session: str = orjson.loads(answer.body)["session_id"]
    return session


def fill(service: Service, agents: list[Agent]) -> None:
    """A snapshot of everything."""
    connection = Connection(service.port)
    for agent in agents:
        agent.fill(connection, service.bodies)
    end = {"session_id": service.session, "source_type": "snapshot", "is_snapshot_end": True, "events": []}
    assert connection.call("POST", EVENTS, orjson.dumps(end)).status == 204
    connection.close()


def wrong(server: Process, agents: list[Agent]) -> list[str]:
    """Submissions that are not what their agent wants."""
    connection = Connection(server.port)
    found = []
    for agent in agents:
        for name, generation in agent.wanted.items():
            allowed = {generation}
            if agent.unanswered is not None and agent.unanswered[0] == name:
                allowed.add(agent.unanswered[1])
            answer = connection.call("GET", f"/views/fs/tree?path={submissions.base(name)}")
            if generation_of(answer) not in allowed:
                found.append(name)
    connection.close()
    return found


def generation_of(answer: Answer) -> int | None:
    """What a submission's tree says: its one generation, DELETED, or None when it is nothing whole."""
    if answer.status == 404:
        return DELETED
    if answer.status != 200:
        return None
    subs = orjson.loads(answer.body)["children"].values()
    files = [file for sub in subs for file in sub["children"].values()]
    generations = {file["size"] for file in files}
    whole = len(generations) == 1 and len(files) == submissions.SUBS * submissions.FILES_PER_SUB
    return generations.pop() if whole else None


def wait_until_ready(server: Process) -> None:
    connection = Connection(server.port)
    while connection.call("GET", "/health/ready").status != 200:
        time.sleep(0.01)
    connection.close()


def sample(pid: int, seconds: float) -> list[tuple[float, float]]:
    """Seconds since now and resident MiB, every few seconds for so long."""
    start = time.perf_counter()
    samples = []
    while (elapsed := time.perf_counter() - start) < seconds:
        samples.append((elapsed, resident_bytes(pid) / MIB))
        time.sleep(SAMPLE_SECONDS)
    return samples


def growth(samples: list[tuple[float, float]], after: float) -> float:
    """MiB a minute, by least squares over the samples from then on."""
    seconds, mib = zip(*(each for each in samples if each[0] >= after), strict=True)
    return float(np.polyfit(np.array(seconds) / 60, mib, 1)[0])


def main(minutes: float, nodes: int) -> int:
    still, *names = submissions.names(nodes)
    agents = [Agent(names[number::AGENTS], number) for number in range(AGENTS)]
    keeper = Agent([still], AGENTS)
    viewer = Viewer()
    with tempfile.TemporaryDirectory(dir=".") as place:
        directory = Path(place).resolve()
        with fusion_server(directory) as server:
            session = open_session(server.port)
            service = Service(server.port, session, Bodies(session), still)
            fill(service, [*agents, keeper])
            capacity = flat_out(service, agents)
            print(f"flat out: {capacity:,.0f} pushes/s", flush=True)
            pause = AGENTS / (SHARE * capacity)
            crowd = Crowd(service, agents, viewer, pause)
            samples = sample(server.pid, minutes * 60)
            crowd.stop()
            slope = growth(samples, min(WARM_UP_SECONDS, minutes * 10))
            report_memory(samples, slope)
            report_times(minutes, agents, viewer)
            lost = wrong(server, [*agents, keeper])
            failed = len(viewer.failed) + sum(len(agent.failed) for agent in agents)
            crowd = Crowd(service, agents, Viewer(), pause)
            time.sleep(FLIGHT_SECONDS)
            kill(server)
            crowd.join()
        print(f"data directory: {used_bytes(directory / 'data') / MIB:,.0f} MiB", flush=True)
        with fusion_server(directory) as server:
            wait_until_ready(server)
            lost_by_kill = wrong(server, [*agents, keeper])
            connection = Connection(server.port)
            body = service.bodies.write(still, FIRST_GENERATION)
            goes_on = connection.call("POST", EVENTS, body).status == 204
            connection.close()
    print(
        f"failed requests: {failed}; submissions that are wrong: {len(lost)} at the end,"
        f" {len(lost_by_kill)} after kill -9 and a restart; the session goes on: {goes_on}"
    )
    return int(slope >= GROWTH_LIMIT or failed > 0 or bool(lost or lost_by_kill) or not goes_on)


def flat_out(service: Service, agents: list[Agent]) -> float:
    """Pushes a second without a pause; what the agents measured is forgotten."""
    crowd = Crowd(service, agents, Viewer(), 0.0)
    for agent in agents:
        agent.seconds.clear()
    time.sleep(PROBE_SECONDS)
    capacity = sum(len(agent.seconds) for agent in agents) / PROBE_SECONDS
    crowd.stop()
    for agent in agents:
        agent.seconds.clear()
    return capacity


def report_memory(samples: list[tuple[float, float]], slope: float) -> None:
    (_, first), *_, (_, last) = samples
    most = max(mib for _, mib in samples)
    print(
        f"resident memory: {first:,.0f} MiB at the start, {most:,.0f} at most, {last:,.0f} at the end;"
        f" it grows by {slope:+.2f} MiB/min"
    )


def report_times(minutes: float, agents: list[Agent], viewer: Viewer) -> None:
    pushes = [seconds for agent in agents for seconds in agent.seconds]
    print(f"at {SHARE:.0%}: {len(pushes) / minutes / 60:,.0f} pushes/s for {minutes:g} minutes")
    for what, seconds in {"push": pushes, **viewer.seconds}.items():
        middle, tail, longest = np.percentile(seconds, [50, 99, 100]) * 1e3
        print(f"{what}: median {middle:.1f} ms, p99 {tail:.1f} ms, longest {longest:.1f} ms", flush=True)


def used_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000))
