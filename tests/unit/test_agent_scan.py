"""The walk that turns a directory tree into rows."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_fusion import disk

from fusion.agent import scan as scan_module
from fusion.agent.scan import Row, Rows, Scan, describe, pseudo_mounts


def decoded(batch: Rows) -> list[Row]:
    rows: list[Row] = json.loads(b"[" + batch.json + b"]")
    assert len(rows) == batch.count
    return rows


def rows_of(scan: Scan) -> dict[str, Row]:
    rows = [row for batch in scan for row in decoded(batch)]
    by_path = {row["file_path"]: row for row in rows}
    assert len(by_path) == len(rows) == scan.nodes
    return by_path


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def test_every_entry_is_one_row(tmp_path: Path) -> None:
    make(tmp_path, "a", "d/b", "d/e/c", "d/ü\n\"'")
    (tmp_path / "empty").mkdir()
    assert rows_of(Scan(str(tmp_path))) == disk(tmp_path)


def test_children_come_before_their_directory_and_the_root_last(tmp_path: Path) -> None:
    make(tmp_path, "d/b", "d/e/c", "d/e/f/g", "h/i")
    order = [row["file_path"] for batch in Scan(str(tmp_path)) for row in decoded(batch)]
    assert order[-1] == str(tmp_path)
    for place, path in enumerate(order):
        assert not any(later.startswith(path + "/") for later in order[place + 1 :])


def test_batches_hold_at_most_a_thousand_rows(tmp_path: Path) -> None:
    make(tmp_path, *(f"d{i % 3}/{i}" for i in range(2500)))
    batches = list(Scan(str(tmp_path)))
    assert [batch.count for batch in batches[:-1]] == [1000, 1000]
    assert sum(batch.count for batch in batches) == 2504


def test_batches_of_long_paths_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "PATH_CHARACTERS_PER_BATCH", 1000)
    make(tmp_path, *(f"{i:0200}" for i in range(20)))
    batches = [decoded(batch) for batch in Scan(str(tmp_path))]
    assert all(sum(len(row["file_path"]) for row in batch) < 1300 for batch in batches)


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


def test_sockets_and_pipes_are_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert rows_of(Scan(str(tmp_path))) == disk(tmp_path)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfed")).mkdir()
    make(tmp_path, os.fsdecode(b"\xff\xfed/caf\xe9"))
    assert rows_of(Scan(str(tmp_path))) == disk(tmp_path)


def test_directories_are_entered_before_they_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "d/b")

    def enter(path: str) -> bool:
        Path(path, "late").touch()
        return True

    rows = rows_of(Scan(str(tmp_path), enter=enter))
    assert {str(tmp_path / "late"), str(tmp_path / "d/late")} <= rows.keys()


def test_what_cannot_be_listed_is_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "closed/b", "open/c")
    closed = str(tmp_path / "closed")
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if path == closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    scan = Scan(str(tmp_path))
    rows = rows_of(scan)
    assert scan.unreadable == {closed}
    assert closed in rows and str(tmp_path / "open/c") in rows
    assert len(rows) == 4


class Entry:
    """A directory entry whose `stat` fails."""

    def __init__(self, path: str, error: OSError) -> None:
        self.path = path
        self._error = error

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise self._error


class Entries(list[Any]):
    def __enter__(self) -> "Entries":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_an_entry_that_vanishes_is_left_out_and_one_that_fails_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = Entries([Entry("gone", FileNotFoundError()), Entry("broken", OSError(5, "I/O error"))])
    monkeypatch.setattr(os, "scandir", lambda path: entries)
    scan = Scan(str(tmp_path))
    assert list(rows_of(scan)) == [str(tmp_path)]
    assert scan.unreadable_entries == 1


def test_a_directory_that_vanishes_before_it_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "a/b", "c")

    def enter(path: str) -> bool:
        if path == str(tmp_path / "a"):
            os.remove(tmp_path / "a/b")
            os.rmdir(tmp_path / "a")
        return True

    scan = Scan(str(tmp_path), enter=enter)
    assert sorted(rows_of(scan)) == [str(tmp_path), str(tmp_path / "c")]
    assert not scan.unreadable


def test_a_root_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert not rows_of(Scan(str(tmp_path / "nothing")))


def test_directories_that_are_not_entered_are_listed_without_content(tmp_path: Path) -> None:
    make(tmp_path, "proc/1/status", "a")
    scan = Scan(str(tmp_path), enter=lambda path: path != str(tmp_path / "proc"))
    assert sorted(rows_of(scan)) == [str(tmp_path / name) for name in ("", "a", "proc")]


def test_the_fraction_grows_to_one(tmp_path: Path) -> None:
    make(tmp_path, *(f"d{i}/e{j}/f{k}" for i in range(5) for j in range(5) for k in range(100)))
    scan = Scan(str(tmp_path))
    seen = [scan.fraction for _ in scan]
    assert seen == sorted(seen) and 0 < seen[0] < 1
    assert scan.fraction == 1


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
