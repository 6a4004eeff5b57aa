"""Reads a directory tree into rows of the wire format.

Every directory entry becomes one row with what `lstat` says of it: a symbolic link is a file node of its own,
is never followed, and a link that points nowhere is listed like any other entry. So each entry appears once,
loops cannot happen, and what is shown is what a watcher on the tree can keep true (a link's target may change
far away, unseen). Sockets, pipes and devices are file nodes too.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

from .selection import Selection
from .wire import joined

ROWS_PER_BATCH = 1000
PATH_CHARACTERS_PER_BATCH = 1 << 20  # keeps a batch of very long paths well under a server's body limit

# What these hold is made up by the kernel while it is read, and has no changes to follow.
PSEUDO_FILE_SYSTEMS = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs"})
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Row(TypedDict):
    """One node: `size` in bytes, times in seconds since the epoch (`created_time` is st_ctime)."""

    file_path: str
    size: int
    modified_time: float
    created_time: float
    is_dir: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch: how many rows, and the encoded row objects with commas between them, without brackets."""

    count: int
    json: bytes


def describe(path: str, *, follow: bool = False) -> Row | None:
    """The row of one path as it is now, or None when nothing is there; other failures raise OSError."""
    try:
        status = os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return {
        "file_path": path,
        "size": status.st_size,
        "modified_time": status.st_mtime,
        "created_time": status.st_ctime,
        "is_dir": stat.S_ISDIR(status.st_mode),
    }


def pseudo_mounts(mountinfo: str = "/proc/self/mountinfo") -> frozenset[str]:
    """Mount points of file systems without lasting files; empty where the system does not tell."""
    try:
        with open(mountinfo, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return frozenset()
    types: dict[str, str] = {}  # a later mount hides an earlier one at the same place
    for line in lines:
        mount, separator, source = line.partition(b" - ")
        if separator:
            point = _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), mount.split(b" ")[4])
            types[os.fsdecode(point)] = os.fsdecode(source.split(b" ", 1)[0])
    return frozenset(point for point, kind in types.items() if kind in PSEUDO_FILE_SYSTEMS)


class Scan:
    """One walk over a tree: yields batches of at most ROWS_PER_BATCH rows, children before parents.

    `enter(path)` is called before a directory is listed, so that a watch set there misses nothing; when it
    returns False, the content is left out. What vanishes meanwhile is left out; what cannot be read is
    counted, and the walk goes on. The attributes may be read from any thread while the walk runs in another.
    """

    def __init__(
        self,
        root: str,
        *,
        enter: Callable[[str], bool] = lambda path: True,
        selection: Selection | None = None,
    ) -> None:
        self.root = root
        self.nodes = 0  # rows yielded or about to be
        self.fraction = 0.0  # of the tree, estimated: a directory shares its part with its subdirectories
        self.unreadable: set[str] = set()  # directories that could not be listed
        self.unreadable_entries = 0  # entries of listed directories that could not be looked at
        self._enter = enter
        self._selection = selection

    def __iter__(self) -> Iterator[Rows]:
        for rows in self._batches():
            yield Rows(len(rows), joined(rows))

    def _batches(self) -> Iterator[list[Row]]:
        rows: list[Row] = []
        characters = 0
        # A directory is pushed twice: to be listed, and below its subdirectories to be described after them.
        pending: list[tuple[str, float, bool]] = [(self.root, 1.0, False)]
        while pending:
            path, share, listed = pending.pop()
            if listed:
                row = self._directory(path)
                if row is not None:
                    rows.append(row)
                    characters += len(path)
                    self.nodes += 1
            else:
                pending.append((path, 0.0, True))
                subdirectories: list[str] = []
                for row in self._files(path, subdirectories):
                    rows.append(row)
                    characters += len(row["file_path"])
                    self.nodes += 1
                    if len(rows) >= ROWS_PER_BATCH or characters >= PATH_CHARACTERS_PER_BATCH:
                        yield rows
                        rows, characters = [], 0
                share /= len(subdirectories) + 1
                self.fraction += share
                pending.extend((subdirectory, share, False) for subdirectory in reversed(subdirectories))
            if len(rows) >= ROWS_PER_BATCH or characters >= PATH_CHARACTERS_PER_BATCH:
                yield rows
                rows, characters = [], 0
        self.fraction = 1.0
        if rows:
            yield rows

    def _directory(self, path: str) -> Row | None:
        try:
            row = describe(path, follow=path == self.root)
        except OSError:
            self.unreadable_entries += 1
            return None
        # No longer a directory: the change that made it so is the watcher's to tell.
        return row if row is not None and row["is_dir"] else None

    def _files(self, path: str, subdirectories: list[str]) -> Iterator[Row]:
        """Rows of the entries of one directory that are no directories; the others go to `subdirectories`."""
        try:
            if not self._enter(path):
                return
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        is_dir = entry.is_dir(follow_symlinks=False)
                        below = os.path.relpath(entry.path, self.root)
                        if self._selection is not None and not self._selection.selects(below, is_dir):
                            continue
                        if is_dir:
                            subdirectories.append(entry.path)
                            continue
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    except OSError:
                        self.unreadable_entries += 1
                        continue
                    yield {
                        "file_path": entry.path,
                        "size": status.st_size,
                        "modified_time": status.st_mtime,
                        "created_time": status.st_ctime,
                        "is_dir": False,
                    }
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            self.unreadable.add(path)
