"""Looks again at what changed of late: does the disk show what was told of it?

The kernel tells of nearly every change. What it does not tell (a write through a memory map or another name
of the file, a mount, another machine's change on a network file system), and what an agent may get wrong,
happens where things change. So every path that was told is looked at once more when it has been quiet.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from .scan import Row, describe

QUIET_SECONDS = 5.0  # from the last time a path was told until it is looked at
DOUBT_SECONDS = 2.0  # what differs is looked at again; a change of just now has been told by then
HOT_PATHS = 20_000  # at most are remembered; of more, those told last


class Told(NamedTuple):
    """What was said last of a path: its row, or None when it was gone."""

    row: Row | None
    at: float  # of time.monotonic()
    with_content: bool  # a whole directory, whose row may have been told once more since


class Doubt(NamedTuple):
    """A difference seen once."""

    told: Told
    seen: Row | None
    at: float


@dataclass(slots=True)
class Findings:
    """What one audit found.

    `stale`: paths whose figures changed without a word, which telling them again mends. `lost`: entries that
    appeared, vanished or changed their kind unheard of, so that nobody knows what else did, in form of an
    anomaly signal.
    """

    stale: list[str] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)


class Audit:
    """Remembers what was told; `told` may be called while another thread examines."""

    def __init__(
        self, root: str, *, clock: Callable[[], float] = time.monotonic, limit: int = HOT_PATHS
    ) -> None:
        self._root = root
        self._clock = clock
        self._limit = limit
        self._told: OrderedDict[str, Told] = OrderedDict()  # the one told last comes last
        self._doubts: dict[str, Doubt] = {}
        self._lock = threading.Lock()

    def told(self, path: str, row: Row | None, *, with_content: bool = False) -> None:
        """This was said of a path just now."""
        with self._lock:
            self._doubts.pop(path, None)
            self._told[path] = Told(row, self._clock(), with_content)
            self._told.move_to_end(path)
            if len(self._told) > self._limit:
                self._told.popitem(last=False)

    def examine(self, is_pending: Callable[[str], bool]) -> Findings:
        """Looks at what has been quiet; `is_pending`: a change of this path is known and not told yet."""
        findings = Findings()
        now = self._clock()
        for path, told in self._quiet(now):
            self._compare(path, told, None, now, is_pending, findings)
        for path, doubt in list(self._doubts.items()):
            if now - doubt.at >= DOUBT_SECONDS:
                self._compare(path, doubt.told, doubt, now, is_pending, findings)
        return findings

    def _quiet(self, now: float) -> Iterator[tuple[str, Told]]:
        """Takes out what was told long enough ago."""
        while True:
            with self._lock:
                path = next(iter(self._told), None)
                if path is None or now - self._told[path].at < QUIET_SECONDS:
                    return
                told = self._told[path]
                # It stays, to be found from below, until it is judged.
            yield path, told
            with self._lock:
                if self._told.get(path) is told:
                    del self._told[path]

    def _compare(
        self,
        path: str,
        told: Told,
        doubt: Doubt | None,
        now: float,
        is_pending: Callable[[str], bool],
        findings: Findings,
    ) -> None:
        try:
            seen = describe(path, follow=path == self._root)
        except OSError:
            seen = told.row
        difference = _difference(told, seen)
        with self._lock:
            if doubt is not None and self._doubts.get(path) is not doubt:
                return  # told meanwhile
            self._doubts.pop(path, None)
            if difference is None or self._is_overtaken(path, told):
                return
            if is_pending(path):
                return  # and will be remembered anew
            if difference == "row":
                findings.stale.append(path)
            elif doubt is None or doubt.seen != seen:
                self._doubts[path] = Doubt(told, seen, now)
            else:
                findings.lost.append({"path": path, "kind": difference, "observed": seen})

    def _is_overtaken(self, path: str, told: Told) -> bool:
        """A directory above was told as gone, or with all its content, after this path."""
        for above in PurePath(path).parents:
            later = self._told.get(str(above))
            if later is not None and later.at >= told.at and (later.row is None or later.with_content):
                return True
        return False


def _difference(told: Told, seen: Row | None) -> str | None:
    """`missing`, `extra` or `stale`, as the view is wrong then; `row` when a file's figures alone differ."""
    if told.row is None or seen is None:
        return None if told.row is seen else "missing" if told.row is None else "extra"
    if told.row["is_dir"] != seen["is_dir"]:
        return "stale"
    if told.with_content or told.row == seen:
        return None
    if seen["is_dir"] and told.row["modified_time"] != seen["modified_time"]:
        return "stale"  # entries came or went
    return "row"
