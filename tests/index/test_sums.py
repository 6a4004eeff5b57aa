"""largest(), file_columns() and histogram() against the slow twin and sums of Python's integers."""

from __future__ import annotations

from typing import Any

import find_oracle
import numpy as np
import pytest
from bodies import body
from find_oracle import entries
from histories import event_lists
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from oracle import OracleIndex

from fusion import PathIndex
from fusion.errors import InvalidField
from fusion.histogram import AGES, SIZES, histogram

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)

sizes = st.one_of(
    st.integers(0, 5), st.sampled_from([2**53 + 1, 2**62, 2**63 - 1, *SIZES]), st.integers(0, 2**63 - 1)
)
rows = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=4).map(lambda names: "/" + "/".join(names)),
        sizes,
        st.one_of(
            st.sampled_from([0.0, -1e308, 1e308]),
            st.sampled_from(AGES).map(lambda age: 1e9 - age),
            st.floats(0, 2e9),
        ),
        st.booleans(),
    ),
    max_size=60,
)


def both(rows: list[tuple[str, int, float, bool]]) -> tuple[PathIndex, OracleIndex]:
    index, oracle = PathIndex(), OracleIndex()
    for path, size, time, is_dir in rows:
        for one in (index, oracle):
            one.upsert([path], [size], [time], [0.0], [is_dir])
    return index, oracle


def compare_largest(index: PathIndex, oracle: OracleIndex, path: bytes, top: int) -> None:
    stats, _, children, files = index.largest(path, top)
    expected_children, expected_files = find_oracle.largest(oracle, path, top)
    assert stats == index.stats(path)
    assert [tuple(child) for child in children] == expected_children
    assert [node._astuple() for node in files] == [tuple(node) for node in expected_files]


def files_of(oracle: OracleIndex, path: bytes) -> list[tuple[int, float]]:
    return sorted((entry.size, entry.mtime) for entry in entries(oracle, path) if not entry.is_dir)


@given(rows=rows, top=st.integers(0, 8))
@example(
    rows=[(f"/{n % 3}/{n}", 2**63 - 1, 0.0, False) for n in range(12)], top=5
)  # sums beyond 64 bits, ties
@example(rows=[(f"/{n % 3}/{n}", 0, 0.0, False) for n in range(12)], top=5)
@settings(RELAXED, max_examples=150)
def test_largest(rows: list[Any], top: int) -> None:
    index, oracle = both(rows)
    for entry in entries(oracle):
        compare_largest(index, oracle, entry.path, top)


@given(events=st.lists(event_lists, max_size=4), top=st.integers(0, 3))
@settings(RELAXED, max_examples=100)
def test_sums_after_any_history(events: list[Any], top: int) -> None:
    index, oracle = PathIndex(), OracleIndex()
    for each in events:
        for one in (index, oracle):
            one.apply(body("message", *each), now=100.0)
    for entry in entries(oracle):
        compare_largest(index, oracle, entry.path, top)
        columns = [
            (int(size), float(time))
            for column_sizes, column_times in index.file_columns(entry.path)
            for size, time in zip(column_sizes, column_times, strict=True)
        ]
        assert sorted(columns) == files_of(oracle, entry.path)
    assert index.memory()["views"] == 0


@given(rows=rows, now=st.sampled_from([1e9, 0.0, -1e308]))
@settings(RELAXED, max_examples=150)
def test_histogram(rows: list[Any], now: float) -> None:
    index, oracle = both(rows)
    for entry in [*entries(oracle)][:6]:
        files = files_of(oracle, entry.path)
        for by in ("size", "age"):
            found = histogram(index, entry.path, by, now)
            assert found["by"] == by
            assert (found["total"], found["bytes"]) == (len(files), sum(size for size, _ in files))
            for bucket in found["buckets"]:
                inside = [
                    size
                    for size, time in files
                    for value in [size if by == "size" else now - time]
                    if (bucket["from"] is None or value >= bucket["from"])
                    and (bucket["to"] is None or value < bucket["to"])
                ]
                assert (bucket["files"], bucket["bytes"]) == (len(inside), sum(inside))


def test_bounds_of_buckets() -> None:
    index = PathIndex()
    by_size = histogram(index, "/", "size", 0.0)["buckets"]
    assert [bucket["from"] for bucket in by_size] == [0, *(4**n for n in range(22))]
    by_age = histogram(index, "/", "age", 0.0)["buckets"]
    assert (by_age[0]["from"], by_age[0]["to"], by_age[-1]["from"]) == (None, 0, 10 * 365 * 86400)
    for buckets in (by_size, by_age):
        assert [bucket["to"] for bucket in buckets[:-1]] == [bucket["from"] for bucket in buckets[1:]]
        assert buckets[-1]["to"] is None
        assert all(bucket["files"] == bucket["bytes"] == 0 for bucket in buckets)


def test_more_files_than_a_slice() -> None:
    index = PathIndex()
    count = 150_000
    names = [f"/d{n % 3}/f{n}" for n in range(count)]
    index.upsert(
        names, np.full(count, 2**63 - 1), np.arange(float(count)), np.zeros(count), np.zeros(count, bool)
    )
    for path, files in (("/", count), ("/d1", count // 3)):
        slices = list(index.file_columns(path))
        assert [len(sizes) for sizes, _ in slices[:-1]] == [65_536] * (files // 65_536)
        assert all(sizes.dtype == np.int64 and times.dtype == np.float64 for sizes, times in slices)
        times = np.sort(np.concatenate([times for _, times in slices]))
        assert np.array_equal(times, np.arange(float(count)) if path == "/" else np.arange(1.0, count, 3))
        for by in ("size", "age"):
            found = histogram(index, path, by, 1e6)
            assert (found["total"], found["bytes"]) == (files, files * (2**63 - 1))


def test_columns_are_of_the_instant_of_the_call() -> None:
    index = PathIndex()
    count = 70_000
    names = [f"/d/f{n}" for n in range(count)]
    zeros = np.zeros(count)
    index.upsert(names, np.ones(count, int), zeros, zeros, zeros.astype(bool))
    for path in ("/", "/d"):
        columns = index.file_columns(path)
        first = next(columns)[0].sum()
        index.upsert(names, np.full(count, 2), zeros, zeros, zeros.astype(bool))
        index.upsert(
            [f"/d/new{n}" for n in range(count)], np.ones(count, int), zeros, zeros, zeros.astype(bool)
        )
        index.delete("/d/f69999")
        assert first + sum(int(sizes.sum()) for sizes, _ in columns) == count
        index.clear()
        index.upsert(names, np.ones(count, int), zeros, zeros, zeros.astype(bool))
    del columns
    assert index.memory()["views"] == 0


def test_wrong_questions() -> None:
    index = PathIndex()
    for path in ("/nothing", "\ud800", "/" + "x" * 70_000):
        for question in (index.largest, index.file_columns, lambda path: histogram(index, path, "size", 0.0)):
            with pytest.raises(KeyError):
                question(path)
    for top in (-1, 1001, 1.0, True, "1", None):
        with pytest.raises(InvalidField) as caught:
            index.largest("/", top)  # type: ignore[arg-type]
        assert caught.value.pointer == "/top"
    for by, now, pointer in (("", 0.0, "/by"), ("sizes", 0.0, "/by"), ("age", float("nan"), "/now")):
        with pytest.raises(InvalidField) as caught:
            histogram(index, "/", by, now)
        assert caught.value.pointer == pointer
