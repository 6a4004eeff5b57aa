"""Searches and sums beside a writer that flips many nodes between two states: every answer is of one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from bodies import body, deletes, directory, file, upserts
from conftest import SANITIZED
from test_threads import run_together

from fusion import PathIndex
from fusion.histogram import histogram

FILES = 600 if SANITIZED else 6000
FLIPS = 20 if SANITIZED else 150
DIRS = 12
BULK = 6000  # names of 250 bytes: when they go, the arena of names is compacted


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def flip(state: int, bulk: int) -> bytes:
    """From the other state to this one: other names, other sizes and, of the bulk, all names or none."""
    rows = [
        row
        for each in range(FILES)
        for row in (
            file(f"/moved/d{each % DIRS}/{'even' if state == 0 else 'odd'}-{each}", state, each % 50 + state),
            file(f"/kept/d{each % DIRS}/kept-{each}", state, each % 40 * (1 + state)),
        )
    ]
    rows += [directory(f"/state-{state}", state)]
    if state == 0:
        rows += [file(f"/bulk/{each:0250}", 0, 1) for each in range(bulk)]
    gone = deletes("/moved", f"/state-{1 - state}", *(["/bulk"] if state == 1 else []))
    return body("message", gone, upserts(*rows))


def nodes(answer: Any) -> list[Any]:
    return sorted((node["path"], node["size"]) for node in orjson.loads(b"".join(map(bytes, answer))))


def found(pattern: str, **options: Any) -> Callable[[PathIndex], Any]:
    def ask(index: PathIndex) -> Any:
        answer = index.find_chunks(pattern, **options)
        return answer.total, nodes(answer)

    return ask


def columns(index: PathIndex) -> Any:
    slices = list(index.file_columns("/moved"))
    return sum(len(sizes) for sizes, _ in slices), sum(int(sizes.sum()) for sizes, _ in slices)


def ages(index: PathIndex) -> Any:
    answer = histogram(index, "/", "age", 3601.0)
    return [bucket["files"] for bucket in answer["buckets"]], answer["bytes"]


def sums(index: PathIndex) -> Any:
    _, _, children, files = index.largest("/", 5)
    return children, files


QUESTIONS: dict[str, Callable[[PathIndex], Any]] = {
    "substring": found("even-1"),
    "all names": found("*", type="any", sort="path"),
    "a page": found("-", limit=40, sort="size", order="desc"),
    "glob": found("*e*t-*9", sort="name"),
    "subtree": found("d", path="/moved/d3", match="path"),
    "below a directory": found("*/d3/*", match="path"),
    "paths": found("*/d5/*-*7", match="path"),
    "directories": found("state", type="directory"),
    "largest": sums,
    "columns": columns,
    "ages": ages,
    "search": lambda index: sorted(node.path for node in index.search("e")),
    "search_json": lambda index: nodes([index.search_json("7")]),
}


@pytest.mark.parametrize("names", [list(QUESTIONS)[start::4] for start in range(4)], ids="-".join)
@pytest.mark.parametrize("bulk", [0, BULK])
def test_every_answer_is_of_one_state(names: list[str], bulk: int) -> None:
    index = PathIndex()
    flips = [flip(0, bulk), flip(1, bulk)]
    expected: dict[str, list[Any]] = {name: [] for name in names}
    for state in (0, 1):
        index.apply(flips[0])
        index.apply(flips[state])
        for name in names:
            expected[name].append(QUESTIONS[name](index))
    for name in names:
        assert expected[name][0] != expected[name][1]

    def write() -> None:
        for number in range(FLIPS if not bulk else FLIPS // 5):
            index.apply(flips[number % 2])

    def reader(name: str) -> Callable[[], None]:
        def read() -> None:
            assert QUESTIONS[name](index) in expected[name]

        return read

    run_together([write], [reader(name) for name in names])
    index._check()
    assert index.memory()["views"] == 0
