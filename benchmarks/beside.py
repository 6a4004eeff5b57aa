"""A thread that serialises the tree again and again beside one that applies paced bodies, in one process.

`beside.py NODES SECONDS` prints a JSON object. Every body updates MARKERS files far apart and rows all
over the tree, and makes one directory of NEW_ROWS_PER_BODY files. The counter of bodies is the markers' size.
All rows of a kind print to the same length, so from the length of a tree follows how many bodies it holds,
and at the same places of each tree stand the markers' sizes: all have to tell the same count.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import threading
import time
from collections.abc import Iterator

import corpora
import submissions
from memory import forget_peak, memory_bytes, warm_host

from fusion import PathIndex

WARM_BYTES_PER_NODE = 500
BODIES_PER_SECOND = 100
MARKERS = 8
NEW_ROWS_PER_BODY = 100
NEW = "/new"
FIRST_COUNT = 100_000_000
SIZE_DIGITS = len(str(FIRST_COUNT))
ALONE_ROUNDS = 10


def main(nodes: int, seconds: float) -> None:
    gc.disable()
    warm_host(nodes * WARM_BYTES_PER_NODE)
    names = submissions.names(nodes)
    index = PathIndex()
    for body in submissions.bodies_of(names):
        index.apply(body)
    paths = [submissions.file_path(name, 0) for name in names]
    markers = paths[:: max(1, len(paths) // MARKERS)][:MARKERS]
    count = int(seconds * BODIES_PER_SECOND)
    bodies = list(_bodies(names, markers, count + 2))
    index.apply(bodies[0])
    length = len(index.tree_json())
    index.apply(bodies[1])
    reader = Reader(index, markers, done=2, body_bytes=len(index.tree_json()) - length)
    alone = [reader.read() for _ in range(ALONE_ROUNDS)]
    resident = forget_peak()
    thread = threading.Thread(target=reader.run)
    thread.start()
    wall, late = _write(index, bodies[2:])
    reader.stopping.set()
    thread.join()
    alone += [reader.read() for _ in range(ALONE_ROUNDS)]  # of the tree that has grown
    index._check()
    print(
        json.dumps(
            {
                "nodes": len(index),
                "rows per second": len(wall)
                * corpora.ROWS_PER_BODY
                / (len(wall) / BODIES_PER_SECOND + late[-1]),
                "wall": [round(value * 1e6) for value in wall],
                "late": [round(value * 1e6) for value in late],
                "alone": alone,
                "beside": reader.seconds,
                "failed": reader.failed,
                "failure": reader.failure,
                "torn": reader.torn,
                "peak": memory_bytes("VmHWM") - resident,
            }
        )
    )


def _bodies(names: list[str], markers: list[str], count: int) -> Iterator[bytes]:
    rng = random.Random(11)
    per_name = submissions.SUBS * submissions.FILES_PER_SUB
    for number in range(count):
        rows = [_row(path, FIRST_COUNT + number) for path in markers]
        while len(rows) < corpora.ROWS_PER_BODY - NEW_ROWS_PER_BODY:
            # file 0 of a submission may be a marker
            path = submissions.file_path(rng.choice(names), rng.randrange(1, per_name))
            rows.append(_row(path, rng.randrange(100_000, 1_000_000)))
        directory = f"{NEW}/batch_{number:06d}"
        rows += [
            _row(f"{directory}/file_{file:03d}.dat", rng.randrange(100_000, 1_000_000))
            for file in range(NEW_ROWS_PER_BODY)
        ]
        (body,) = corpora.bodies(rows)
        yield body


def _row(path: str, size: int) -> corpora.Row:
    return corpora.Row(path, size, 1705832400.123456, 1705832400.123456, False)


def _write(index: PathIndex, bodies: list[bytes]) -> tuple[list[float], list[float]]:
    """Seconds of each batch, and how much later than planned it was done."""
    wall, late = [], []
    start = time.perf_counter()
    for number, body in enumerate(bodies):
        due = start + number / BODIES_PER_SECOND
        while (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        started = time.perf_counter()
        index.apply(body)
        ended = time.perf_counter()
        wall.append(ended - started)
        late.append(ended - due)
    return wall, late


class Reader:
    """Reads whole trees and tells of each whether it is one instant; begins with `done` bodies applied."""

    def __init__(self, index: PathIndex, markers: list[str], done: int, body_bytes: int) -> None:
        self._index = index
        self._done = done
        self._body_bytes = body_bytes
        whole = index.tree_json()
        at_paths = [whole.index(b'"path":"%b","size":' % path.encode()) for path in markers]
        self._places = sorted(whole.index(b'"size":', at) + len(b'"size":') for at in at_paths)
        self._length = len(whole)
        self.stopping = threading.Event()
        self.seconds: list[float] = []
        self.torn = 0
        self.failed = 0
        self.failure = ""

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.seconds.append(self.read())
            except RuntimeError as failure:
                self.failed += 1
                self.failure = str(failure)

    def read(self) -> float:
        """Seconds that a tree takes."""
        sizes = bytearray()
        length, at = 0, 0
        started = time.perf_counter()
        for chunk in self._index.tree_chunks():
            while at < len(self._places):
                first = self._places[at] - length
                past = first + SIZE_DIGITS
                sizes += chunk[max(first, 0) : max(past, 0)]
                if past > len(chunk):
                    break
                at += 1
            length += len(chunk)
        seconds = time.perf_counter() - started
        counts = {int(sizes[i : i + SIZE_DIGITS]) - FIRST_COUNT for i in range(0, len(sizes), SIZE_DIGITS)}
        # Markers count from 0, bodies from 1.
        expected = self._length + (min(counts) + 1 - self._done) * self._body_bytes
        self.torn += len(counts) != 1 or length != expected
        return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
