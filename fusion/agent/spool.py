"""Messages that wait for the server, in files: a bounded queue on disk.

Each process has a directory of its own below the state directory, locked while it runs, and a message is one
file, written as it will be sent: compressed, unless it is small. The files are no journal: an agent that
starts has missed changes anyway, so that only its snapshot tells the truth. It removes what its predecessors
left.
"""

import fcntl
import os
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path

from .failures import ChangesLost
from .wire import Body, compressed

DEFAULT_SPOOL_BYTES = 64 << 20

_PREFIX = "spool-"
_SUFFIXES = {"zstd": ".json.zst", "identity": ".json"}


def default_state_dir() -> Path:
    """`$XDG_STATE_HOME/fusion`, by default `~/.local/state/fusion`."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local/state") / "fusion"


class Spool:
    """First in, first out, at most `limit` bytes; OSError when the state directory cannot be used.

    One caller puts and one takes; they may be different threads.
    """

    def __init__(self, state_dir: Path, limit: int) -> None:
        self.bytes = 0
        self._limit = limit
        self._waiting: deque[tuple[Path, int, str]] = deque()  # file, bytes, coding
        self._number = 0
        self._clearances = 0
        self._lock = threading.Lock()
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        guard = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)  # or another one might take our directory for an abandoned one
            for abandoned in state_dir.glob(f"{_PREFIX}*"):
                _remove_unless_locked(abandoned)
            self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=state_dir))
            self._owned = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._owned, fcntl.LOCK_EX)
        finally:
            os.close(guard)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, body: Body) -> None:
        """Keeps a message, compressed; raises ChangesLost when it does not fit, or cannot be written."""
        if body.coding == "identity":
            body = compressed(body.content)
        with self._lock:
            if self.bytes + len(body.content) > self._limit:
                raise ChangesLost(f"the spool is full ({self._limit:,} bytes)")
            self._number += 1
            file = self.directory / f"{self._number:012}{_SUFFIXES[body.coding]}"
            clearance = self._clearances
        try:
            file.write_bytes(body.content)
        except OSError as error:
            raise ChangesLost(f"the spool cannot be written: {error.strerror}") from None
        with self._lock:
            if clearance == self._clearances:
                self.bytes += len(body.content)
                self._waiting.append((file, len(body.content), body.coding))
            else:
                file.unlink(missing_ok=True)

    def first(self) -> Body:
        """The message that has waited longest; raises ChangesLost when it cannot be read."""
        file, _, coding = self._waiting[0]
        try:
            return Body(file.read_bytes(), coding)
        except OSError as error:
            raise ChangesLost(f"the spool cannot be read: {error.strerror}") from None

    def remove_first(self) -> None:
        """Gives up the message that has waited longest."""
        with self._lock:
            file, size, _ = self._waiting.popleft()
            self.bytes -= size
        file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Gives up every message, also one that another thread is writing."""
        with self._lock:
            self._clearances += 1
            waiting, self._waiting, self.bytes = self._waiting, deque(), 0
        for file, _, _ in waiting:
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the directory."""
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._owned)


def _remove_unless_locked(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its agent runs
        return
    else:
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)
