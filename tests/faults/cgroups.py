"""Groups of processes with a limit of memory. Only root can make them, as a rule."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

# Of both versions: the limit; the limit of memory and swap, or of swap alone; where kills are counted.
_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "cgroup2": ("memory.max", "memory.swap.max", "memory.events"),
}


class MemoryGroup:
    """A group in `parent`. Raises OSError where there can be none."""

    def __init__(self, parent: Path, kind: str, limit_bytes: int) -> None:
        limit, swap, self._events = _FILES[kind]
        self.path = parent / f"fusion-test-{secrets.token_hex(8)}"
        self.path.mkdir()
        try:
            (self.path / limit).write_text(str(limit_bytes))
            with suppress(OSError):  # there is none where swap is not counted
                (self.path / swap).write_text("0" if kind == "cgroup2" else str(limit_bytes))
        except OSError:
            self.remove()
            raise

    def add(self, pid: int) -> None:
        """What this process takes from here on counts."""
        (self.path / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """Processes ended for want of memory."""
        lines = (self.path / self._events).read_text().splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def remove(self) -> None:
        """Whoever was in it has to be gone."""
        self.path.rmdir()


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Skips the test where none can be made."""
    why: object = "no memory controller"
    for parent, kind in _places():
        try:
            made = MemoryGroup(parent, kind, limit_bytes)
            break
        except OSError as error:
            why = error
    else:
        pytest.skip(f"no group with a limit of memory can be made here: {why}")
    try:
        yield made
    finally:
        made.remove()


def _places() -> Iterator[tuple[Path, str]]:
    """This process's own group first; in version 2 one that has processes can have no such groups in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            kind = "cgroup" if controllers else "cgroup2"
            for top in _tops(kind):
                own = top / path.lstrip("/")
                yield from ((place, kind) for place in (own, *own.parents) if place.is_relative_to(top))


def _tops(kind: str) -> Iterator[Path]:
    """Where the groups that count memory are mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, options, *_ = line.split()
        if found == kind and (kind == "cgroup2" or "memory" in options.split(",")):
            yield Path(place)
