"""Changes below a directory, told by the kernel through inotify.

inotify_simple hands on what the kernel says as it is. The libraries that watch whole trees by themselves drop
two things that must not get lost: an overflow of the kernel's queue, and names that are not UTF-8 (watchfiles
1.3 does both). A change is only a hint that a path may look different now; whoever gets it looks at the path
again. So stale or doubled hints do no harm, and their order within one read does not matter.
"""

import errno
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

from inotify_simple import Event, INotify, flags

from .watched import Directory, WatchedTree

_ENTRIES_CHANGED = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
_MASK = _ENTRIES_CHANGED | flags.MODIFY | flags.ATTRIB | flags.CLOSE_WRITE | flags.ONLYDIR | flags.EXCL_UNLINK
_ROOT_GONE = flags.DELETE_SELF | flags.MOVE_SELF
_CHANGES_LOST = flags.Q_OVERFLOW | flags.UNMOUNT  # an unmounted tree vanishes without a change of its own
_RENAME_SECONDS = 1.0


class WatchUnavailable(Exception):
    """This system cannot tell changes, or refuses one more watcher; the text says which and what helps."""


class Look(IntEnum):
    """How closely a changed path has to be looked at; the greater includes the lesser."""

    ENTRY = 0  # what lstat says of it
    WHOLE = 1  # a directory came, or was renamed: its content, too, whatever was known


@dataclass(slots=True)
class Changes:
    """What one read brought.

    `paths`: how to look at each. `overflow`: changes were lost, nothing short of a new scan helps.
    `root_lost`: the root was deleted or moved.
    """

    paths: dict[str, Look] = field(default_factory=dict)
    overflow: bool = False
    root_lost: bool = False

    def note(self, path: str, look: Look) -> None:
        """Keeps the closest look that a path needs."""
        self.paths[path] = max(look, self.paths.get(path, look))


class Watcher:
    """Watches directories one by one; `add` every directory before listing it.

    `add` may be called from any thread; `read` belongs to one. `limited` turns True when the system allows no
    further watch, so that changes below some directories stay unseen.
    """

    def __init__(self, root: str) -> None:
        self.limited = False
        self._root = root
        self._root_descriptor = -1
        self._tree = WatchedTree(root)
        self._leaving: dict[int, tuple[float, Directory | None]] = {}  # by cookie: since when, what
        self._lock = threading.Lock()  # a watch and its place in the tree change together
        try:
            self._inotify = INotify(nonblocking=True)
        except AttributeError:
            raise WatchUnavailable("this system has no inotify") from None
        except OSError as error:
            hint = "; raise fs.inotify.max_user_instances" if error.errno == errno.EMFILE else ""
            raise WatchUnavailable(f"inotify: {error.strerror}{hint}") from None

    def fileno(self) -> int:
        """The descriptor that becomes readable when there are changes."""
        return self._inotify.fileno()

    def close(self) -> None:
        """Ends all watches; a later `add` does nothing."""
        with self._lock:
            self._inotify.close()

    def add(self, path: str) -> None:
        """Watches the directory that is at this path now; raises OSError when it cannot be opened."""
        mask = _MASK | (_ROOT_GONE if path == self._root else flags.DONT_FOLLOW)
        with self._lock:
            if self._inotify.closed:
                return
            try:
                descriptor = self._inotify.add_watch(path, mask)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    error.filename = path
                    raise
                self.limited = True
                return
            if path == self._root:
                self._root_descriptor = descriptor
            self._tree.put(descriptor, path)

    def read(self) -> Changes:
        """Takes what is queued, without waiting."""
        changes = Changes()
        events = self._inotify.read(timeout=0)
        with self._lock:
            for event in events:
                self._interpret(event, changes)
            self._let_go()
        return changes

    def _interpret(self, event: Event, changes: Changes) -> None:
        descriptor, mask, cookie, name = event
        if mask & _CHANGES_LOST:
            changes.overflow = True
        if mask & flags.IGNORED:
            self._tree.forget(descriptor)
            return
        directory = self._tree.path(descriptor)
        if directory is None:
            return
        if mask & _ROOT_GONE and descriptor == self._root_descriptor:
            changes.root_lost = True
        if not name:
            changes.note(directory, Look.ENTRY)
            return
        look = Look.ENTRY
        if mask & flags.ISDIR:
            if mask & flags.MOVED_FROM:
                self._leaving[cookie] = time.monotonic(), self._tree.take(descriptor, name)
                # Should something be at the old place again, it must be looked at afresh.
                look = Look.WHOLE
            elif mask & (flags.CREATE | flags.MOVED_TO):
                _, moved = self._leaving.pop(cookie, (0.0, None))
                if moved is not None:
                    self._tree.graft(moved, descriptor, name)
                look = Look.WHOLE
        changes.note(os.path.join(directory, name), look)
        if mask & _ENTRIES_CHANGED:
            changes.note(directory, Look.ENTRY)  # its own time has changed as well

    def _let_go(self) -> None:
        """Ends the watches of directories that have left the tree.

        The kernel tells the two sides of a rename one right after the other, but not as one: the other side
        may come with a later read.
        """
        latest = time.monotonic() - _RENAME_SECONDS
        for cookie, (since, directory) in list(self._leaving.items()):
            if since > latest:
                break
            del self._leaving[cookie]
            if directory is not None and directory.parent is None:
                for descriptor in self._tree.drop(directory):
                    with suppress(OSError):  # the directory may be gone by now, and its watch with it
                        self._inotify.rm_watch(descriptor)
