"""Corpus C: `churn.py NODES ROUNDS` fills an index with S, then deletes half of it and inserts as much again.

Odd rounds delete a random half of the files, row by row, and send the same rows again; even rounds delete a
random half of the submissions and send new ones under new names. Prints a JSON object.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from collections.abc import Iterable, Iterator
from uuid import UUID

import corpora
import orjson
import submissions
from memory import forget_peak, memory_bytes, resident_bytes, warm_host

from fusion import PathIndex

WARM_BYTES_PER_NODE = 200
FILES = submissions.SUBS * submissions.FILES_PER_SUB


def main(nodes: int, rounds: int) -> None:
    gc.disable()
    warm_host(nodes * WARM_BYTES_PER_NODE)
    rng = random.Random(7)
    names = submissions.names(nodes)
    _apply(PathIndex(), submissions.bodies(1))  # everything imported and every cache filled once
    before = forget_peak()
    index = PathIndex()
    _apply(index, submissions.bodies_of(names))
    figures = []
    for number in range(1, rounds + 1):
        replaced = rng.sample(names, len(names) // 2)
        if number % 2:
            deleted, sent = _half_of_the_files(index, names, rng)
        else:
            names, sent = _half_of_the_submissions(index, names, replaced, rng)
            deleted = len(replaced) * submissions.SUBMISSION_NODES
        figures.append(
            {
                "held": resident_bytes() - before,
                "in use": index.memory()["total"],
                "deleted": deleted,
                "sent": sent,
            }
        )
        assert index.stats("/").files == len(names) * FILES
    index._check()
    print(json.dumps({"nodes": len(index), "rounds": figures, "peak": memory_bytes("VmHWM") - before}))


def _half_of_the_files(index: PathIndex, names: list[str], rng: random.Random) -> tuple[int, int]:
    deleted = sent = 0
    for name in names:
        paths = [submissions.file_path(name, number) for number in rng.sample(range(FILES), FILES // 2)]
        nodes = len(index)
        index.apply(_delete_body(paths))
        assert len(index) == nodes - len(paths)
        deleted += len(paths)
        sent += _apply(index, corpora.bodies(map(_row, paths)))
    return deleted, sent


def _half_of_the_submissions(
    index: PathIndex, names: list[str], replaced: list[str], rng: random.Random
) -> tuple[list[str], int]:
    gone = set(replaced)
    for name in replaced:
        assert index.delete(submissions.base(name)) == submissions.SUBMISSION_NODES
    new = sorted(str(UUID(int=rng.getrandbits(128))) for _ in replaced)
    sent = _apply(index, submissions.bodies_of(new, seed=rng.randrange(1 << 30)))
    return [name for name in names if name not in gone] + new, sent


def _apply(index: PathIndex, bodies: Iterable[bytes]) -> int:
    return sum(index.apply(body).rows for body in bodies)


def _row(path: str) -> corpora.Row:
    return corpora.Row(path, 123456, 1705832400.123456, 1705832400.123456, False)


def _delete_body(paths: Iterable[str]) -> bytes:
    rows: Iterator[bytes] = (orjson.dumps({"file_path": path}) for path in paths)
    return corpora.envelope(b",".join(rows), event_type="delete")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
