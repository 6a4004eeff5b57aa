"""Hashes that collide by force: probe chains of every length, with growth and deletion in between."""

from __future__ import annotations

import random

import pytest
from bodies import body, deletes, directory, file, upserts
from hypothesis import settings
from oracle import OracleIndex
from test_machine import RELAXED, Machine, compare

from fusion import PathIndex

pytestmark = pytest.mark.timeout(900)  # a failure is made small for up to five minutes before it is told

MASKS = {
    "all collide": 0,
    "low byte": 0xFF,
    "low half": 0xFFFFFFFF,
    "high half": 0xFFFFFFFF00000000,
    "high byte": 0xFF << 56,
    "middle": 0x0000FFFF00000000,
    "one bit": 1 << 63,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_churn_under_collisions(mask: int) -> None:
    """Insert, update, delete and reinsert among paths that share their hashes."""
    index, oracle = PathIndex(seed=1, _hash_mask=mask), OracleIndex()
    choose = random.Random(mask)
    universe = [f"/d{one}/e{two}/f{three}" for one in range(5) for two in range(4) for three in range(20)]
    universe += [f"/d{one}" for one in range(5)] + [f"/top{number}" for number in range(60)]
    for round_ in range(12):
        rows = [
            (directory if choose.random() < 0.1 else file)(path, size=choose.randrange(99))
            for path in choose.sample(universe, 120)
        ]
        gone = choose.sample(universe, 60)
        source = "snapshot" if round_ % 4 == 3 else "message"
        document = body(source, upserts(*rows), deletes(*gone), upserts(*rows[:30]), end=source == "snapshot")
        for one in (index, oracle):
            one.apply(document, now=-1.0)
        compare(index, oracle)
        for path in universe:
            assert (path in index) == (path in oracle), path
        found = {node.path for node in index.search("f1")}
        assert found == {node.path for node in oracle.search("f1")}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_emptying_and_filling_again(mask: int) -> None:
    """A table full of what was deleted must neither loop nor lose what is put in next."""
    index = PathIndex(seed=2, _hash_mask=mask)
    for round_ in range(6):
        paths = [f"/{round_}/{number}" for number in range(300)]
        index.upsert(paths, [1] * 300, [0.0] * 300, [0.0] * 300, [False] * 300)
        assert index.stats().files == 300
        assert all(path in index for path in paths)
        for path in paths[::2]:
            assert index.delete(path) == 1
            assert path not in index
        index._check()
        assert all(path in index for path in paths[1::2])
        assert index.delete(f"/{round_}") == 151
        assert len(index) == 1
        index._check()


class AllCollide(Machine):
    hash_mask = 0


class LowByte(Machine):
    hash_mask = 0xFF


class HighByte(Machine):
    hash_mask = 0xFF << 56


TestAllCollide = AllCollide.TestCase
TestLowByte = LowByte.TestCase
TestHighByte = HighByte.TestCase
FEWER = settings(RELAXED, max_examples=25, stateful_step_count=20)
TestAllCollide.settings = TestLowByte.settings = TestHighByte.settings = FEWER
