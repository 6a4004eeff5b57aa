"""The agent's walk over real files, against a plain one: from the disk, its cache warm, to encoded rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from conftest import NODES
from measure import Contender, Ledger, race
from pytest_benchmark.fixture import BenchmarkFixture

from fusion.agent.scan import ROWS_PER_BATCH, Row, Scan
from fusion.agent.watch import Watcher

BUILD = Path(__file__).parent.parent / "build"
FILES_PER_DIRECTORY = 100
ROUNDS = 9


@pytest.fixture(scope="module")
def made() -> Iterator[str]:
    """A fifth of the size of S, on a disk: where temporary files go may be memory."""
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=BUILD) as name:
        for number in range(NODES // 5 // FILES_PER_DIRECTORY):
            directory = f"{name}/group_{number // 50:03d}/directory_{number % 50:02d}"
            os.makedirs(directory)
            for file in range(FILES_PER_DIRECTORY):
                os.close(os.open(f"{directory}/data_{file:04d}.dat", os.O_CREAT))
        yield name


@pytest.mark.parametrize("tree", ["made", "/usr"])
def test_scan(benchmark: BenchmarkFixture, ledger: Ledger, tree: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(tree) if tree == "made" else tree
    expected = walked(root)
    assert {row["file_path"]: row for body in scanned(root) for row in json.loads(body)} == expected

    def holds(bodies: list[bytes]) -> None:
        assert sum(body.count(b'{"file_path":"') for body in bodies) == len(expected)

    def scan(**options: object) -> Callable[[object], list[bytes]]:
        return lambda watcher: scanned(root, **options)

    def watched(watcher: Watcher) -> list[bytes]:
        with_watches = scanned(root, enter=watcher.add)
        watcher.close()
        return with_watches

    race(
        benchmark,
        ledger,
        f"scan {'a tree of many files a directory' if tree == 'made' else tree}",
        len(expected),
        "node",
        Contender("Scan", lambda: None, scan(), holds),
        Contender("Scan, one thread", lambda: None, scan(threads=1), holds, own=True),
        Contender("Scan, watching every directory", lambda: Watcher(root), watched, holds, own=True),
        Contender("os.scandir, DirEntry.stat and orjson", lambda: root, plain, holds),
        rounds=ROUNDS,
    )


def scanned(root: str, **options: object) -> list[bytes]:
    return [b"[%b]" % rows.json for rows in Scan(root, **options)]  # type: ignore[arg-type]


def plain(root: str) -> list[bytes]:
    """The shortest walk in one thread that yields the same rows, a directory's after its content."""
    bodies: list[bytes] = []
    rows: list[Row] = []
    pending: list[str | Row] = [root]
    while pending:
        at = pending.pop()
        if not isinstance(at, str):
            rows.append(at)
        else:
            pending.append(row_of(at, os.stat(at), True))
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        rows.append(row_of(entry.path, entry.stat(follow_symlinks=False), False))
        if len(rows) >= ROWS_PER_BATCH:
            bodies.append(encoded(rows))
            rows = []
    return [*bodies, encoded(rows)]


def encoded(rows: list[Row]) -> bytes:
    try:
        return orjson.dumps(rows)
    except orjson.JSONEncodeError:  # a name that is not UTF-8
        return json.dumps(rows, separators=(",", ":")).encode()


def row_of(path: str, status: os.stat_result, is_dir: bool) -> Row:
    return {
        "file_path": path,
        "size": status.st_size,
        "modified_time": status.st_mtime,
        "created_time": status.st_ctime,
        "is_dir": is_dir,
    }


def walked(root: str) -> dict[str, Row]:
    """What has to come out, by os.walk and lstat."""
    rows = {root: row_of(root, os.stat(root), True)}
    for directory, subdirectories, files in os.walk(root):
        for names, is_dir in ((subdirectories, True), (files, False)):
            for name in names:
                path = os.path.join(directory, name)
                rows[path] = row_of(path, os.lstat(path), is_dir and not os.path.islink(path))
    return rows
