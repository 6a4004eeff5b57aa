"""Several threads on one index: every answer is that of a state between two batches."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bodies import body, deletes, directory, file, upserts
from conftest import SANITIZED

from fusion import Batch, PathIndex

FILES = 1000
BATCHES = 30 if SANITIZED else 400


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def generation(number: int, *, recreate: bool = False) -> bytes:
    """A batch after which every file below /d has the same size and times: its number."""
    rows = upserts(*(file(f"/d/s{each % 7}/f{each}", number, size=number) for each in range(FILES)))
    return body(
        "message", *([deletes("/d")] if recreate else []), rows, upserts(directory("/d", number, number))
    )


def sizes(node: dict[str, Any]) -> Iterator[tuple[int, float]]:
    for child in node.get("children", {}).values():
        if child["content_type"] == "file":
            yield child["size"], child["modified_time"]
        yield from sizes(child)


def one_generation(found: list[Any]) -> None:
    assert len(found) == FILES
    assert len(set(found)) == 1
    assert found[0][0] == found[0][1]


def read_tree(index: PathIndex) -> None:
    tree = json.loads(index.tree_json("/d"))
    found = list(sizes(tree))
    one_generation(found)
    assert tree["size"] == found[0][0]


def read_search(index: PathIndex) -> None:
    one_generation([(node.size, node.modified_time) for node in index.search("f*")])


def read_search_json(index: PathIndex) -> None:
    nodes = json.loads(index.search_json("f"))
    one_generation([(node["size"], node["modified_time"]) for node in nodes])


def read_stats(index: PathIndex) -> None:
    stats = index.stats("/d")
    assert (stats.files, stats.directories) == (FILES, 8)
    assert stats.bytes % FILES == 0
    assert len(index) == FILES + 9


def read_node(index: PathIndex) -> None:
    node = index.get("/d/s3/f3")
    assert node is not None
    assert node.size == node.modified_time
    assert "/d/s0/f0" in index
    assert "/d/s0/f1" not in index


def read_oldest(index: PathIndex) -> None:
    found = index.oldest_directory()
    assert found is not None and found[0] == "/d"


def read_chunks(index: PathIndex) -> None:
    text = b"".join(bytes(chunk) for chunk in index.tree_chunks("/d", _piece_bytes=1000))
    one_generation(list(sizes(json.loads(text))))


def read_find(index: PathIndex) -> None:
    answer = index.find_chunks("F", path="/d", sort="size", order="desc", _piece_bytes=1000)
    nodes = json.loads(b"".join(bytes(chunk) for chunk in answer))
    one_generation([(node["size"], node["modified_time"]) for node in nodes])
    assert answer.total == FILES


def read_largest(index: PathIndex) -> None:
    _, _, children, files = index.largest("/d", FILES)
    one_generation([(node.size, node.modified_time) for node in files])
    assert sum(child.bytes for child in children) == FILES * files[0].size


def read_columns(index: PathIndex) -> None:
    columns = list(index.file_columns("/d"))
    one_generation(
        [(size, time) for sizes, times in columns for size, time in zip(sizes, times, strict=True)]
    )


READERS = [
    read_tree,
    read_search,
    read_search_json,
    read_stats,
    read_node,
    read_oldest,
    read_chunks,
    read_find,
    read_largest,
    read_columns,
]


def run_together(writers: list[Callable[[], None]], readers: list[Callable[[], None]]) -> None:
    """Run the writers once and the readers for as long as they write, at least once each."""
    start = threading.Barrier(len(writers) + len(readers))
    done = threading.Event()

    def read(reader: Callable[[], None]) -> None:
        start.wait()
        while not done.is_set():
            reader()
        reader()

    def write(writer: Callable[[], None]) -> None:
        start.wait()
        writer()

    with ThreadPoolExecutor(len(writers) + len(readers)) as pool:
        reading = [pool.submit(read, reader) for reader in readers]
        writing = [pool.submit(write, writer) for writer in writers]
        try:
            for future in writing:
                future.result()
        finally:
            done.set()
        for future in reading:
            future.result()


@pytest.mark.parametrize("recreate", [False, True], ids=["updates", "deletes and inserts"])
@pytest.mark.parametrize("reader", READERS)
def test_every_answer_is_a_state_between_batches(reader: Callable[[PathIndex], None], recreate: bool) -> None:
    index = PathIndex()
    index.apply(generation(1))
    bodies = [generation(number, recreate=recreate) for number in range(2, 12)]

    def write() -> None:
        for round_ in range(BATCHES):
            index.apply(bodies[round_ % len(bodies)])

    run_together([write], [lambda: reader(index)] * 2)
    index._check()


def test_all_kinds_of_readers_beside_one_writer() -> None:
    index = PathIndex()
    index.apply(generation(1))
    bodies = [generation(number, recreate=number % 2 == 0) for number in range(2, 12)]

    def write() -> None:
        for round_ in range(BATCHES):
            index.apply(bodies[round_ % len(bodies)])

    run_together([write], [lambda reader=reader: reader(index) for reader in READERS])  # type: ignore[misc]
    index._check()


def test_two_writers_take_turns() -> None:
    """Each batch replaces the same directory as a whole, so that no mixture of two may ever be seen."""
    index = PathIndex()
    index.apply(generation(1))

    def write(numbers: range) -> Callable[[], None]:
        bodies = [generation(number, recreate=True) for number in numbers]

        def run() -> None:
            for round_ in range(BATCHES // 2):
                index.apply(bodies[round_ % len(bodies)])

        return run

    run_together([write(range(2, 8)), write(range(100, 106))], [lambda: read_tree(index)])
    index._check()
    read_tree(index)


def test_writers_by_every_door() -> None:
    """apply, upsert, delete, clear and begin_snapshot from threads of their own, with readers beside them."""
    index = PathIndex()
    choose = random.Random(5)
    numbers = [choose.randrange(400) for _ in range(BATCHES * 4)]

    def upsert() -> None:
        for number in numbers:
            paths = [f"/x/d{number % 9}/f{each}" for each in range(number, number + 30)]
            index.upsert(paths, [1] * 30, [2.0] * 30, [3.0] * 30, [False] * 30)

    def delete() -> None:
        for number in numbers:
            index.delete(f"/x/d{number % 9}")
            index.delete(f"/x/d{number % 7}/f{number}")

    def snapshot() -> None:
        for number in numbers[::4]:
            index.begin_snapshot()
            rows = [file(f"/x/d{number % 5}/f{each}", size=1) for each in range(20)]
            index.apply(body("snapshot", upserts(*rows), end=number % 2 == 0))

    def clear() -> None:
        for _ in numbers[::16]:
            index.clear()

    def read() -> None:
        stats = index.stats()
        assert stats.bytes == stats.files
        for node in index.search("f1*"):
            assert node.size == 1
        json.loads(index.tree_json())
        index._check()

    run_together([upsert, delete, snapshot, clear], [read])
    index._check()


def test_columns_stay_readable_while_the_index_grows() -> None:
    """Views never dangle: those taken before a change can be read after it, and while it is under way."""
    index = PathIndex()
    index.apply(generation(1))

    def write() -> None:
        for number in range(BATCHES // 2):
            paths = [f"/grow{number}/f{each}" for each in range(FILES)]
            index.upsert(paths, [7] * FILES, [1.0] * FILES, [1.0] * FILES, [False] * FILES)

    def read() -> None:
        for column in index.columns().values():
            assert not column.flags.writeable
            column.copy()

    run_together([write], [read, read])
    assert index.stats().files == FILES * (1 + BATCHES // 2)
    index._check()


def test_searching_while_names_are_moved() -> None:
    """Churn of long names makes the index compact its names under the readers' feet."""
    index = PathIndex()
    index.upsert(["/needle"], [1], [1.0], [1.0], [False])
    rounds = 10 if SANITIZED else 60

    def write() -> None:
        for number in range(rounds):
            paths = [f"/churn/{number:03}{each:05}{'n' * (number % 50 + 100)}" for each in range(300)]
            index.upsert(paths, [1] * 300, [1.0] * 300, [1.0] * 300, [False] * 300)
            index.delete("/churn")

    def read() -> None:
        assert [node.path for node in index.search("needle")] == ["/needle"]
        assert index.get("/needle").name == "needle"

    run_together([write], [read, read])
    index._check()


def test_batches_are_not_lost_between_threads() -> None:
    index = PathIndex()
    threads, each = 4, 50 if SANITIZED else 200

    def writer(thread: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(each):
                index.apply(body("message", upserts(file(f"/t{thread}/d{number % 10}/f{number}", size=1))))

        return run

    run_together([writer(thread) for thread in range(threads)], [lambda: index.stats()])  # type: ignore[list-item]
    assert index.stats()[:3] == (threads * each, 1 + threads * 11, threads * each)
    index._check()


def test_a_batch_is_packed_by_others_while_it_is_applied() -> None:
    index = PathIndex()
    for number in range(BATCHES // 10):
        pushed = generation(number, recreate=True)
        packed = Batch.parse(pushed).pack()
        batch = Batch.decode(pushed)
        with ThreadPoolExecutor(3) as threads:
            packing = [threads.submit(batch.pack) for _ in range(2)]
            threads.submit(index.apply, batch).result()
            assert [each.result() for each in packing] == [packed, packed]
        assert batch.pack() == packed
