"""Trees that are read while the index changes: every piece is of the instant at which the reading began."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from bodies import body, deletes, directory, file, upserts
from conftest import BUILD

from fusion import PathIndex
from fusion._index import Instant

SEEDS = range(30)
NAMES = ["a", "b", "c", "name-of-its-own", "é", '"', "\udcff", "\ufffd", "x" * 40]


class World:
    """A tree in motion: rows and deletes anywhere, with names that come, go and come again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.index = PathIndex()
        for _ in range(20):
            self.change()

    def path(self) -> str:
        return "".join("/" + self.random.choice(NAMES) for _ in range(self.random.randint(1, 4)))

    def row(self) -> dict[str, Any]:
        make = directory if self.random.random() < 0.3 else file
        return make(self.path(), self.random.randint(0, 1000) / 4, self.random.randint(0, 99))

    def change(self) -> None:
        dice = self.random.random()
        if dice < 0.01:
            self.index.clear()
        elif dice < 0.05:
            self.index.apply(body("snapshot", end=True))
        elif dice < 0.35:
            paths = [self.path() for _ in range(self.random.randint(1, 3))]
            self.index.apply(body("message", deletes(*paths)))
        else:
            source = "snapshot" if dice < 0.5 else "message"
            self.index.apply(body(source, upserts(*(self.row() for _ in range(self.random.randint(1, 12))))))

    def begin(self) -> tuple[Iterator[memoryview], bytes]:
        """A reading of some directory, and what it has to find."""
        tree = orjson.loads(self.index.tree_json(only_path=True, max_depth=1))
        tops = [child["path"] for child in tree.get("children", {}).values() if "raw_name" not in child]
        top = self.random.choice(["/", "/", "/", *(path for path in tops if path in self.index)])
        recursive = self.random.random() < 0.8
        expected = self.index.tree_json(top, recursive=recursive)
        pieces = self.index.tree_chunks(
            top, recursive=recursive, _piece_bytes=self.random.choice([1, 1, 700])
        )
        return pieces, expected


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_are_of_one_instant(seed: int) -> None:
    world = World(seed)
    readings: list[tuple[Iterator[memoryview], bytes, bytearray]] = []
    for _ in range(400):
        if len(readings) < 3 and world.random.random() < 0.2:
            readings.append((*world.begin(), bytearray()))
        for _ in range(world.random.randint(0, 2)):
            world.change()
        for reading in list(readings):
            pieces, expected, found = reading
            got = [bytes(piece) for piece in islice(pieces, world.random.randint(0, 8))]
            found += b"".join(got)
            assert expected.startswith(found)
            if found == expected or world.random.random() < 0.02:
                readings.remove(reading)
        world.index._check()
    for pieces, expected, found in readings:
        assert expected == found + b"".join(bytes(piece) for piece in pieces)
    del readings, reading, pieces
    assert world.index.memory()["views"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_instants_are_saved_as_they_were(seed: int, tmp_path: Path) -> None:
    world = World(seed)
    instants: list[tuple[Instant, bytes, bytes]] = []
    for number in range(120):
        if len(instants) < 4 and world.random.random() < 0.3:
            note = str(number).encode()
            world.index.save(tmp_path / "expected", note=note)
            instants.append((world.index.instant(note), note, (tmp_path / "expected").read_bytes()))
        for _ in range(world.random.randint(0, 4)):
            world.change()
        if instants and world.random.random() < 0.25:
            instant, note, expected = instants.pop(world.random.randrange(len(instants)))
            if world.random.random() < 0.2:
                instant.close()
                continue
            saver = threading.Thread(target=instant.save, args=(tmp_path / "saved",))
            saver.start()
            saver.join()
            assert (tmp_path / "saved").read_bytes() == expected
            assert PathIndex.read_note(tmp_path / "saved") == note
    instants.clear()
    world.index._check()
    instant = None
    assert world.index.memory()["views"] == 0


def test_what_is_kept_is_what_changed() -> None:
    index = PathIndex()
    count = 20_000
    paths = [f"/d{each % 10}/file-with-a-name-{each:05}" for each in range(count)]
    index.upsert(paths, [1] * count, [1.5] * count, [1.5] * count, [False] * count)
    chunks = index.tree_chunks()
    next(chunks)
    assert index.memory()["views"] == 0
    index.upsert(paths[:1], [2], [1.5], [1.5], [False])
    one = index.memory()["views"]
    assert 0 < one < 20_000
    index.upsert(paths[:1], [3], [1.5], [1.5], [False])
    assert index.memory()["views"] == one  # it was kept already
    index.upsert(
        [f"/new/{each}" for each in range(count)], [1] * count, [1.5] * count, [1.5] * count, [False] * count
    )
    assert index.memory()["views"] < 4 * one  # what is new is read by nobody
    second = index.tree_chunks("/d1")
    index.delete("/d1")
    del chunks
    assert b"".join(bytes(chunk) for chunk in second).count(b"file-with-a-name") == 3 * count // 10
    assert index.memory()["views"] == 0


def test_threads_read_one_instant_each() -> None:
    """A writer moves a counter in files far apart, all in one batch: every tree has one value of it."""
    index = PathIndex()
    count, dirs = 12_000, 24
    paths = [f"/d{each % dirs}/some-file-name-{each:05}" for each in range(count)]
    index.upsert(paths, [0] * count, [1.5] * count, [1.5] * count, [False] * count)
    marked = paths[:: count // 60]
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        for number in range(1, 400):
            rows = [file(path, 2.0, number) for path in marked]
            extra = upserts(*(file(f"/churn{number % 7}/{each}", 1.0, 0) for each in range(30)))
            index.apply(body("message", upserts(*rows), extra, deletes(f"/churn{(number + 3) % 7}")))
        done.set()

    def read() -> None:
        try:
            whole = False
            while not whole:
                whole = done.is_set()  # one more reading after the last change
                tree = orjson.loads(b"".join(bytes(chunk) for chunk in index.tree_chunks()))
                seen = {
                    tree["children"][path.split("/")[1]]["children"][path.split("/")[2]]["size"]
                    for path in marked
                }
                assert len(seen) == 1, seen
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert index.memory()["views"] == 0
    index._check()


def test_readings_and_their_index_may_be_garbage_together() -> None:
    """The collector takes a cycle apart in an order of its own; what a reading needs outlives it."""
    for number in range(60):
        if number % 8 == 0:
            gc.collect()  # here, and not when address space has run out
        index = PathIndex()
        index.upsert([f"/d{each}/f" for each in range(50)], [1] * 50, [1.0] * 50, [1.0] * 50, [False] * 50)
        readings: list[object] = [index.tree_chunks(_piece_bytes=1) for _ in range(number % 4)]
        readings += [
            index.instant(b"note") for _ in range(3 - number % 4)
        ]  # of one kind: none keeps the index for another
        index.delete("/d7")
        cycle = [index, *readings] if number % 8 < 4 else [*readings, index]
        cycle.append(cycle)
        del index, readings, cycle
        if number % 10 == 9:  # the address space is not without end
            gc.collect()


OUT_OF_MEMORY = """
import resource
from fusion import PathIndex

index = PathIndex()
count = 100_000
paths = [f"/d{each % 10}/file-with-a-name-{each:06}" for each in range(count)]
index.upsert(paths, [1] * count, [1.5] * count, [1.5] * count, [False] * count)
some = paths[::20]
times, kinds = [1.5] * len(some), [False] * len(some)
index.upsert(some, [2] * len(some), times, times, kinds)
given_up, kept = index.tree_chunks(), index.tree_chunks("/d1")
first = next(given_up).nbytes
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = int(status["VmSize"].split()[0]) * 1024 + (3 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
index.upsert(some, [3] * len(some), times, times, kinds)  # no room for images: the writer goes on
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for reading in (given_up, kept):
    try:
        while True:
            next(reading)
    except MemoryError as error:
        assert "instant" in str(error)
    else:
        raise AssertionError("a torn tree was shown")
del given_up, kept, reading
assert index.stats().bytes == count + 2 * len(some)
assert index.memory()["views"] == 0
assert b'"size":3' in b"".join(map(bytes, index.tree_chunks()))
index._check()
"""


@pytest.mark.no_sanitizer
def test_without_memory_a_reading_ends_and_the_writer_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY],
        env=os.environ | {"PYTHONPATH": str(BUILD.parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
