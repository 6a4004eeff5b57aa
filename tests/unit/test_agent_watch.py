"""Changes told by the kernel."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_fusion import until
from inotify_simple import INotify

from fusion.agent import watch as watch_module
from fusion.agent.watch import Changes, Look, Watcher, WatchUnavailable

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


def names(changes: Changes, root: Path) -> dict[str, Look]:
    return {os.path.relpath(path, root): look for path, look in changes.paths.items()}


def test_nothing_changed(watcher: Watcher) -> None:
    assert watcher.read() == Changes()


def test_a_change_of_an_entry_tells_its_directory_too(watcher: Watcher, root: Path) -> None:
    (root / "d/new").touch()
    assert names(watcher.read(), root) == {"d/new": Look.ENTRY, "d": Look.ENTRY}
    os.remove(root / "d/new")
    assert names(watcher.read(), root) == {"d/new": Look.ENTRY, "d": Look.ENTRY}


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
    assert names(watcher.read(), root) == {"f": Look.ENTRY}


def test_a_directory_that_appears_must_be_scanned(watcher: Watcher, root: Path) -> None:
    (root / "new").mkdir()
    (root / "d").rename(root / "new/moved")
    assert names(watcher.read(), root) == {"new": Look.WHOLE, ".": Look.ENTRY, "d": Look.WHOLE}
    watcher.add(str(root / "new"))
    watcher.add(str(root / "new/moved"))
    (root / "new/moved").rename(root / "back")
    assert names(watcher.read(), root) == {
        "new/moved": Look.WHOLE,
        "new": Look.ENTRY,
        "back": Look.WHOLE,
        ".": Look.ENTRY,
    }


def test_a_renamed_directory_keeps_its_watches(watcher: Watcher, root: Path) -> None:
    (root / "d/below").mkdir()
    watcher.add(str(root / "d/below"))
    (root / "d").rename(root / "e")
    (root / "e").rename(root / "f2")
    assert names(watcher.read(), root) == {
        "d/below": Look.WHOLE,
        "d": Look.WHOLE,
        "e": Look.WHOLE,
        "f2": Look.WHOLE,
        ".": Look.ENTRY,
    }
    (root / "f2/below/x").touch()
    assert names(watcher.read(), root) == {"f2/below/x": Look.ENTRY, "f2/below": Look.ENTRY}


def test_both_sides_of_a_rename_may_come_with_different_reads(
    watcher: Watcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = INotify.read
    (root / "d/below").mkdir()
    watcher.read()
    watcher.add(str(root / "d/below"))
    (root / "d").rename(root / "e")
    events = read(watcher._inotify, timeout=0)
    seen = []
    for event in events:
        monkeypatch.setattr(INotify, "read", lambda self, timeout, event=event: [event])
        seen.append(names(watcher.read(), root))
    assert seen == [{"d": Look.WHOLE, ".": Look.ENTRY}, {"e": Look.WHOLE, ".": Look.ENTRY}]
    monkeypatch.setattr(INotify, "read", read)
    (root / "e/below/x").touch()
    assert names(watcher.read(), root) == {"e/below/x": Look.ENTRY, "e/below": Look.ENTRY}


def test_what_left_the_tree_is_not_watched_any_more(
    watcher: Watcher, root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d/below").mkdir()
    watcher.add(str(root / "d/below"))
    outside = tmp_path_factory.mktemp("outside") / "d"
    kernel = Path(f"/proc/self/fdinfo/{watcher.fileno()}")
    assert kernel.read_text().count("inotify wd:") == 3
    (root / "d").rename(outside)
    assert names(watcher.read(), root)["d"] is Look.WHOLE
    monkeypatch.setattr(watch_module, "_RENAME_SECONDS", 0.0)
    watcher.read()
    assert kernel.read_text().count("inotify wd:") == 1
    (outside / "below/x").touch()
    assert watcher.read() == Changes()
    outside.rename(root / "d")
    assert names(watcher.read(), root) == {"d": Look.WHOLE, ".": Look.ENTRY}


def test_another_directory_at_the_old_place_of_one_that_moved(watcher: Watcher, root: Path) -> None:
    """Both are watched before the renames are read, as a scan may do."""
    (root / "d").rename(root / "e")
    (root / "d").mkdir()
    for name in ("d", "e"):
        watcher.add(str(root / name))
    changes = names(watcher.read(), root)
    assert changes == {"d": Look.WHOLE, "e": Look.WHOLE, ".": Look.ENTRY}
    for name in changes:
        watcher.add(str(root / name))
    (root / "d/x").touch()
    (root / "e/y").touch()
    assert names(watcher.read(), root) == {
        "d/x": Look.ENTRY,
        "d": Look.ENTRY,
        "e/y": Look.ENTRY,
        "e": Look.ENTRY,
    }


def test_a_moved_directory_that_is_added_before_its_move_is_read(watcher: Watcher, root: Path) -> None:
    (root / "d").rename(root / "e")
    watcher.add(str(root / "e"))
    assert names(watcher.read(), root) == {"d": Look.WHOLE, "e": Look.WHOLE, ".": Look.ENTRY}
    (root / "e/y").touch()
    assert names(watcher.read(), root) == {"e/y": Look.ENTRY, "e": Look.ENTRY}


def test_names_that_are_not_utf8(watcher: Watcher, root: Path) -> None:
    name = os.fsdecode(b"caf\xe9\xff")
    (root / name).touch()
    assert names(watcher.read(), root) == {name: Look.ENTRY, ".": Look.ENTRY}
    (root / "g").touch()
    assert names(watcher.read(), root) == {"g": Look.ENTRY, ".": Look.ENTRY}


def test_a_directory_that_comes_again_under_its_name(watcher: Watcher, root: Path) -> None:
    (root / "d").rmdir()
    (root / "d").mkdir()
    assert watcher.read().paths[str(root / "d")]
    watcher.add(str(root / "d"))
    (root / "d/x").touch()
    assert names(watcher.read(), root) == {"d/x": Look.ENTRY, "d": Look.ENTRY}


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
    assert names(watcher.read(), root) == {"link/x": Look.ENTRY, "link": Look.ENTRY}
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
