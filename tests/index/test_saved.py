"""Indexes in files: what was saved is loaded, at one instant, and nothing else is."""

from __future__ import annotations

import errno
import os
import queue
import random
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bodies import Feed, body, deletes, directory, file, upserts

from fusion import PathIndex
from fusion._index import Instant
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


READERS = (PathIndex.load, PathIndex.read_note, PathIndex.verify)


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


@pytest.mark.parametrize("note", [b"", b"\0", b"sequence 5", random.Random(2).randbytes(3 << 20)], ids=len)
def test_a_note_is_kept_beside_the_index(index: PathIndex, note: bytes, tmp_path: Path) -> None:
    size = index.save(tmp_path / "noted", note=note)
    assert size == index.save(tmp_path / "saved") + len(note) == (tmp_path / "noted").stat().st_size
    assert PathIndex.read_note(tmp_path / "noted") == note
    assert PathIndex.read_note(bytes(tmp_path / "saved")) == b""
    PathIndex.verify(str(tmp_path / "noted"))
    assert_equal(PathIndex.load(tmp_path / "noted"), index)


def test_a_note_is_bytes(index: PathIndex, tmp_path: Path) -> None:
    for wrong in ("text", None, bytearray(b"x")):
        with pytest.raises(TypeError):
            index.save(tmp_path / "saved", note=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            index.instant(wrong)  # type: ignore[arg-type]


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
    for read in READERS:
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing")
        with pytest.raises(IsADirectoryError):
            read(tmp_path)


@pytest.mark.parametrize("contents", [b"", b"F", b"FUSIONIX", b"x" * 10_000, b"SQLite format 3\0" * 500])
def test_a_foreign_file_is_refused(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(contents)
    for read in READERS:
        with pytest.raises(DamagedFile, match="foreign cannot be loaded: it is no saved index"):
            read(tmp_path / "foreign")


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
    note = b"what belongs to the index" * 20
    index.save(tmp_path / "saved", note=note)
    contents = (tmp_path / "saved").read_bytes()
    begin = contents.index(note) + len(note)
    for damaged in damages(contents):
        if damaged == contents:
            continue
        (tmp_path / "damaged").write_bytes(damaged)
        for read in (PathIndex.load, PathIndex.verify):
            with pytest.raises(DamagedFile, match="cannot be loaded"):
                read(tmp_path / "damaged")
        if len(damaged) == len(contents) and damaged[:begin] == contents[:begin]:
            assert PathIndex.read_note(tmp_path / "damaged") == note
        else:
            with pytest.raises(DamagedFile, match="cannot be loaded"):
                PathIndex.read_note(tmp_path / "damaged")
    for version in (contents[8] - 1, contents[8] + 1):
        (tmp_path / "other").write_bytes(contents[:8] + bytes([version]) + contents[9:])
        for read in READERS:
            with pytest.raises(DamagedFile, match="another version"):
                read(tmp_path / "other")


def test_every_byte_counts(tmp_path: Path) -> None:
    index = PathIndex()
    Feed(index).message(directory("/d", 1.0), file("/d/f", 2.0, 3))
    Feed(index).delete("/gone")
    size = index.save(tmp_path / "saved", note=b"a note")
    with open(tmp_path / "saved", "r+b", buffering=0) as opened:
        contents = opened.read()
        for at in range(size):
            os.pwrite(opened.fileno(), bytes([contents[at] ^ 1 << at % 8]), at)
            with pytest.raises(DamagedFile):
                PathIndex.verify(tmp_path / "saved")
            os.pwrite(opened.fileno(), contents[at : at + 1], at)
    PathIndex.verify(tmp_path / "saved")


# Instants


def test_an_instant_is_what_the_index_was(index: PathIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "expected", note=b"1")
    instant = index.instant(b"1")
    go_on(index)
    assert index.memory()["views"] > 0
    assert instant.save(tmp_path / "saved") == (tmp_path / "saved").stat().st_size
    assert (tmp_path / "saved").read_bytes() == (tmp_path / "expected").read_bytes()
    assert index.memory()["views"] == 0


def test_an_instant_is_saved_once(index: PathIndex, tmp_path: Path) -> None:
    saved, closed, failed = index.instant(), index.instant(), index.instant()
    go_on(index)
    saved.save(tmp_path / "saved")
    closed.close()
    with pytest.raises(FileNotFoundError):
        failed.save(tmp_path / "no" / "such" / "folder")
    assert index.memory()["views"] == 0
    for instant in (saved, closed, failed):
        with pytest.raises(ValueError, match="closed"):
            instant.save(tmp_path / "again")
        instant.close()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_an_instant_is_made_by_an_index() -> None:
    with pytest.raises(TypeError):
        Instant()
    with pytest.raises(TypeError):
        Instant(PathIndex(), b"")


@pytest.mark.parametrize("sync", [False, True])
def test_the_pace_is_the_callers(index: PathIndex, sync: bool, tmp_path: Path) -> None:
    note = bytes(20 << 20)
    sizes: list[int] = []
    instant = index.instant(note)

    def pace() -> None:
        (aside,) = tmp_path.iterdir()
        sizes.append(aside.stat().st_blocks * 512 if sync else aside.stat().st_size)
        for act in (instant.close, lambda: instant.save(tmp_path / "again")):
            with pytest.raises(RuntimeError, match="another thread"):
                act()

    size = instant.save(tmp_path / "saved", sync=sync, pace=pace)
    assert len(sizes) == size // (2 << 20) == 10
    assert PathIndex.read_note(tmp_path / "saved") == note

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        index.instant(note).save(tmp_path / "stopped", sync=sync, pace=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert index.memory()["views"] == 0


def test_a_full_disk_is_told_before_anything_is_written(index: PathIndex, tmp_path: Path) -> None:
    paces: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 20, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            index.instant(bytes(20 << 20)).save(tmp_path / "saved", sync=True, pace=lambda: paces.append(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, paces, list(tmp_path.iterdir())) == (errno.EFBIG, [], [])


def test_instants_are_saved_by_other_threads_while_the_index_changes(tmp_path: Path) -> None:
    """What each shows is the tree at the instant, which one lock holds still for the test's own look."""
    index = PathIndex()
    count = 5_000
    paths = [f"/d{each % 50}/some-file-name-{each:05}" for each in range(count)]
    index.upsert(paths, [0] * count, [1.5] * count, [1.5] * count, [False] * count)
    still = threading.Lock()
    done = threading.Event()
    taken: queue.SimpleQueue[tuple[Instant, bytes, bytes] | None] = queue.SimpleQueue()
    failures: list[BaseException] = []

    def write() -> None:
        chance = random.Random(3)
        while not done.is_set():
            rows = [file(path, 2.0, chance.randrange(99)) for path in chance.sample(paths, 100)]
            churn = upserts(*(file(f"/churn{chance.randrange(9)}/{each}", 1.0, 0) for each in range(50)))
            gone = deletes(f"/churn{chance.randrange(9)}", f"/d{chance.randrange(50)}")
            source = chance.choice(["message", "snapshot"])
            with still:
                index.apply(body(source, upserts(*rows), churn, gone, end=chance.random() < 0.1))

    def save(name: str) -> None:
        try:
            while (item := taken.get()) is not None:
                instant, note, tree = item
                instant.save(tmp_path / name, sync=note[0] % 2 == 0)
                loaded = PathIndex.load(tmp_path / name)
                loaded._check()
                assert loaded.tree_json() == tree
                assert PathIndex.read_note(tmp_path / name) == note
        except BaseException as error:
            failures.append(error)

    savers = [threading.Thread(target=save, args=(name,)) for name in ("one", "two")]
    writer = threading.Thread(target=write)
    for thread in (*savers, writer):
        thread.start()
    try:
        for number in range(30):
            with still:
                taken.put((index.instant(bytes([number])), bytes([number]), index.tree_json()))
            for _ in range(3):
                index.search("name-00")
    finally:
        for _ in savers:
            taken.put(None)
        for thread in savers:
            thread.join()
        done.set()
        writer.join()
    assert not failures, failures
    index._check()
    assert index.memory()["views"] == 0


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
