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
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from ._scan import Piece, Reader

if TYPE_CHECKING:  # its library takes longer to load than many a scan needs
    from .selection import Selection

ROWS_PER_BATCH = 1000
PATH_BYTES_PER_BATCH = 1 << 20  # keeps a batch of very long paths well under a server's body limit
BATCHES_AHEAD = 8  # read at most, before one is taken
THREADS = 4  # more than processors: on a cold cache they wait for the disk
STOP_SECONDS = 1.0  # of patience with threads that the file system does not let go
DESCRIPTOR_TRIES = 20  # while the process has no descriptor left
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

    count: int
    json: bytes


class _Directory:
    """A directory that is not done; `below` is its path below the root, empty for the root itself."""

    __slots__ = ("below", "names", "parent", "row", "share", "unfinished")

    def __init__(self, below: bytes, parent: "_Directory | None", share: float) -> None:
        self.below = below
        self.parent = parent
        self.share = share  # of the tree, estimated; once it is listed, that of each subdirectory
        self.row = b""
        self.names: list[bytes] = []  # of subdirectories that no thread has taken
        self.unfinished = 1  # subdirectories, and one more until it is listed


class Scan:
    """One walk over a tree: yields Rows of at most ROWS_PER_BATCH rows, children before parents.

    Threads of its own read directories without the GIL, a few batches ahead of who iterates. They call
    `enter(path)` before a directory is listed, so that a watch set there misses nothing; when it returns False or
    raises OSError, the content is left out. What vanishes meanwhile is left out; what cannot be read is counted,
    and the walk goes on. It ends early by `close`, or when the iterator is left. The attributes may be read from
    any thread.

    `selection` is asked for paths below the root; what it does not select is as good as not there.
    """

    def __init__(
        self,
        root: str,
        *,
        enter: Callable[[str], bool] = lambda path: True,
        selection: "Selection | None" = None,
        threads: int = THREADS,
    ) -> None:
        self.root = root
        self.nodes = 0  # rows yielded or about to be
        self.fraction = 0.0  # of the tree, estimated: a directory shares its part with its subdirectories
        self.unreadable: set[str] = set()  # directories that could not be listed, or not to their end
        self.unreadable_entries = 0  # entries of listed directories that could not be looked at
        self.errors: dict[str, int] = {}  # how often by name of the errno, such as EACCES
        self._enter = enter
        self._selection = selection
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        self._root = -1  # its descriptor
        self._lock = threading.Lock()  # of the attributes above and of all below
        self._more_directories = threading.Condition(self._lock)
        self._more_rows = threading.Condition(self._lock)
        self._more_room = threading.Condition(self._lock)
        above = _Directory(b"", None, 1.0)
        above.names = [b""]
        self._directories = [above]  # with subdirectories to list, the deepest last
        self._batches: deque[Rows] = deque()
        self._parts: list[bytes] = []  # of the batch that is being filled
        self._count = 0
        self._path_bytes = 0
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
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_SECONDS)

    def _start(self) -> None:
        try:
            self._root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            with self._lock:
                self._fail(self.root, error)
                self._end()
            return
        for thread in self._threads:
            with self._lock:
                self._running += 1
            thread.start()

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
            while (directory := self._next_directory()) is not None:
                self._list(directory, reader)
        except BaseException as error:
            with self._lock:
                self._error = error
                self._end()
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    os.close(self._root)

    def _next_directory(self) -> _Directory | None:
        with self._lock:
            while not self._ended.is_set():
                while self._directories and not self._directories[-1].names:
                    self._directories.pop()
                if self._directories:
                    parent = self._directories[-1]
                    name = parent.names.pop()
                    below = parent.below + b"/" + name if parent.below else name
                    return _Directory(below, parent, parent.share)
                self._more_directories.wait()
            return None

    def _list(self, directory: _Directory, reader: Reader) -> None:
        below = directory.below
        path = os.path.join(self.root, os.fsdecode(below)) if below else self.root
        keep = self._filter(below) if self._selection is not None else None
        last = True
        try:
            last = not self._enter(path)
            directory.row = self._patiently(reader.describe if last else reader.open, below)
        except OSError as error:
            last = True
            with self._lock:
                unreadable = self._fail(path, error)
            if unreadable:
                with suppress(OSError):
                    directory.row = self._patiently(reader.describe, below)
        names: list[bytes] = []
        while not last:
            piece = reader.read(keep)
            names += piece.directories
            last = piece.last
            with self._lock:
                if not self._has_room():
                    return
                self._take(piece, path)
        with self._lock:
            self._listed(directory, names)

    def _filter(self, below: bytes) -> Callable[[bytes, bool], bool]:
        assert self._selection is not None
        selects = self._selection.selects
        stem = os.fsdecode(below) + "/" if below else ""
        return lambda name, is_dir: selects(stem + os.fsdecode(name), is_dir)

    def _patiently(self, ask: Callable[[bytes], bytes], below: bytes) -> bytes:
        """Asks again while the process has no descriptor left: others are given back soon."""
        for _ in range(DESCRIPTOR_TRIES):
            try:
                return ask(below)
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    raise
            self._ended.wait(DESCRIPTOR_PAUSE_SECONDS)
        return ask(below)

    # With the lock held

    def _has_room(self) -> bool:
        """Waits while enough batches are ready; False when the walk has ended."""
        while len(self._batches) >= BATCHES_AHEAD and not self._ended.is_set():
            self._more_room.wait()
        return not self._ended.is_set()

    def _take(self, piece: Piece, path: str) -> None:
        """Adds the rows of a piece to batches, and counts what could not be read."""
        if piece.count:
            self._add(piece.json, piece.count, piece.path_bytes, piece.ends)
        for number, count in piece.failures.items():
            self.unreadable_entries += count
            self._count_error(number, count)
        if piece.error:
            self.unreadable.add(path)
            self._count_error(piece.error)

    def _listed(self, directory: _Directory, names: list[bytes]) -> None:
        """All of a directory's entries are known: its subdirectories can be listed, or it is done."""
        share = directory.share / (len(names) + 1)
        self.fraction = min(1.0, self.fraction + share)
        if names:
            directory.share = share
            directory.names = names
            directory.unfinished += len(names)
            self._directories.append(directory)
            self._more_directories.notify(len(names))
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

    def _fail(self, path: str, error: OSError) -> bool:
        """Notes that a directory cannot be listed; False when none is there any more."""
        if error.errno in _GONE:
            return False
        self.unreadable.add(path)
        self._count_error(error.errno or 0)
        return True

    def _count_error(self, number: int, count: int = 1) -> None:
        name = errno.errorcode.get(number, str(number))
        self.errors[name] = self.errors.get(name, 0) + count

    def _end(self) -> None:
        self._ended.set()
        self._more_directories.notify_all()
        self._more_rows.notify_all()
        self._more_room.notify_all()
