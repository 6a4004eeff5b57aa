"""The tests' side of `failing_io.c`: a server whose writes and syncs fail as the test says."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

WRITE, SYNC, RENAME, READ = 1, 2, 4, 8
_FAIL, _KILL_BEFORE, _KILL_AFTER, _SLEEP = 1, 2, 3, 4
_FOR_EVER = 1 << 62

# struct control of failing_io.c
_ACTION = struct.Struct("=I")
_ORDER = struct.Struct("=IiIQQ")
_COUNTS = struct.Struct("=QQ")
_COUNTS_AT = _ACTION.size + _ORDER.size
_FILES_AT = _COUNTS_AT + _COUNTS.size
_FILES_BYTES = 256


def compile_library(directory: Path) -> Path:
    """The library that is to be preloaded."""
    library = directory / "failing_io.so"
    source = Path(__file__).with_name("failing_io.c")
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(source), "-ldl"], check=True)
    return library


class IoControl:
    """Says what happens to calls on files whose path has `files` in it, from the `first` such call on.

    A '$' at the end of `files` is the end of the path. One order at a time; a new one counts anew.
    """

    def __init__(self, directory: Path, library: Path) -> None:
        path = directory / "io-control"
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {"LD_PRELOAD": str(library), "FAILING_IO_CONTROL": str(path)}

    def close(self) -> None:
        self._map.close()

    def fail(self, files: str, calls: int, error: int, *, first: int = 1, count: int = _FOR_EVER) -> None:
        self._order(_FAIL, files, calls, first, count, error=error)

    def kill_before(self, files: str, calls: int, *, first: int = 1) -> None:
        self._order(_KILL_BEFORE, files, calls, first, 1)

    def kill_after(self, files: str, calls: int, *, first: int = 1) -> None:
        self._order(_KILL_AFTER, files, calls, first, 1)

    def slow(self, files: str, calls: int, seconds: float) -> None:
        self._order(_SLEEP, files, calls, 1, _FOR_EVER, milliseconds=round(seconds * 1000))

    def stuck(self, files: str, calls: int) -> None:
        """Until the next order."""
        self.slow(files, calls, 3600.0)

    def calm(self) -> None:
        """Nothing happens any more; the counts stay."""
        _ACTION.pack_into(self._map, 0, 0)

    @property
    def seen(self) -> int:
        """Calls that matched the order."""
        return int(_COUNTS.unpack_from(self._map, _COUNTS_AT)[0])

    @property
    def acted(self) -> int:
        """Those of them to which something happened."""
        return int(_COUNTS.unpack_from(self._map, _COUNTS_AT)[1])

    def _order(
        self,
        action: int,
        files: str,
        calls: int,
        first: int,
        count: int,
        *,
        error: int = 0,
        milliseconds: int = 0,
    ) -> None:
        self.calm()
        _ORDER.pack_into(self._map, _ACTION.size, calls, error, milliseconds, first, count)
        _COUNTS.pack_into(self._map, _COUNTS_AT, 0, 0)
        self._map[_FILES_AT : _FILES_AT + _FILES_BYTES] = files.encode().ljust(_FILES_BYTES, b"\0")
        _ACTION.pack_into(self._map, 0, action)
