"""Changes below a directory, told by the kernel through inotify.

inotify_simple hands on what the kernel says as it is. The libraries that watch whole trees by themselves drop
two things that must not get lost: an overflow of the kernel's queue, and names that are not UTF-8 (watchfiles
1.3 does both). A change is only a hint that a path may look different now; whoever gets it looks at the path
again. So stale or doubled hints do no harm, and their order within one read does not matter.
"""

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from inotify_simple import Event, INotify, flags

_ENTRIES_CHANGED = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
_MASK = _ENTRIES_CHANGED | flags.MODIFY | flags.ATTRIB | flags.CLOSE_WRITE | flags.ONLYDIR | flags.EXCL_UNLINK
_ROOT_GONE = flags.DELETE_SELF | flags.MOVE_SELF
_CHANGES_LOST = flags.Q_OVERFLOW | flags.UNMOUNT  # an unmounted tree vanishes without a change of its own


class WatchUnavailable(Exception):
    """This system cannot tell changes, or refuses one more watcher; the text says which and what helps."""


@dataclass(slots=True)
class Changes:
    """What one read brought.

    `paths`: path -> True when a directory appeared there, whose content must be scanned too. `overflow`:
    changes were lost, nothing short of a new scan helps. `root_lost`: the root was deleted or moved.
    """

    paths: dict[str, bool] = field(default_factory=dict)
    overflow: bool = False
    root_lost: bool = False


class Watcher:
    """Watches directories one by one; `add` every directory before listing it.

    `add` may be called from any thread; `read` belongs to one. `limited` turns True when the system allows no
    further watch, so that changes below some directories stay unseen.
    """

    def __init__(self, root: str) -> None:
        self.limited = False
        self._root = root
        self._root_descriptor = -1
        self._paths: dict[int, str] = {}
        self._lock = threading.Lock()  # a descriptor and its path change together
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
            self._paths.clear()
            self._inotify.close()

    def add(self, path: str) -> bool:
        """Watches the directory that is at this path now; raises OSError when it cannot be opened.

        False when this very directory is being watched under this path already, so that none of its changes
        was missed since then.
        """
        mask = _MASK | (_ROOT_GONE if path == self._root else flags.DONT_FOLLOW)
        with self._lock:
            if self._inotify.closed:
                return True
            try:
                descriptor = self._inotify.add_watch(path, mask)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    error.filename = path
                    raise
                self.limited = True
                return True
            if path == self._root:
                self._root_descriptor = descriptor
            if self._paths.get(descriptor) == path:
                return False
            self._paths[descriptor] = path
            return True

    def read(self) -> Changes:
        """Takes what is queued, without waiting."""
        changes = Changes()
        moved: list[str] = []
        self._interpret(self._inotify.read(timeout=0), changes, moved)
        if moved:
            # Once moved away nothing tells what happens there. Should something be at the old place again, be
            # it the same directory, it must be looked at afresh.
            self._forget(moved)
            changes.paths.update(dict.fromkeys(moved, True))
        return changes

    def _interpret(self, events: Iterable[Event], changes: Changes, moved: list[str]) -> None:
        paths = changes.paths
        for descriptor, mask, _cookie, name in events:
            if mask & _CHANGES_LOST:
                changes.overflow = True
            if mask & flags.IGNORED:
                with self._lock:
                    self._paths.pop(descriptor, None)
                continue
            directory = self._paths.get(descriptor)
            if directory is None:
                continue
            if mask & _ROOT_GONE and descriptor == self._root_descriptor:
                changes.root_lost = True
            if not name:
                paths.setdefault(directory, False)
                continue
            path = os.path.join(directory, name)
            if mask & flags.ISDIR and mask & (flags.CREATE | flags.MOVED_TO):
                paths[path] = True
            else:
                paths.setdefault(path, False)
            if mask & flags.ISDIR and mask & flags.MOVED_FROM:
                moved.append(path)
            if mask & _ENTRIES_CHANGED:
                paths.setdefault(directory, False)  # its own time has changed as well

    def _forget(self, paths: Sequence[str]) -> None:
        """Ends the watches at and below these paths."""
        exactly = frozenset(paths)
        below = tuple(path + os.sep for path in paths)
        with self._lock:
            for descriptor, path in list(self._paths.items()):
                if path in exactly or path.startswith(below):
                    del self._paths[descriptor]
                    with suppress(OSError):  # the directory may be gone by now, and its watch with it
                        self._inotify.rm_watch(descriptor)
