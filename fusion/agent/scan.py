"""Reads a directory tree into rows of the wire format, as JSON.

Every directory entry becomes one row with what `lstat` says of it: a symbolic link is a file node of its own,
is never followed, and a link that points nowhere is listed like any other entry. So each entry appears once,
loops cannot happen, and what is shown is what a watcher on the tree can keep true (a link's target may change
far away, unseen). Sockets, pipes and devices are file nodes too.
"""

import errno
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypedDict

from ._scan import DIRECTORIES, Piece, Reader
from .selection import Selection

ROWS_PER_BATCH = 1000
PATH_BYTES_PER_BATCH = 1 << 20  # keeps a batch of very long paths well under a server's body limit
BATCHES_AHEAD = 8  # read at most, before one is taken
THREADS = min(4, len(os.sched_getaffinity(0)))
STOP_SECONDS = 1.0  # of patience with threads that the file system does not let go
DESCRIPTOR_TRIES = 100  # to open directories while the process has no descriptor left
DESCRIPTOR_PAUSE_SECONDS = 0.05

# Errors of a path that leads to no directory any more: what is there now is the watcher's to tell.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})

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


class Rows(NamedTuple):
    """Rows of one batch: how many, and their JSON objects separated by commas, without brackets."""

    count: int  # type: ignore[assignment]  # not the tuple's method
    json: bytes


class _Directory:
    """A directory whose subdirectories are not all done."""

    __slots__ = ("below", "names", "parent", "row", "share", "unfinished")

    def __init__(self, below: bytes, parent: "_Directory | None", row: bytes, names: list[bytes]) -> None:
        self.below = below  # its path below the root, empty for the root itself
        self.parent = parent
        self.row = row
        self.names = names  # of subdirectories that no thread has taken
        self.unfinished = len(names)
        self.share = 0.0  # of the tree, estimated, that each subdirectory is


_Task = tuple[_Directory, bytes]  # a directory to list: the one above it, its path below the root


class Scan:
    """One walk over a tree: yields Rows of at most ROWS_PER_BATCH rows, children before parents.

    Threads of its own read directories without the GIL, a few batches ahead of who iterates. They call
    `enter(path)` before a directory is listed, so that a watch set there misses nothing; when it returns
    False or raises OSError, the content is left out. `selection` is asked for paths below the root; what
    it does not select is as good as not there. What vanishes meanwhile is left out; what cannot be read is
    counted, and the walk goes on. It is iterated over once, and ends early by `close` or when the iterator
    is left. The attributes may be read from any thread.
    """

    def __init__(
        self,
        root: str,
        *,
        enter: Callable[[str], bool] | None = None,
        selection: Selection | None = None,
        threads: int | None = None,
    ) -> None:
        self.root = root
        self.nodes = 0  # rows yielded or about to be
        self.fraction = 0.0  # of the tree, estimated: a directory shares its part with its subdirectories
        self.unreadable: set[str] = set()  # directories that could not be listed, or not to their end
        self.unreadable_entries = 0  # entries of listed directories that could not be looked at
        self.errors: dict[str, int] = {}  # how often by name of the errno, such as EACCES
        self._enter = enter
        self._within: Callable[[bytes], Callable[[str, bool], bool]] | None = None
        if selection is not None:
            within = selection.within
            self._within = lambda below: within(os.fsdecode(below))
        if threads is None:
            threads = THREADS if selection is None else 1  # Python is asked for every name: one at a time
        self._threads = [
            threading.Thread(target=self._work, name="fusion-scan", daemon=True) for _ in range(threads)
        ]
        self._root = -1  # its descriptor
        self._lock = threading.Lock()  # of the attributes above and of all below
        self._more_directories = threading.Condition(self._lock)
        self._more_rows = threading.Condition(self._lock)
        self._more_room = threading.Condition(self._lock)
        above = _Directory(b"", None, b"", [b""])
        above.share = 1.0
        self._directories = [above]  # with subdirectories to list, the deepest last
        self._waiting = 1  # how many subdirectories these are
        self._batches: deque[Rows] = deque()
        self._parts: list[bytes] = []  # of the batch that is being filled
        self._count = 0
        self._path_bytes = 0
        self._patience = DESCRIPTOR_TRIES
        self._running = 0
        self._ended = threading.Event()
        self._error: BaseException | None = None  # what a thread died of

    def __iter__(self) -> Iterator[Rows]:
        try:
            self._start()
            while (rows := self._next_rows()) is not None:
                yield rows
        finally:
            self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Ends the walk from any thread; an iterator that waits ends as well."""
        with self._lock:
            self._batches.clear()
            self._end()
        patience = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, patience - time.monotonic()))

    def _start(self) -> None:
        try:
            self._root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            with self._lock:
                if error.errno not in _GONE:
                    self._fail(self.root, error.errno or 0)
                self._end()
            return
        self._running = waiting = len(self._threads)
        try:
            for thread in self._threads:
                thread.start()
                waiting -= 1
        finally:
            self._leave(waiting)

    def _next_rows(self) -> Rows | None:
        with self._lock:
            while not self._batches:
                if self._ended.is_set():
                    return None
                self._more_rows.wait()
            self._more_room.notify_all()
            return self._batches.popleft()

    # What each thread does

    def _work(self) -> None:
        try:
            reader = Reader(self._root, os.fsencode(self.root))
            while tasks := self._next_tasks():
                self._list(tasks, reader)
        except BaseException as error:
            with self._lock:
                self._error = error
                self._end()
        finally:
            self._leave(1)

    def _leave(self, threads: int) -> None:
        """The last thread closes the root; one that the file system holds may outlive `close`."""
        with self._lock:
            self._running -= threads
            if threads and not self._running:
                os.close(self._root)

    def _next_tasks(self) -> list[_Task]:
        """Waits for directories to list; none when the walk has ended."""
        with self._lock:
            while not self._waiting and not self._ended.is_set():
                self._more_directories.wait()
            tasks: list[_Task] = []
            if self._ended.is_set():
                return tasks
            # Few at a time while few wait: there is no telling how much each of them holds.
            count = max(1, min(DIRECTORIES, self._waiting // (4 * len(self._threads))))
            self._waiting -= count
            while len(tasks) < count:
                above = self._directories[-1]
                if not above.names:
                    self._directories.pop()
                    continue
                name = above.names.pop()
                tasks.append((above, above.below + b"/" + name if above.below else name))
            return tasks

    def _list(self, tasks: list[_Task], reader: Reader) -> None:
        skipped: set[int] = set()
        if self._enter is not None:
            tasks, skipped = self._enter_all(self._enter, tasks)
        reader.begin([below for _, below in tasks], skipped)
        done = 0
        while done < len(tasks):
            piece = reader.read(self._within)
            with self._lock:
                while len(self._batches) >= BATCHES_AHEAD and not self._ended.is_set():
                    self._more_room.wait()
                if self._ended.is_set():
                    return
                self._take(piece, tasks, done)
            done = piece.done
            if not _NO_DESCRIPTOR.isdisjoint(piece.errors.values()):
                self._ended.wait(DESCRIPTOR_PAUSE_SECONDS)

    def _enter_all(self, enter: Callable[[str], bool], tasks: list[_Task]) -> tuple[list[_Task], set[int]]:
        """The directories that are there, and the numbers of those whose content is left out."""
        found: list[_Task] = []
        skipped: set[int] = set()
        for above, below in tasks:
            path = self._path(below)
            try:
                enters = enter(path)
            except OSError as error:
                enters = False
                with self._lock:
                    if error.errno in _GONE:
                        self._finish(above)
                        continue
                    self._fail(path, error.errno or 0)
            if not enters:
                skipped.add(len(found))
            found.append((above, below))
        return found, skipped

    def _path(self, below: bytes) -> str:
        return os.path.join(self.root, os.fsdecode(below)) if below else self.root

    # With the lock held

    def _take(self, piece: Piece, tasks: list[_Task], done: int) -> None:
        """Takes over what a piece brought, for the directories from the number `done` on."""
        if piece.count:
            self._add(piece.json, piece.count, piece.path_bytes, piece.ends)
        for number, count in piece.failures.items():
            self.unreadable_entries += count
            self._count_error(number, count)
        for i in range(done, piece.done):
            above, below = tasks[i]
            error = piece.errors.get(i, 0)
            if error in _NO_DESCRIPTOR and self._patience:
                self._patience -= 1
                self._put_back(above, below)
                continue
            if error and error not in _GONE:
                self._fail(self._path(below), error)
            if i in piece.parents:
                row, names = piece.parents[i]
                self._divide(_Directory(below, above, row, names))
            else:
                self._finish(above)

    def _divide(self, directory: _Directory) -> None:
        """A directory that is listed has subdirectories for any thread to list."""
        assert directory.parent is not None
        directory.share = directory.parent.share / (len(directory.names) + 1)
        self.fraction = min(1.0, self.fraction + directory.share)
        self._directories.append(directory)
        self._waiting += directory.unfinished
        self._more_directories.notify(directory.unfinished)

    def _put_back(self, above: _Directory, below: bytes) -> None:
        """A directory has to be listed once more."""
        above.names.append(below.rpartition(b"/")[2])
        self._directories.append(above)
        self._waiting += 1

    def _finish(self, directory: _Directory) -> None:
        """One of its subdirectories is done, perhaps the last one."""
        self.fraction = min(1.0, self.fraction + directory.share)
        done: _Directory | None = directory
        while done is not None:
            done.unfinished -= 1
            if done.unfinished:
                return
            if done.row:
                self._add(done.row, 1, len(self.root) + 1 + len(done.below), b"")
            done = done.parent
        self._flush()
        self.fraction = 1.0
        self._end()

    def _add(self, json: bytes, count: int, path_bytes: int, ends: bytes) -> None:
        """Adds rows to batches; `ends` tells where each ends, so that several can be divided."""
        self.nodes += count
        mean = path_bytes // count + 1
        done = start = 0
        while done < count:
            room = min(ROWS_PER_BATCH - self._count, (PATH_BYTES_PER_BATCH - self._path_bytes) // mean + 1)
            some = min(room, count - done)
            end = len(json) if done + some == count else memoryview(ends).cast("I")[done + some - 1]
            self._parts.append(json[start:end])
            self._count += some
            self._path_bytes += some * mean
            if self._count >= ROWS_PER_BATCH or self._path_bytes >= PATH_BYTES_PER_BATCH:
                self._flush()
            done += some
            start = end + 1

    def _flush(self) -> None:
        if self._parts:
            self._batches.append(Rows(self._count, b",".join(self._parts)))
            self._parts = []
            self._count = self._path_bytes = 0
            self._more_rows.notify()

    def _fail(self, path: str, number: int) -> None:
        self.unreadable.add(path)
        self._count_error(number)

    def _count_error(self, number: int, count: int = 1) -> None:
        name = errno.errorcode.get(number, str(number))
        self.errors[name] = self.errors.get(name, 0) + count

    def _end(self) -> None:
        self._ended.set()
        self._more_directories.notify_all()
        self._more_rows.notify_all()
        self._more_room.notify_all()
