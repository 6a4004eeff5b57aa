"""Turns changed paths into messages that tell how they look now."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .audit import Audit
from .scan import ROWS_PER_BATCH, Rows, describe
from .scope import Scope
from .watch import Look, Watcher
from .wire import Body, event, joined, push_body

BYTES_PER_MESSAGE = 1 << 20  # keeps messages of very long paths well under a server's body limit


class Teller:
    """Tells changes in one session.

    A change is only a hint that a path may look different now: what is told is what the disk shows when it is
    looked at, so that of several changes the last one counts, whatever their order.
    """

    def __init__(
        self,
        session_id: str,
        scope: Scope,
        watcher: Watcher | None,
        audit: Audit,
        pack: Callable[[bytes], Body],
    ) -> None:
        self.unreadable: set[str] = set()  # directories worth another try when their permissions change
        self._session_id = session_id
        self._scope = scope
        self._watcher = watcher
        self._audit = audit
        self._pack = pack

    def watch(self, directory: str) -> None:
        """Watches a directory that is about to be listed."""
        if self._watcher is not None:
            self._watcher.add(directory)

    def messages(self, changes: Mapping[str, Look]) -> Iterator[Body]:
        """Bodies of at most two batches of rows."""
        events: list[tuple[bool, list[bytes]]] = []  # (is it a delete, rows)
        rows_told = bytes_told = 0
        for is_delete, rows in self._looks(changes):
            if not events or events[-1][0] != is_delete:
                events.append((is_delete, []))
            events[-1][1].append(rows.json)
            rows_told += rows.count
            bytes_told += len(rows.json)
            if rows_told >= ROWS_PER_BATCH or bytes_told >= BYTES_PER_MESSAGE:
                yield self._message(events)
                events, rows_told, bytes_told = [], 0, 0
        if events:
            yield self._message(events)

    def _message(self, events: list[tuple[bool, list[bytes]]]) -> Body:
        index = now_ms()
        encoded = [
            event("delete" if is_delete else "update", index, b",".join(rows)) for is_delete, rows in events
        ]
        return self._pack(push_body(self._session_id, "message", encoded))

    def _looks(self, changes: Mapping[str, Look]) -> Iterator[tuple[bool, Rows]]:
        """(is it a delete, rows) of each changed path as it is now, with the content of new directories."""
        scanned: set[str] = set()
        for path, look in changes.items():
            if not self._scope.may_tell(path):
                continue
            try:
                row = describe(path, follow=path == self._scope.root)
            except OSError:
                continue  # cannot be looked at: what is known of it stays
            if row is None or not self._scope.tells(path, is_dir=row["is_dir"]):
                self._audit.told(path, None)
                yield True, _one({"file_path": path})
            elif row["is_dir"] and self._has_news_below(path, look, scanned):
                # In place of what may be known there.
                yield True, _one({"file_path": path})
                scanned.add(path)
                self.unreadable.discard(path)
                scan = self._scope.scan(path, self.watch)
                for rows in scan:
                    yield False, rows
                self.unreadable |= scan.unreadable
                self._audit.told(path, row, with_content=True)
            else:
                # Changes in a directory that is not watched are not told.
                self._audit.told(path, row, with_content=row["is_dir"] and not self._is_watched(path))
                yield False, _one(row)

    def _is_watched(self, directory: str) -> bool:
        return self._scope.enters(directory) and directory not in self.unreadable

    def _has_news_below(self, path: str, look: Look, scanned: set[str]) -> bool:
        """Whether the content of a directory must be told; `scanned`: those told since the changes were read.

        That a directory is watched does not vouch for what was told of it: it may have come just when another
        one was listed here.
        """
        if not self._scope.enters(path):
            return False
        if path in self.unreadable:
            return True
        if look is Look.ENTRY:
            return False
        while scanned and path not in scanned and len(path) > len(self._scope.root):
            path = os.path.dirname(path)
        return path not in scanned


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _one(row: Any) -> Rows:
    return Rows(1, joined([row]))
