"""Changes told by the kernel."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_fusion import until

from fusion.agent.watch import Changes, Watcher, WatchUnavailable

MAX_QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    return tmp_path


@pytest.fixture
def watcher(root: Path) -> Iterator[Watcher]:
    watcher = Watcher(str(root))
    watcher.add(str(root))
    watcher.add(str(root / "d"))
    yield watcher
    watcher.close()


def names(changes: Changes, root: Path) -> dict[str, bool]:
    return {os.path.relpath(path, root): appeared for path, appeared in changes.paths.items()}


def test_nothing_changed(watcher: Watcher) -> None:
    assert watcher.read() == Changes()


def test_a_change_of_an_entry_tells_its_directory_too(watcher: Watcher, root: Path) -> None:
    (root / "d/new").touch()
    assert names(watcher.read(), root) == {"d/new": False, "d": False}
    os.remove(root / "d/new")
    assert names(watcher.read(), root) == {"d/new": False, "d": False}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("x"),
        lambda path: path.chmod(0o600),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.truncate(path, 10),
    ],
    ids=["write", "chmod", "utime", "truncate"],
)
def test_a_change_of_a_file(watcher: Watcher, root: Path, change: object) -> None:
    assert callable(change)
    change(root / "f")
    assert names(watcher.read(), root) == {"f": False}


def test_a_directory_that_appears_must_be_scanned(watcher: Watcher, root: Path) -> None:
    (root / "new").mkdir()
    (root / "d").rename(root / "new/moved")
    assert names(watcher.read(), root) == {"new": True, ".": False, "d": True}
    watcher.add(str(root / "new"))
    watcher.add(str(root / "new/moved"))
    (root / "new/moved").rename(root / "back")
    assert names(watcher.read(), root) == {"new/moved": True, "new": False, "back": True, ".": False}


def test_a_directory_is_new_unless_it_was_watched_all_the_time(watcher: Watcher, root: Path) -> None:
    assert not watcher.add(str(root / "d"))
    (root / "d").rename(root / "e")
    assert watcher.add(str(root / "e"))
    assert not watcher.add(str(root / "e"))
    watcher.read()
    (root / "e").rename(root / "f2")
    (root / "f2").rename(root / "e")
    assert names(watcher.read(), root) == {"e": True, "f2": True, ".": False}
    assert watcher.add(str(root / "e"))
    (root / "e").rmdir()
    (root / "e").mkdir()
    assert watcher.add(str(root / "e"))


def test_where_a_directory_went_its_watch_is_new(watcher: Watcher, root: Path) -> None:
    (root / "d/below").mkdir()
    watcher.add(str(root / "d/below"))
    (root / "d").rename(root / "e")
    watcher.read()
    (root / "e/x").touch()
    (root / "e/below/x").touch()
    assert watcher.read() == Changes()
    watcher.add(str(root / "e"))
    (root / "e/y").touch()
    assert names(watcher.read(), root) == {"e/y": False, "e": False}


def test_a_moved_directory_that_is_added_before_its_move_is_read(watcher: Watcher, root: Path) -> None:
    (root / "d").rename(root / "e")
    watcher.add(str(root / "e"))
    assert names(watcher.read(), root) == {"d": True, "e": True, ".": False}
    (root / "e/y").touch()
    assert names(watcher.read(), root) == {"e/y": False, "e": False}


def test_names_that_are_not_utf8(watcher: Watcher, root: Path) -> None:
    name = os.fsdecode(b"caf\xe9\xff")
    (root / name).touch()
    assert names(watcher.read(), root) == {name: False, ".": False}
    (root / "g").touch()
    assert names(watcher.read(), root) == {"g": False, ".": False}


def test_a_directory_that_comes_again_under_its_name(watcher: Watcher, root: Path) -> None:
    (root / "d").rmdir()
    (root / "d").mkdir()
    assert watcher.read().paths[str(root / "d")]
    watcher.add(str(root / "d"))
    (root / "d/x").touch()
    assert names(watcher.read(), root) == {"d/x": False, "d": False}


@pytest.mark.parametrize("change", [shutil.rmtree, lambda root: root.rename(root.parent / "elsewhere")])
def test_the_root_is_lost(tmp_path: Path, change: object) -> None:
    root = tmp_path / "root"
    root.mkdir()
    watcher = Watcher(str(root))
    watcher.add(str(root))
    assert callable(change)
    change(root)
    assert watcher.read().root_lost
    watcher.close()


def test_the_root_may_be_a_link_other_directories_may_not(root: Path) -> None:
    (root / "link").symlink_to("d")
    watcher = Watcher(str(root / "link"))
    watcher.add(str(root / "link"))
    (root / "d/x").touch()
    assert names(watcher.read(), root) == {"link/x": False, "link": False}
    watcher.close()
    watcher = Watcher(str(root))
    with pytest.raises(NotADirectoryError):
        watcher.add(str(root / "link"))
    watcher.close()


def test_what_cannot_be_watched_is_an_error(watcher: Watcher, root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        watcher.add(str(root / "none"))
    with pytest.raises(NotADirectoryError):
        watcher.add(str(root / "f"))


def test_overflow_is_told(watcher: Watcher, root: Path) -> None:
    limit = int(MAX_QUEUED_EVENTS.read_text())
    for number in range(limit // 2 + 2):  # two kinds of change each, which the kernel does not merge
        os.close(os.open(root / f"{number % 100}", os.O_CREAT | os.O_WRONLY))
        os.remove(root / f"{number % 100}")
    assert until(lambda: watcher.read().overflow)


def test_the_limit_of_watches(watcher: Watcher, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("inotify_simple.INotify.add_watch", full)
    watcher.add(str(root))
    assert watcher.limited


def test_systems_without_inotify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("inotify_simple._libc", object())
    with pytest.raises(WatchUnavailable, match="no inotify"):
        Watcher(str(tmp_path))


def test_too_many_watchers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("inotify_simple._libc_call", refused)
    with pytest.raises(WatchUnavailable, match="max_user_instances"):
        Watcher(str(tmp_path))


def test_after_close_adding_does_nothing(root: Path) -> None:
    watcher = Watcher(str(root))
    watcher.close()
    watcher.add(str(root))
    watcher.close()
