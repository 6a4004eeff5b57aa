"""One contender, all its operations: `run.py NAME DIRECTORY` prints a JSON object.

The directory holds what `job.write` made. Runs in the environment of the contender, which
has orjson and NumPy.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from contenders import CONTENDERS
from memory import forget_peak, memory_bytes, resident_bytes, warm_host

WARM_BYTES_PER_NODE = 3_000


class Stopwatch:
    """Seconds and peak memory of the parts of a run."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.peak: dict[str, int] = {}

    def time(self, part: str, work: Any, *arguments: Any) -> Any:
        resident = forget_peak()
        started = time.perf_counter()
        result = work(*arguments)
        self.seconds[part] += time.perf_counter() - started
        self.peak[part] = max(self.peak.get(part, 0), memory_bytes("VmHWM") - resident)
        return result


def main(name: str, directory: Path) -> None:
    gc.disable()
    job = json.loads((directory / "job.json").read_text())
    warm_host(job["nodes"] * WARM_BYTES_PER_NODE)
    make = next(contender for contender in CONTENDERS if contender.name == name)
    with (directory / "bodies").open("rb") as bodies:
        make().insert(next(bodies))  # everything imported
    before = resident_bytes()
    store = make()
    watch = Stopwatch()
    seconds = 0.0
    with (directory / "bodies").open("rb") as bodies:
        for body in bodies:
            started = time.perf_counter()
            store.insert(body)
            seconds += time.perf_counter() - started
    held = resident_bytes() - before
    paths = (directory / "paths").read_text().split("\n")
    assert watch.time("lookup", store.found, paths) == len(paths)
    assert store.found(path + "x" for path in paths[:1000]) == 0
    assert watch.time("search", store.search, job["pattern"]) == job["hits"]
    length, letters = watch.time("tree", _length, store), _letters(store)
    assert length == sum(letters)
    watch.time("delete", store.delete, job["doomed"])
    assert store.found(paths) == len(paths) - job["doomed paths"]
    print(
        json.dumps(
            {
                "held": held,
                "tree bytes": length,
                "tree letters": letters,
                "seconds": {"insert": seconds, **watch.seconds},
                "peak": watch.peak,
            }
        )
    )


def _length(store: Any) -> int:
    return sum(map(len, store.tree()))


def _letters(store: Any) -> list[int]:
    """How often each byte stands in the tree: the order of children differs between contenders."""
    letters = np.zeros(256, dtype=np.int64)
    for piece in store.tree():
        text = np.frombuffer(piece, dtype=np.uint8)
        for start in range(0, len(text), 1 << 20):
            letters += np.bincount(text[start : start + (1 << 20)], minlength=256)
    return letters.tolist()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
