"""Changes below a directory, told by the kernel through inotify.

Read from the kernel directly, because two things must not get lost: that its queue overflowed, and names that
are not UTF-8. A change is only a hint that a path may look different now; whoever gets it looks at the path
again. So stale or doubled hints do no harm, and their order within one read does not matter.
"""

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

_MODIFY = 0x002
_ATTRIB = 0x004
_CLOSE_WRITE = 0x008
_MOVED_FROM = 0x040
_MOVED_TO = 0x080
_CREATE = 0x100
_DELETE = 0x200
_DELETE_SELF = 0x400
_MOVE_SELF = 0x800
_UNMOUNT = 0x2000
_Q_OVERFLOW = 0x4000
_IGNORED = 0x8000
_ONLYDIR = 0x01000000
_DONT_FOLLOW = 0x02000000
_EXCL_UNLINK = 0x04000000
_ISDIR = 0x40000000

_ENTRIES_CHANGED = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO
_MASK = _ENTRIES_CHANGED | _MODIFY | _ATTRIB | _CLOSE_WRITE | _ONLYDIR | _EXCL_UNLINK
_EVENT = struct.Struct("iIII")  # watch descriptor, mask, cookie, length of the name that follows
_READ_BYTES = 1 << 18


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
        self._lock = (
            threading.Lock()
        )  # over _paths and _fd, so that a descriptor and its path change together
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            raise WatchUnavailable("this system has no inotify") from None
        if self._fd < 0:
            code = ctypes.get_errno()
            hint = "; raise fs.inotify.max_user_instances" if code == errno.EMFILE else ""
            raise WatchUnavailable(f"inotify: {os.strerror(code)}{hint}")

    def fileno(self) -> int:
        """The descriptor that becomes readable when there are changes."""
        return self._fd

    def close(self) -> None:
        """Ends all watches; a later `add` does nothing."""
        with self._lock:
            fd, self._fd = self._fd, -1
            self._paths.clear()
        if fd >= 0:
            os.close(fd)

    def add(self, path: str) -> bool:
        """Watches the directory that is at this path now; raises OSError when it cannot be opened.

        False when this very directory is being watched under this path already, so that none of its changes
        was missed since then.
        """
        flags = _MASK | (_DELETE_SELF | _MOVE_SELF if path == self._root else _DONT_FOLLOW)
        with self._lock:
            if self._fd < 0:
                return True
            descriptor = self._libc.inotify_add_watch(self._fd, os.fsencode(path), flags)
            if descriptor < 0:
                code = ctypes.get_errno()
                if code != errno.ENOSPC:
                    raise OSError(code, os.strerror(code), path)
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
        while True:
            try:
                buffer = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            self._interpret(buffer, changes, moved)
            if len(buffer) < _READ_BYTES // 2:
                break
        if moved:
            # Once moved away nothing tells what happens there. Should something be at the old place again, be
            # it the same directory, it must be looked at afresh.
            self._forget(moved)
            changes.paths.update(dict.fromkeys(moved, True))
        return changes

    def _interpret(self, buffer: bytes, changes: Changes, moved: list[str]) -> None:
        offset = 0
        paths = changes.paths
        while offset < len(buffer):
            descriptor, mask, _cookie, length = _EVENT.unpack_from(buffer, offset)
            offset += _EVENT.size
            name = buffer[offset : offset + length].rstrip(b"\0")
            offset += length
            if mask & (_Q_OVERFLOW | _UNMOUNT):  # an unmounted tree vanishes without a change of its own
                changes.overflow = True
            if mask & _IGNORED:
                with self._lock:
                    self._paths.pop(descriptor, None)
                continue
            directory = self._paths.get(descriptor)
            if directory is None:
                continue
            if mask & (_DELETE_SELF | _MOVE_SELF) and descriptor == self._root_descriptor:
                changes.root_lost = True
            if not name:
                paths.setdefault(directory, False)
                continue
            path = os.path.join(directory, os.fsdecode(name))
            if mask & _ISDIR and mask & (_CREATE | _MOVED_TO):
                paths[path] = True
            else:
                paths.setdefault(path, False)
            if mask & _ISDIR and mask & _MOVED_FROM:
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
                    self._libc.inotify_rm_watch(self._fd, descriptor)
