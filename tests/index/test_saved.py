"""Indexes in files: what was saved is loaded, at one instant, and nothing else is."""

from __future__ import annotations

import errno
import random
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bodies import Feed, body, deletes, directory, file, upserts

from fusion import PathIndex
from fusion.errors import DamagedFile


@pytest.fixture
def index() -> PathIndex:
    """Some of everything: a window with messages in it, tombstones, free records, names of all kinds."""
    index = PathIndex()
    feed = Feed(index)
    count = 3000
    paths = [f"/d{each % 40}/e{each % 7}/{'n' * (each % 60)}{each}" for each in range(count)]
    index.upsert(paths, range(count), [each / 8 for each in range(count)], [0.5] * count, [False] * count)
    feed.message(directory("/d1", 7.5, 4096), file("/\udcff\ufffd", 1.0, 1), file('/"\\\n', 2.0, 2))
    feed.delete("/d2", "/d3/e3", index=5_000_000)
    index.begin_snapshot()
    feed.message(file("/d5/e1/written", 100.0, 5))
    feed.snapshot(file("/d5/e1/written", 200.0, 6), file("/d6/new", 3.0, 3))
    feed.delete("/d7", index=9_000_000)
    return index


def assert_equal(left: PathIndex, right: PathIndex) -> None:
    left._check()
    right._check()
    assert left.tree_json() == right.tree_json()
    assert (len(left), left.revision, left.snapshot_open) == (len(right), right.revision, right.snapshot_open)
    assert left.stats() == right.stats()
    assert left.oldest_directory() == right.oldest_directory()
    assert [node.path for node in left.search("n1")] == [node.path for node in right.search("n1")]


def go_on(index: PathIndex) -> PathIndex:
    """What depends on marks, tombstones and free records: rows that messages beat, an end, new nodes."""
    feed = Feed(index)
    rows = [file("/d7/e0/late", 50.0, 1), file("/d5/e1/written", 150.0, 9), file("/d2/e0/late", 50.0, 1)]
    feed.snapshot(*rows, directory("/d1", 8.0))
    feed.message(*(file(f"/again/{each}", 1.0, each) for each in range(500)))
    feed.end()
    return index


def test_what_was_saved_is_loaded(index: PathIndex, tmp_path: Path) -> None:
    size = index.save(tmp_path / "saved")
    assert size == (tmp_path / "saved").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    loaded = PathIndex.load(str(tmp_path / "saved"))
    assert_equal(loaded, index)
    assert_equal(go_on(loaded), go_on(index))
    assert index.memory()["views"] == 0


def test_an_empty_index(tmp_path: Path) -> None:
    PathIndex(seed=7).save(bytes(tmp_path / "saved"), sync=True)
    loaded = PathIndex.load(tmp_path / "saved")
    assert_equal(loaded, PathIndex(seed=7))
    assert len(go_on(loaded)) > 500
    loaded._check()


def test_a_file_is_replaced_at_once_or_not_at_all(index: PathIndex, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.write_text("what was there before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            index.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert saved.read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert index.memory()["views"] == 0
    index.save(saved)
    assert_equal(PathIndex.load(saved), index)
    with pytest.raises(FileNotFoundError):
        index.save(tmp_path / "no" / "such" / "folder")
    with pytest.raises(FileNotFoundError):
        PathIndex.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        PathIndex.load(tmp_path)


@pytest.mark.parametrize("contents", [b"", b"F", b"FUSIONIX", b"x" * 10_000, b"SQLite format 3\0" * 500])
def test_a_foreign_file_is_refused(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(contents)
    with pytest.raises(DamagedFile, match="foreign cannot be loaded: it is no saved index"):
        PathIndex.load(tmp_path / "foreign")


def damages(contents: bytes) -> Iterator[bytes]:
    chance = random.Random(1)
    for _ in range(300):
        at = chance.randrange(len(contents))
        yield contents[:at] + bytes([contents[at] ^ 1 << chance.randrange(8)]) + contents[at + 1 :]
    for at in range(0, 400, 3):  # the header, where it is the length of everything
        yield contents[:at] + bytes([contents[at] ^ 0x80]) + contents[at + 1 :]
    for _ in range(60):
        cut = chance.randrange(len(contents))
        yield contents[:cut]
        yield contents[:cut] + bytes(len(contents) - cut)
        yield contents[:cut] + contents[cut + 8 :] + contents[cut : cut + 8]
    yield contents + b"\0"
    yield contents + contents


def test_a_damaged_file_is_refused(index: PathIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "saved")
    contents = (tmp_path / "saved").read_bytes()
    for damaged in damages(contents):
        if damaged == contents:
            continue
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(DamagedFile, match="cannot be loaded"):
            PathIndex.load(tmp_path / "damaged")
    (tmp_path / "older").write_bytes(contents[:8] + bytes([contents[8] + 1]) + contents[9:])
    with pytest.raises(DamagedFile, match="another version"):
        PathIndex.load(tmp_path / "older")


def test_what_is_saved_beside_a_writer_is_one_instant(tmp_path: Path) -> None:
    index = PathIndex()
    count = 30_000
    paths = [f"/d{each % 50}/some-file-name-{each:05}" for each in range(count)]
    index.upsert(paths, [0] * count, [1.5] * count, [1.5] * count, [False] * count)
    marked = paths[:: count // 100]
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            rows = [file(path, 2.0, number) for path in marked]
            churn = upserts(*(file(f"/churn{number % 5}/{each}", 1.0, 0) for each in range(200)))
            index.apply(body("message", upserts(*rows), churn, deletes(f"/churn{(number + 2) % 5}")))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(12):
            index.save(tmp_path / "saved")
            loaded = PathIndex.load(tmp_path / "saved")
            loaded._check()
            assert len({loaded.get(path).size for path in marked}) == 1
    finally:
        done.set()
        writer.join()
    index._check()
    assert index.memory()["views"] == 0
