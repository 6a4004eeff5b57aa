"""The walk that turns a directory tree into rows."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fake_fusion import STUCK_SECONDS, disk, until
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import HOSTILE, build, make, trees

from fusion.agent import scan as scan_module
from fusion.agent._scan import DIRECTORIES, Reader
from fusion.agent.scan import Row, Rows, Scan, describe, pseudo_mounts
from fusion.agent.selection import Selection


def decoded(rows: Rows) -> list[Row]:
    found: list[Row] = json.loads(b"[%b]" % rows.json)
    assert 0 < len(found) == rows.count <= 1000
    return found


def all_rows(scan: Scan) -> list[Row]:
    rows = [row for batch in scan for row in decoded(batch)]
    assert len(rows) == scan.nodes
    return rows


def rows_of(scan: Scan) -> dict[str, Row]:
    rows = all_rows(scan)
    by_path = {row["file_path"]: row for row in rows}
    assert len(by_path) == len(rows)
    return by_path


def untyped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries come without their types, as some file systems leave them."""
    monkeypatch.setattr(scan_module, "Reader", partial(Reader, untyped=True))


@pytest.fixture(params=["typed", "untyped"])
def types(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "untyped":
        untyped(monkeypatch)


def is_ordered(rows: list[Row]) -> bool:
    """Whether children come before their directories, and the root last."""
    done: set[str] = set()
    for row in rows:
        if os.path.dirname(row["file_path"]) in done:
            return False
        done.add(row["file_path"])
    return True


# What is in a tree


@settings(deadline=None, max_examples=100)
@given(trees, st.integers(1, 3), st.booleans())
def test_rows_are_what_walking_and_lstat_tell(tree: dict[bytes, object], threads: int, typed: bool) -> None:
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as monkeypatch:
        build(os.fsencode(root), tree)
        if not typed:
            untyped(monkeypatch)
        rows = all_rows(Scan(root, threads=threads))
        assert is_ordered(rows)
        assert rows[-1]["file_path"] == root
        assert {row["file_path"]: row for row in rows} == disk(Path(root))
        assert len({row["file_path"] for row in rows}) == len(rows)


@settings(deadline=None, max_examples=50)
@given(trees)
def test_rows_are_written_as_python_writes_them(tree: dict[bytes, object]) -> None:
    with TemporaryDirectory() as root:
        build(os.fsencode(root), tree)
        for batch in Scan(root):
            written = json.dumps(decoded(batch), ensure_ascii=False, separators=(",", ":"))
            assert b"[%b]" % batch.json == written.encode("utf-8", "backslashreplace")


@pytest.mark.usefixtures("types")
def test_hostile_names_of_directories_and_files(tmp_path: Path) -> None:
    for name in HOSTILE:
        path = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(path)
        for below in HOSTILE:
            os.mkdir(path + b"/" + below) if len(below) % 2 else os.mkfifo(path + b"/" + below)
    assert rows_of(Scan(str(tmp_path))) == disk(tmp_path)


def test_the_root_may_end_with_a_slash(tmp_path: Path) -> None:
    make(tmp_path, "d/b")
    assert sorted(rows_of(Scan(f"{tmp_path}/"))) == [f"{tmp_path}/{name}" for name in ("", "d", "d/b")]


def test_batches_hold_a_thousand_rows(tmp_path: Path) -> None:
    make(tmp_path, *(f"d{i % 3}/{i}" for i in range(4500)), *(f"e{i}/f" for i in range(300)))
    batches = list(Scan(str(tmp_path)))
    assert {batch.count for batch in batches[:-1]} == {1000}
    assert sum(len(decoded(batch)) for batch in batches) == 4500 + 3 + 2 * 300 + 1


@pytest.mark.usefixtures("types")
def test_a_directory_that_takes_many_pieces(tmp_path: Path) -> None:
    make(tmp_path, *(f"d/{i:0200}" for i in range(3000)), *(f"d/d{i}/f" for i in range(100)))
    rows = all_rows(Scan(str(tmp_path), threads=2))
    assert is_ordered(rows)
    assert {row["file_path"]: row for row in rows} == disk(tmp_path)


def test_batches_of_long_paths_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "PATH_BYTES_PER_BATCH", 1000)
    make(tmp_path, *(f"{i:0200}" for i in range(20)))
    batches = [decoded(rows) for rows in Scan(str(tmp_path))]
    assert all(sum(len(row["file_path"]) for row in batch) < 1400 for batch in batches)


def test_a_symbolic_link_is_a_file_of_its_own_and_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "d/b")
    (tmp_path / "to_directory").symlink_to("d")
    (tmp_path / "to_nowhere").symlink_to("nowhere")
    (tmp_path / "d/up").symlink_to("..")
    rows = rows_of(Scan(str(tmp_path)))
    assert rows == disk(tmp_path)
    assert not rows[str(tmp_path / "to_directory")]["is_dir"]
    assert str(tmp_path / "to_nowhere") in rows


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path, "d/b")
    (tmp_path / "link").symlink_to("d")
    rows = rows_of(Scan(str(tmp_path / "link")))
    assert sorted(rows) == [str(tmp_path / "link"), str(tmp_path / "link/b")]
    assert rows[str(tmp_path / "link")]["is_dir"]


def test_sockets_are_listed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert rows_of(Scan(str(tmp_path))) == disk(tmp_path)


# Depth


@pytest.fixture
def removed() -> Iterator[Path]:
    """A directory for trees that only rm is able to remove."""
    with TemporaryDirectory() as name:
        yield Path(name)
        subprocess.run(["rm", "-rf", *Path(name).iterdir()], check=True)


def dig(root: Path, name: str, levels: int) -> Iterator[os.stat_result]:
    """Nested directories of that name, the status of each."""
    above = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=above)
        os.mknod("f" * len(name), dir_fd=above)
        below = os.open(name, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    above = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        below = os.open(name, os.O_RDONLY, dir_fd=above)
        yield os.fstat(below)
        os.close(above)
        above = below
    os.close(above)


@pytest.mark.parametrize(("name", "levels"), [("d", 2500), ("name" * 20, 800)])
def test_trees_deeper_than_any_path_the_kernel_takes(removed: Path, name: str, levels: int) -> None:
    statuses = list(dig(removed, name, levels))
    rows = all_rows(Scan(str(removed)))
    assert is_ordered(rows) and len(rows) == 2 * levels + 1
    by_path = {row["file_path"]: row for row in rows}
    path = str(removed)
    for status in statuses:
        path += f"/{name}"
        assert by_path[path]["modified_time"] == status.st_mtime


def test_paths_longer_than_servers_take_are_unreadable(removed: Path) -> None:
    name = "n" * 255
    list(dig(removed, name, 300))
    scan = Scan(str(removed))
    rows = rows_of(scan)
    longest = max(len(path) for path in rows)
    assert 65535 - 256 < longest <= 65535
    assert scan.errors == {"ENAMETOOLONG": 2}
    assert scan.unreadable_entries == 2  # a file and a directory
    assert scan.fraction == 1


# Entering


def test_directories_are_entered_before_they_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "d/b")

    def enter(path: str) -> bool:
        Path(path, "late").touch()
        return True

    rows = rows_of(Scan(str(tmp_path), enter=enter))
    assert {str(tmp_path / "late"), str(tmp_path / "d/late")} <= rows.keys()


def test_directories_that_are_not_entered_are_listed_without_content(tmp_path: Path) -> None:
    make(tmp_path, "proc/1/status", "a")
    scan = Scan(str(tmp_path), enter=lambda path: path != str(tmp_path / "proc"))
    assert sorted(rows_of(scan)) == [str(tmp_path / name) for name in ("", "a", "proc")]
    assert not scan.unreadable


def test_a_directory_that_cannot_be_entered_is_unreadable(tmp_path: Path) -> None:
    make(tmp_path, "closed/b", "gone/c", "open/d")

    def enter(path: str) -> bool:
        if path == str(tmp_path / "closed"):
            raise PermissionError(13, "Permission denied", path)
        if path == str(tmp_path / "gone"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return True

    scan = Scan(str(tmp_path), enter=enter)
    assert sorted(rows_of(scan)) == [str(tmp_path / name) for name in ("", "closed", "open", "open/d")]
    assert scan.unreadable == {str(tmp_path / "closed")}
    assert scan.errors == {"EACCES": 1}


def test_another_error_of_enter_ends_the_walk(tmp_path: Path) -> None:
    def enter(path: str) -> bool:
        raise LookupError(path)

    with pytest.raises(LookupError, match=str(tmp_path)):
        list(Scan(str(tmp_path), enter=enter))


# Selection


@settings(deadline=None, max_examples=50)
@given(trees, st.booleans())
def test_what_is_not_selected_is_not_there(tree: dict[bytes, object], typed: bool) -> None:
    class Odd(Selection):
        def within(self, directory: str) -> Callable[[str, bool], bool]:
            def selects(name: str, is_dir: bool) -> bool:
                path = os.path.join(directory, name)
                assert is_dir == (os.path.isdir(path) and not os.path.islink(path))
                return sum(os.fsencode(path)) % 3 > 0

            return selects

    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as monkeypatch:
        build(os.fsencode(root), tree)
        monkeypatch.chdir(root)
        if not typed:
            untyped(monkeypatch)
        odd = Odd()
        wanted = {
            path: row
            for path, row in disk(Path(root)).items()
            if all(
                sum(os.fsencode(below)) % 3 for below in prefixes(os.path.relpath(path, root)) if path != root
            )
        }
        entered: list[str] = []
        scan = Scan(root, enter=lambda path: not entered.append(path), selection=odd)
        assert rows_of(scan) == wanted
        assert sorted(entered) == sorted(path for path, row in wanted.items() if row["is_dir"])


def prefixes(path: str) -> list[str]:
    """`a/b/c` -> a, a/b, a/b/c."""
    names = path.split("/")
    return ["/".join(names[:n]) for n in range(1, len(names) + 1)]


# What fails


AS_NOBODY = """
import json, os, sys
from fusion.agent.scan import Scan
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
scan = Scan(".")
paths = [row["file_path"] for rows in scan for row in json.loads(b"[%b]" % rows.json)]
print(json.dumps([sorted(paths), sorted(scan.unreadable), scan.unreadable_entries, scan.errors]))
"""


def test_what_may_not_be_read_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    make(tmp_path, "closed/a", "only names/a", "only names/b", "only names/d/e", "no names/a", "open/a")
    modes = {"closed": 0o000, "only names": 0o444, "no names": 0o111, "open": 0o755, ".": 0o755}
    for name, mode in modes.items():
        (tmp_path / name).chmod(mode)
    try:
        printed = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(tmp_path)], stdout=subprocess.PIPE, check=True
        ).stdout
    finally:
        for name in modes:
            (tmp_path / name).chmod(0o755)
    paths, unreadable, entries, errors = json.loads(printed)
    assert paths == [".", "./closed", "./no names", "./only names", "./open", "./open/a"]
    assert unreadable == ["./closed", "./no names", "./only names/d"]
    assert (entries, errors) == (2, {"EACCES": 5})


@pytest.fixture
def shortage() -> Iterator[Shortage]:
    shortage = Shortage()
    yield shortage
    shortage.end()


class Shortage:
    """Takes all descriptors that the process may still open."""

    def __init__(self) -> None:
        self.begun = False
        self._taken: list[int] = []
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def begin(self) -> None:
        self.begun = True
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, self._limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                self._taken.append(os.dup(0))

    def end(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)
        while self._taken:
            os.close(self._taken.pop())


def test_no_descriptor_left_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: Shortage
) -> None:
    monkeypatch.setattr(scan_module, "DESCRIPTOR_PAUSE_SECONDS", 0.001)
    make(tmp_path, "d/b", "e/f")
    steps = iter([shortage.begin, shortage.end])

    def enter(path: str) -> bool:
        if path != str(tmp_path):
            next(steps, lambda: None)()
        return True

    scan = Scan(str(tmp_path), enter=enter, threads=1)
    assert rows_of(scan) == disk(tmp_path)
    assert not scan.errors and scan.fraction == 1


def test_no_descriptor_left_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: Shortage
) -> None:
    monkeypatch.setattr(scan_module, "DESCRIPTOR_PAUSE_SECONDS", 0.001)
    make(tmp_path, "a", "d/b")

    def enter(path: str) -> bool:
        if path == str(tmp_path / "d") and not shortage.begun:
            shortage.begin()
        return True

    scan = Scan(str(tmp_path), enter=enter)
    rows = rows_of(scan)
    shortage.end()
    assert sorted(rows) == [str(tmp_path), str(tmp_path / "a")]
    assert scan.unreadable == {str(tmp_path / "d")}
    assert scan.errors == {"EMFILE": 1}


def test_a_root_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    make(tmp_path, "file")
    for name in ("nothing", "file", "file/below"):
        scan = Scan(str(tmp_path / name))
        assert not rows_of(scan)
        assert not scan.errors and not scan.unreadable


# What changes meanwhile


def test_a_directory_that_vanishes_before_it_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "a/b", "c")

    def enter(path: str) -> bool:
        if path == str(tmp_path / "a"):
            os.remove(tmp_path / "a/b")
            os.rmdir(tmp_path / "a")
        return True

    scan = Scan(str(tmp_path), enter=enter)
    assert sorted(rows_of(scan)) == [str(tmp_path), str(tmp_path / "c")]
    assert not scan.unreadable and not scan.errors


@pytest.mark.parametrize("entered", ["a/b", "a"])
@pytest.mark.parametrize("enters", [True, False])
def test_a_directory_that_becomes_a_link_leads_nowhere(tmp_path: Path, entered: str, enters: bool) -> None:
    make(tmp_path, "outside/b/secret", "outside/secret", "root/a/b/c")
    root = tmp_path / "root"

    def enter(path: str) -> bool:
        if path == str(root / entered):
            (root / "a").rename(tmp_path / "away")
            (root / "a").symlink_to(tmp_path / "outside")
        return enters or path != str(root / entered)

    scan = Scan(str(root), enter=enter)
    assert not any("secret" in path or path == str(root / entered) for path in rows_of(scan))
    assert not scan.errors


@pytest.mark.usefixtures("types")
def test_a_tree_that_changes_all_the_time(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    make(root, *(f"d{i}/quiet/f{j}" for i in range(20) for j in range(20)))
    make(outside, *(f"secret/secret{i}" for i in range(20)))
    quiet = {path: row for path, row in disk(root).items() if "quiet" in path}
    stop = threading.Event()

    def change() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            at = root / f"d{step % 20}"
            make(at, "busy/a/b", "busy/c")
            (at / "busy/a").rename(at / "moved")
            (at / "busy/a").symlink_to(outside / "secret")
            (at / "moved/b").rename(at / "busy/b")
            (at / "busy").rename(at / "other")
            (at / "busy").symlink_to(outside)
            for path in ("busy", "other/a", "other/b", "other/c"):
                (at / path).unlink()
            for path in ("other", "moved"):
                (at / path).rmdir()

    changes = threading.Thread(target=change)
    changes.start()
    try:
        for _ in range(50):
            scan = Scan(str(root))
            rows = {row["file_path"]: row for row in all_rows(scan)}
            assert {path: row for path, row in rows.items() if "quiet" in path} == quiet
            assert not any("secret" in path for path in rows)
            assert not scan.errors and not scan.unreadable
    finally:
        stop.set()
        changes.join()


# Running


def test_the_fraction_grows_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BATCHES_AHEAD", 1)
    make(tmp_path, *(f"d{i}/e{j}/f{k}" for i in range(7) for j in range(7) for k in range(200)))
    scan = Scan(str(tmp_path), threads=1)
    assert scan.fraction == 0
    seen = [scan.fraction for _ in scan]
    assert seen == sorted(seen) and 0 < seen[0] < seen[3] < 1
    assert scan.fraction == 1


def test_threads_are_few_batches_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BATCHES_AHEAD", 1)
    make(tmp_path, *map(str, range(9000)))
    scan = Scan(str(tmp_path), threads=1)
    waits = threading.Event()
    wait = scan._more_room.wait

    def observed(timeout: float | None = None) -> bool:
        waits.set()
        return wait(timeout)

    monkeypatch.setattr(scan._more_room, "wait", observed)
    batches = iter(scan)
    assert next(batches).count == 1000
    assert waits.wait(STUCK_SECONDS)
    assert scan.nodes <= 7000
    assert sum(rows.count for rows in batches) == 8001


def threads_now() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("closed", ["scan", "iterator"])
def test_a_walk_that_ends_early_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.setattr(scan_module, "BATCHES_AHEAD", 1)
    make(tmp_path, *(f"d{i % 5}/{i}" for i in range(9000)))
    before, descriptors = threads_now(), os.listdir("/proc/self/fd")
    scan = Scan(str(tmp_path))
    batches = iter(scan)
    assert next(batches).count == 1000
    until(lambda: scan.nodes > 2000)  # more is ready
    if closed == "scan":
        scan.close()
    else:
        batches.close()  # type: ignore[attr-defined]
    assert next(batches, None) is None
    assert threads_now() <= before
    assert os.listdir("/proc/self/fd") == descriptors


def test_close_reaches_one_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "STOP_SECONDS", 0.01)
    gate, entered = threading.Event(), threading.Event()

    def enter(path: str) -> bool:
        entered.set()
        return gate.wait()

    before = threads_now()
    scan = Scan(str(tmp_path), enter=enter)
    found: list[Any] = []
    consumer = threading.Thread(target=lambda: found.extend([list(scan)]))
    consumer.start()
    entered.wait()
    scan.close()
    consumer.join()
    assert found == [[]]
    gate.set()
    until(lambda: threads_now() <= before)


# Reader


def test_a_reader_refuses_what_it_cannot_take(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_PATH)
    reader = Reader(root, os.fsencode(tmp_path))
    with pytest.raises(ValueError, match="at most 32 directories"):
        reader.begin([b""] * (DIRECTORIES + 1))
    for wrong in (None, "", bytearray()):
        with pytest.raises(TypeError):
            reader.begin([b"", wrong])  # type: ignore[list-item]
    assert reader.read().done == 0
    reader.begin([b"", b"nothing"])
    piece = reader.read()
    assert (piece.done, piece.count, piece.parents, piece.errors) == (2, 1, {}, {1: 2})
    os.close(root)


def test_another_error_of_a_selection_ends_the_walk(tmp_path: Path) -> None:
    make(tmp_path, "a")

    class Broken(Selection):
        def within(self, directory: str) -> Callable[[str, bool], bool]:
            def selects(name: str, is_dir: bool) -> bool:
                raise LookupError(name)

            return selects

    with pytest.raises(LookupError, match="a"):
        list(Scan(str(tmp_path), selection=Broken()))


# One path


def test_describe_tells_gone_from_unknown(tmp_path: Path) -> None:
    make(tmp_path, "a")
    assert describe(str(tmp_path / "nothing")) is None
    assert describe(str(tmp_path / "a/below a file")) is None
    with pytest.raises(OSError):
        describe(str(tmp_path / ("x" * 300)))


def test_pseudo_mounts(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(
        b"22 1 0:21 / /proc rw - proc proc rw\n"
        b"23 1 0:22 / /a\\040b\\134c ro,x shared:7 - sysfs none rw\n"
        b"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"25 1 0:23 / /hidden rw - proc proc rw\n"
        b"26 1 8:2 / /hidden rw - ext4 /dev/sdb1 rw\n"
        b"nonsense\n"
    )
    assert pseudo_mounts(str(file)) == {"/proc", "/a b\\c"}
    assert pseudo_mounts(str(tmp_path / "none")) == frozenset()
