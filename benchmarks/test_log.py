"""A datastore's log in SQLite, in LMDB and in plain files: alone, in the service, and damaged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import child
import corpora
import orjson
import pytest
from conftest import Corpus
from damage import REPORTED, SOUND
from filling import AGENT_CONNECTIONS, Filled, check_filled, fill
from load import Connection, Pushes
from logs import LOGS, OWN, SQLITE, BareLog
from measure import Contender, Ledger, race
from processes import Process, fusion_server
from pytest_benchmark.fixture import BenchmarkFixture

from fusion import Batch
from fusion.records import Push, encode
from fusion.sqlite_log import TRIM_ROWS

OTHER_LOG = Path(__file__).with_name("other_log.py")
BUILD = Path(__file__).parent.parent / "build"
# Many short rounds: what else the disk has to do comes in bursts.
ROUNDS = 25
RECORDS = 200
TRIM_ROUNDS = 9
TRIM_APPENDS = 10
READ_ROUNDS = 9
READY_ROUNDS = 7
LOADS = "orjson.loads of the same bodies"


@pytest.fixture
def directory() -> Iterator[Path]:
    """Beside the project, on a disk; where temporary files go may be memory."""
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=BUILD) as name:
        yield Path(name)


@pytest.fixture
def logs(directory: Path) -> Iterator[dict[str, BareLog]]:
    """All of them, empty."""
    with ExitStack() as stack:
        opened = {}
        for name, open_log in LOGS.items():
            (directory / name).mkdir()
            opened[name] = open_log(directory / name)
            stack.callback(opened[name].close)
        yield opened


def records_of(bodies: list[bytes]) -> list[bytes]:
    return [encode(Push(Batch.decode(body), 1705832400.0)) for body in bodies]


@dataclass
class Usage:
    """What it took one log to append the same records, by round; `waits` are the seconds of each append."""

    records: int
    record_bytes: int
    waits: list[list[float]] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    written_bytes: list[int] = field(default_factory=list)


@pytest.mark.parametrize(
    ("rows", "group"),
    [(1, 1), (corpora.ROWS_PER_BODY, 1), (corpora.ROWS_PER_BODY, AGENT_CONNECTIONS)],
)
def test_append(
    benchmark: BenchmarkFixture,
    ledger: Ledger,
    corpus: Corpus,
    logs: dict[str, BareLog],
    rows: int,
    group: int,
) -> None:
    """Groups of records, each on the disk before the next; those of the round before go meanwhile."""
    bodies = corpus.bodies[: RECORDS * group]
    if rows == 1:
        bodies = list(corpora.one_event_bodies(bodies[:1]))[:RECORDS]
    records = records_of(bodies)
    groups = [records[first : first + group] for first in range(0, len(records), group)]
    usages = {name: Usage(len(records), sum(map(len, records))) for name in LOGS}

    def contender(name: str, log: BareLog) -> Contender:
        usage = usages[name]

        def prepare() -> int:
            log.trim(log.last_sequence)
            return log.last_sequence

        def append(last: int) -> int:
            before, written, cpu = last, written_bytes(), time.process_time()
            waits = []
            for each in groups:
                started = time.perf_counter()
                last = log.append(each, last)
                waits.append(time.perf_counter() - started)
            usage.waits.append(waits)
            usage.cpu_seconds.append(time.process_time() - cpu)
            usage.written_bytes.append(written_bytes() - written)
            return before

        def check(before: int) -> None:
            assert [record for _, record in log.read(before)] == records

        return Contender(name, prepare, append, check, own=name in OWN)

    def loads(_: None) -> int:
        for body in bodies:
            document = orjson.loads(body)
        return len(document["events"])

    def loaded(events: int) -> None:
        assert events == 1

    contenders = [contender(name, log) for name, log in logs.items()]
    if rows > 1:
        contenders.append(Contender(LOADS, lambda: None, loads, loaded))
    what = f"{rows:,}-row records, {group} to a sync"
    race(benchmark, ledger, what, len(records), "record", *contenders, rounds=ROUNDS)
    ledger.data.setdefault("logs", {})[what] = usages


def written_bytes() -> int:
    """What this process has given the system to write to disks, in whole pages."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise KeyError("write_bytes")


def test_trim(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, logs: dict[str, BareLog]) -> None:
    """Appends of one row, with each of which some records of 1000 rows go."""
    records = records_of(corpus.bodies[:TRIM_ROWS])
    (small,) = records_of(list(corpora.one_event_bodies(corpus.bodies[:1]))[:1])

    def contender(name: str, log: BareLog) -> Contender:
        def prepare() -> int:
            last = log.last_sequence
            for _ in range(TRIM_APPENDS):
                last = log.append(records, last)
            log.trim(last)
            return last

        def append(last: int) -> int:
            for _ in range(TRIM_APPENDS):
                last = log.append([small], last)
            return last

        def check(last: int) -> None:
            kept = [record for _, record in log.read(last - TRIM_APPENDS)]
            assert kept == [small] * TRIM_APPENDS

        return Contender(name, prepare, append, check, own=name in OWN)

    contenders = [contender(name, log) for name, log in logs.items()]
    what = f"1-row records that trim {TRIM_ROWS} of 1,000 rows each"
    race(benchmark, ledger, what, TRIM_APPENDS, "record", *contenders, rounds=TRIM_ROUNDS)


def test_read(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, directory: Path) -> None:
    """What a start replays, by a log that was opened just before."""
    records = records_of(corpus.bodies)

    def contender(name: str, open_log: Callable[[Path], BareLog]) -> Contender:
        home = directory / name
        home.mkdir()
        log = open_log(home)
        for first in range(0, len(records), AGENT_CONNECTIONS):
            log.append(records[first : first + AGENT_CONNECTIONS], first)
        log.close()

        def read(log: BareLog) -> list[tuple[int, bytes]]:
            found = list(log.read(0))
            log.close()
            return found

        def check(found: list[tuple[int, bytes]]) -> None:
            assert found == list(enumerate(records, 1))

        return Contender(name, lambda: open_log(home), read, check, own=name in OWN)

    contenders = [contender(name, open_log) for name, open_log in LOGS.items()]
    race(
        benchmark,
        ledger,
        "1,000-row records read back",
        len(records),
        "record",
        *contenders,
        rounds=READ_ROUNDS,
    )


def test_ready(benchmark: BenchmarkFixture, ledger: Ledger, corpus: Corpus, directory: Path) -> None:
    """A server on each log, and one that keeps nothing: from the session to the first tree."""
    pushes = Pushes(list(corpora.bodies(corpus.rows, "snapshot")))
    with ExitStack() as rounds:

        def contender(name: str, durability: str, *program: str) -> Contender:
            def start() -> tuple[Process, list[Connection]]:
                rounds.close()
                home = Path(rounds.enter_context(TemporaryDirectory(dir=directory)))
                server = rounds.enter_context(fusion_server(home, program, durability=durability))
                connections = [Connection(server.port) for _ in range(AGENT_CONNECTIONS)]
                for connection in connections:
                    rounds.callback(connection.close)
                return server, connections

            def snapshot(state: tuple[Process, list[Connection]]) -> Filled:
                return fill(*state, pushes)

            def check(filled: Filled) -> None:
                check_filled(corpus, filled.server)

            return Contender(name, start, snapshot, check, lambda state: state[0].pid, own=True)

        race(
            benchmark,
            ledger,
            f"session to first tree, {AGENT_CONNECTIONS} connections, by log",
            len(corpus.rows),
            "row",
            *(contender(name, "fsync", str(OTHER_LOG), name) for name in LOGS),
            contender("none", "none", "-m", "fusion"),
            rounds=READY_ROUNDS,
        )


def test_damage(ledger: Ledger, directory: Path) -> None:
    """Damaged files are reported, and the process that meets them goes on."""
    found = child.run("damage.py", directory)
    ledger.data["damaged logs"] = found
    wrong = sum(
        count
        for case in found
        for outcome, count in case["outcomes"].items()
        if case["log"] == SQLITE and outcome not in (SOUND, REPORTED)
    )
    ledger.reach("damage", wrong)
