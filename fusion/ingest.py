"""The way into a datastore: records, a queue bounded in bytes, and the one thread that applies them in order.

Every change is a record, and the order in which the queue took the records is the order of the log.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from fusion._index import Batch
from fusion.errors import FusionError, Overloaded

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenSession:
    session_id: str
    task_id: str
    client_ip: str
    timeout_seconds: int
    at: float  # arrival, epoch seconds; the same in every record


@dataclass(frozen=True, slots=True)
class EndSession:
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class ExpireSession:
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Push:
    batch: Batch
    at: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    session_id: str
    reason: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Reset:
    at: float


Record = OpenSession | EndSession | ExpireSession | Push | Anomaly | Reset


class _Entry(NamedTuple):
    record: Record
    size_bytes: int
    future: Future[Any]


class Ingest:
    """A queue and its writer thread.

    The writer takes all that is queued as one group, applies record by record, calls `on_drained` when
    nothing more came in meanwhile, and only then completes the group's futures: whoever reads an answer finds
    the readiness that follows from it. A record that cannot be applied fails alone, with the error `apply`
    raised.

    `submit`, `queue` and `inflight` may be used from any thread; `apply` and `on_drained` are called from the
    writer thread alone, without a lock held, and so are the callbacks of the futures.
    """

    def __init__(
        self,
        name: str,
        apply: Callable[[Record], Any],
        on_drained: Callable[[], None],
        *,
        queue_bytes: int,
    ) -> None:
        self._apply = apply
        self._on_drained = on_drained
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()
        self._queued: deque[_Entry] = deque()
        self._held_bytes = 0  # of all records queued or being applied
        self._inflight = 0
        self._closing = False
        self._writer = threading.Thread(target=self._run, name=f"fusion-writer-{name}", daemon=True)

    @property
    def queue(self) -> int:
        """Records waiting."""
        return len(self._queued)

    @property
    def inflight(self) -> int:
        """Records taken by the writer and not applied yet."""
        return self._inflight

    def start(self) -> None:
        self._writer.start()

    def close(self) -> None:
        """Take no more, apply what is queued, and wait for the writer to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._writer.ident is not None:
            self._writer.join()

    def submit(self, record: Record, size_bytes: int = 0) -> Future[Any]:
        """Queue a record; the future has what `apply` returned. It cannot be cancelled.

        Raises Overloaded when its bytes would exceed the bound beside what is held already, and once closed.
        A record without bytes is always taken.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            if self._closing:
                raise Overloaded(
                    "the server is stopping; nothing of this request was taken, send it again later"
                )
            if size_bytes and self._held_bytes and self._held_bytes + size_bytes > self._queue_bytes:
                raise Overloaded()
            self._queued.append(_Entry(record, size_bytes, future))
            self._held_bytes += size_bytes
            self._changed.notify()
        return future

    def _run(self) -> None:
        while group := self._take():
            outcomes = []
            while group:
                entry = group.popleft()  # so that its body is freed as soon as it is applied
                outcomes.append((entry.future, *self._outcome(entry.record)))
                with self._changed:
                    self._inflight -= 1
                    self._held_bytes -= entry.size_bytes
                del entry
            if not self._queued:
                self._on_drained()
            for future, result, error in outcomes:
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

    def _take(self) -> deque[_Entry]:
        """Everything queued; nothing when closed and done."""
        with self._changed:
            while not self._queued and not self._closing:
                self._changed.wait()
            group, self._queued = self._queued, deque()
            self._inflight = len(group)
            return group

    def _outcome(self, record: Record) -> tuple[Any, BaseException | None]:
        try:
            return self._apply(record), None
        except FusionError as error:
            return None, error
        except BaseException as error:  # the writer must outlive whatever one record does
            log.exception("a record could not be applied: %s", type(record).__name__)
            return None, error
