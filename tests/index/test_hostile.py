"""What somebody would try who wants the index to stall, to grow or to crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from bodies import Feed, file

from fusion import Batch, PathIndex

ZERO_FACTOR = bytes.fromhex("157c4a7fb979379e")  # the hash's public constant, as a name's first bytes


@pytest.mark.parametrize("name", [b"%s%04d", b"%s%08d, and more"])
def test_names_made_of_the_hash_constants_spread(name: bytes) -> None:
    index = PathIndex()
    empty = index.memory()["hash"]
    paths = [b"/" + name % (ZERO_FACTOR, number) for number in range(4096)]
    zeros = np.zeros(len(paths))
    index.upsert(paths, zeros.astype(int), zeros, zeros, zeros.astype(bool))
    # Spread over 4,096 partitions of 8 slots and more; heaped in one they would take a third of that.
    assert index.memory()["hash"] - empty > 120_000
    index._check()


def test_many_alike_names_get_their_keys_in_order() -> None:
    index = PathIndex()
    names = [bytes([0x80 + number % 64, 0x80 + number // 64]) for number in range(4000)]
    zeros = np.zeros(len(names))
    index.upsert([b"/" + name for name in names], zeros.astype(int), zeros, zeros, zeros.astype(bool))
    keys = list(json.loads(index.tree_json(only_path=True))["children"])
    assert keys == ["\ufffd" * (2 + number) for number in range(4000)]


def test_one_iterator_of_pieces_in_two_threads() -> None:
    index = PathIndex()
    paths = [f"/d{number % 50}/{number}" for number in range(50_000)]
    zeros = np.zeros(len(paths))
    index.upsert(paths, zeros.astype(int), zeros, zeros, zeros.astype(bool))
    for _ in range(20):
        pieces = index.tree_chunks()
        refused = []

        def read(pieces=pieces, refused=refused) -> None:
            try:
                for piece in pieces:
                    bytes(piece)
            except ValueError as error:
                refused.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    index._check()


def test_one_batch_applied_by_several_threads() -> None:
    rows = [file(f"/d{number % 7}/{number}") for number in range(3000)]
    batch = Batch.decode(
        json.dumps({"session_id": "s", "source_type": "message", "events": [{"rows": rows}]}).encode()
    )
    indexes = [PathIndex(), PathIndex()]

    def apply(index: PathIndex) -> None:
        for _ in range(200):
            try:
                index.apply(batch)
            except RuntimeError:
                continue

    threads = [threading.Thread(target=apply, args=(indexes[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in indexes:
        index._check()


def test_columns_have_one_length_beside_a_writer() -> None:
    index = PathIndex()
    done = threading.Event()

    def write() -> None:
        zeros = np.zeros(5000)
        for round_ in range(20):
            paths = [f"/{round_}/{number}" for number in range(5000)]
            index.upsert(paths, zeros.astype(int), zeros, zeros, zeros.astype(bool))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert len({len(column) for column in index.columns().values()}) == 1
    writer.join()


@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_none_changes_nothing(now: float) -> None:
    index = PathIndex()
    Feed(index).message(file("/a"))
    with pytest.raises(ValueError, match="now"):
        Feed(index).delete("/a", now=now)
    assert "/a" in index


def test_a_str_that_encodes_itself_otherwise() -> None:
    class Odd(str):
        def encode(self, *_: object) -> bytes:  # type: ignore[override]
            return memoryview(b"/other")  # type: ignore[return-value]

    index = PathIndex()
    index.upsert([Odd("/ä")], [0], [0.0], [0.0], [False])
    assert "/ä" in index


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("limit_gib", [1, 4, 64])
def test_several_indexes_fit_into_a_limited_address_space(limit_gib: int) -> None:
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({limit_gib} << 30, {limit_gib} << 30))
from fusion import PathIndex
indexes = [PathIndex() for _ in range(4)]
for index in indexes:
    index.upsert([f"/d/{{n}}" for n in range(1000)], [1] * 1000, [1.0] * 1000, [1.0] * 1000, [False] * 1000)
    index._check()
block = bytearray(64 << 20)
"""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
