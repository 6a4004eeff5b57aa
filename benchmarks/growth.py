"""Corpus S at one size, from nothing to save and load: `growth.py NODES ROUNDS DIRECTORY` prints a
JSON object.

Batches are timed three ways: by the clock, by the thread's processor time (so that waiting for a processor
does not count), and with the page faults they took (so that those without show the index's own doing).
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import numpy.typing as npt
import orjson
import submissions
from memory import forget_peak, memory_bytes, resident_bytes, warm_host

from fusion import PathIndex

WARM_BYTES_PER_NODE = 100
LOOKUPS = 1_000_000
ROUNDS = 10
STATS_CALLS = 20_000
DOOMED = "/doomed"
DOOMED_NODES = 100_000
NEEDLE = "Needle_7F3A.dat"


def main(nodes: int, rounds: int, directory: Path) -> None:
    gc.disable()
    warmed = warm_host(nodes * WARM_BYTES_PER_NODE)
    _grow(1)  # everything imported and every cache filled once
    before = forget_peak()
    all_rounds = []
    for _ in range(rounds):
        index = None  # the last round's goes first
        index, batches = _grow(nodes)
        all_rounds.append(batches)
    figures = _growth(all_rounds)
    figures["warmed"] = warmed
    figures["nodes"] = len(index)
    figures["held"] = resident_bytes() - before
    figures["peak"] = memory_bytes("VmHWM") - before
    figures["parts"] = index.memory()
    names = submissions.names(nodes)
    _check_complete(index, names)
    figures["contains"] = _contains(index, names)
    figures["tree"] = _tree(index)
    figures["search"] = _search(index)
    figures["delete"] = _delete(index)
    figures["stats"] = _stats(index, names)
    file = directory / "index.fusion"
    nodes, figures["file"] = len(index), _save(index, file)
    del index  # two of them would not fit at every size
    index, figures["file"]["load"] = _load(file)
    os.unlink(file)
    assert len(index) == nodes
    index.delete(DOOMED)
    index.delete(f"{submissions.TOP}/{NEEDLE}")
    _check_complete(index, names)
    figures["peak of all"] = memory_bytes("VmHWM") - before
    print(json.dumps(figures))


@dataclass
class Batches:
    """What each batch of one round took: seconds by the clock and of processor time, and page faults."""

    wall: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]
    faults: npt.NDArray[np.int64]


def _grow(nodes: int) -> tuple[PathIndex, Batches]:
    """An index of the corpus; its seed is fixed, so that the same batches make the same parts of it grow."""
    index = PathIndex(seed=1)
    most = nodes // corpora.ROWS_PER_BODY + 10
    batches = Batches(np.zeros(most), np.zeros(most), np.zeros(most, dtype=np.int64))
    samples = []
    count = 0
    for at, body in enumerate(submissions.bodies(nodes)):
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        own = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
        started = time.perf_counter()
        index.apply(body)
        batches.wall[at] = time.perf_counter() - started
        batches.own[at] = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - own
        batches.faults[at] = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - faults
        count += 1
        if at % 1000 == 0:
            samples.append(body)
    for body in samples:
        for row in orjson.loads(body)["events"][0]["rows"]:
            node = index.get(row["file_path"])
            assert node is not None
            found = (node.path, node.size, node.modified_time, node.created_time, node.is_dir)
            assert found == tuple(row.values())
    return index, Batches(batches.wall[:count], batches.own[:count], batches.faults[:count])


def _growth(rounds: list[Batches]) -> dict[str, Any]:
    """The index's own doing in a batch: its least processor time in a round where it met no page fault."""
    without = np.min([np.where(batches.faults == 0, batches.own, np.inf) for batches in rounds], axis=0)
    found = without[np.isfinite(without)]
    quiet = min(rounds, key=lambda batches: batches.wall.max())
    return {
        "wall": [round(seconds * 1e6) for seconds in quiet.wall],
        "seconds": [float(batches.wall.sum()) for batches in rounds],
        "longest": [float(batches.wall.max()) for batches in rounds],
        "faults": int(quiet.faults.sum()),
        "batches without fault": len(found),
        "longest own": float(found.max()) if len(found) else None,
    }


def _check_complete(index: PathIndex, names: list[str]) -> None:
    stats = index.stats("/")
    above = len(submissions.directories_above(names))
    files = len(names) * submissions.SUBS * submissions.FILES_PER_SUB
    assert stats.files + stats.directories == len(index)
    assert len(index) == 1 + above + len(names) * submissions.SUBMISSION_NODES
    assert index.stats("/data").files == files


def _rounds(seconds: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    return [seconds() for _ in range(rounds)]


def _timed(work: Callable[[], Any], check: Callable[[Any], bool]) -> float:
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    assert check(result)
    return seconds


def _contains(index: PathIndex, names: list[str]) -> float:
    """Seconds a lookup, random order, strings never hashed before."""
    rng = random.Random(5)
    per_name = submissions.SUBS * submissions.FILES_PER_SUB
    paths = [submissions.file_path(rng.choice(names), rng.randrange(per_name)) for _ in range(LOOKUPS)]
    assert not any(path + "x" in index for path in paths[:1000])

    def count() -> int:
        found = 0
        for path in paths:
            if path in index:
                found += 1
        return found

    return _timed(count, lambda found: found == LOOKUPS) / LOOKUPS


def _tree(index: PathIndex) -> dict[str, Any]:
    mark, files = b'"content_type":', 0
    tail = b""
    length = 0
    for chunk in index.tree_chunks():
        length += len(chunk)
        files += (tail + bytes(chunk)).count(mark)
        tail = bytes(chunk[-len(mark) + 1 :])
    assert files == len(index)
    seconds = _rounds(
        lambda: _timed(lambda: sum(map(len, index.tree_chunks())), lambda found: found == length), 3
    )
    return {"seconds": seconds, "bytes": length}


def _search(index: PathIndex) -> dict[str, list[float]]:
    index.upsert([f"{submissions.TOP}/{NEEDLE}"], [1], [1.0], [1.0], [False])
    wanted = NEEDLE[:9].upper()
    rare = _rounds(
        lambda: _timed(lambda: [node.name for node in index.search(wanted)], lambda found: found == [NEEDLE])
    )
    common = _rounds(
        lambda: _timed(
            lambda: [node.path for node in index.search("DATA_", 100)], lambda found: len(found) == 100
        )
    )
    return {"rare": rare, "common": common}


def _delete(index: PathIndex) -> dict[str, Any]:
    """A subtree of 100 k nodes, deleted and inserted again; it is left in place for what follows."""
    bodies = list(submissions.bodies(DOOMED_NODES, seed=3, root=DOOMED))
    nodes = len(index)
    seconds, inserts, resident = [], [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for body in bodies:
            index.apply(body)
        inserts.append(time.perf_counter() - started)
        count = len(index) - nodes
        resident.append(resident_bytes())
        seconds.append(_timed(lambda: index.delete(DOOMED), lambda removed: removed == count))  # noqa: B023
        assert len(index) == nodes and DOOMED not in index
    for body in bodies:
        index.apply(body)
    return {"nodes": count, "seconds": seconds, "insert seconds": inserts, "resident": resident}


def _stats(index: PathIndex, names: list[str]) -> list[tuple[int, float]]:
    """Nodes below a directory, and seconds that its statistics take."""
    found = []
    for path in (submissions.base(names[len(names) // 2]), DOOMED, "/data", "/"):
        stats = index.stats(path)

        def work(path: str = path) -> None:
            for _ in range(STATS_CALLS):
                index.stats(path)

        found.append(
            (
                stats.files + stats.directories,
                min(_rounds(lambda: _timed(work, lambda _: True))) / STATS_CALLS,
            )
        )
    return found


def _save(index: PathIndex, file: Path) -> dict[str, Any]:
    """The first round makes the file and warms the page cache; it does not count."""
    seconds = _rounds(lambda: _timed(lambda: index.save(file), lambda _: True), 4)
    return {"bytes": file.stat().st_size, "save": seconds[1:]}


def _load(file: Path) -> tuple[PathIndex, list[float]]:
    """The same; each round's index is dropped before the next one."""
    seconds = []
    for _ in range(4):
        index = None
        started = time.perf_counter()
        index = PathIndex.load(file)
        seconds.append(time.perf_counter() - started)
    return index, seconds[1:]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
