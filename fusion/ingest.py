"""The way into a datastore: a queue of records bounded in bytes, and the one writer that sees them through in
order.

The order in which the queue took the records is the order of the log.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from fusion.errors import FusionError, JournalFailed, Overloaded
from fusion.records import Record

log = logging.getLogger(__name__)


class _Entry(NamedTuple):
    record: Record
    size_bytes: int
    future: Future[Any]


class Ingest:
    """A queue and the writer that empties it.

    `work` takes all that is queued as one group, lets `append` keep it, applies record by record, calls
    `on_applied` (True: nothing more came in meanwhile), and completes the group's futures in the end: whoever
    reads an answer finds the readiness that follows from it. What `append` raises is the outcome of the whole
    group, which is not applied then. A record that cannot be applied fails alone, with the error `apply`
    raised. After an error of `on_applied` nothing is taken any more.

    `submit` and the properties may be used from any thread; `work` by one, usually that of `start`. The
    three are called by that thread alone, without a lock held, and so are the callbacks of the futures.
    """

    def __init__(
        self,
        name: str,
        *,
        append: Callable[[Sequence[Record]], None],
        apply: Callable[[Record], Any],
        on_applied: Callable[[bool], None],
        queue_bytes: int,
    ) -> None:
        self._append = append
        self._apply = apply
        self._on_applied = on_applied
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()
        self._queued: deque[_Entry] = deque()
        self._held_bytes = 0  # of all records queued or being applied
        self._inflight = 0
        self._closing = False
        self._writer = threading.Thread(target=self._run, name=f"fusion-writer-{name}", daemon=True)
        self._prepare: Callable[[], None] = lambda: None
        self._refusal: FusionError | None = None

    @property
    def queue(self) -> int:
        """Records waiting."""
        return len(self._queued)

    @property
    def inflight(self) -> int:
        """Records taken by the writer and not applied yet."""
        return self._inflight

    @property
    def held_bytes(self) -> int:
        """Of the records waiting or being applied."""
        return self._held_bytes

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def refusal(self) -> FusionError | None:
        """Why nothing is taken any more, other than that it is closing; to be raised.

        It is one error for all: what each raise adds to its traceback goes with the next one.
        """
        return self._refusal and self._refusal.with_traceback(None)

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Let a thread work, after `prepare`.

        What that raises is the outcome of everything submitted, for good.
        """
        self._prepare = prepare
        self._writer.start()

    def close(self) -> None:
        """Take no more, apply what is queued, and wait for the writer to end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._writer.ident is not None:
            self._writer.join()

    def pause(self, seconds: float) -> None:
        """Wait that long, or until `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def submit(self, record: Record, size_bytes: int = 0) -> Future[Any]:
        """Queue a record; the future has what `apply` returned. It cannot be cancelled.

        Raises Overloaded when its bytes would exceed the bound beside what is held already, and once closed;
        and the refusal, if there is one. A record without bytes is always taken.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            if self._closing:
                raise Overloaded(
                    "the server is stopping; nothing of this request was taken, send it again later"
                )
            if (refusal := self.refusal) is not None:
                raise refusal
            if size_bytes and self._held_bytes and self._held_bytes + size_bytes > self._queue_bytes:
                raise Overloaded()
            self._queued.append(_Entry(record, size_bytes, future))
            self._held_bytes += size_bytes
            self._changed.notify()
        return future

    def work(self) -> bool:
        """Wait for records and see one group of them through; False when closed and done."""
        group = self._take()
        if not group:
            return False
        failure = self._outcome(self._append, [entry.record for entry in group])[1]
        outcomes = []
        while group:
            entry = group.popleft()  # so that its body is freed as soon as it is applied
            result = (None, failure) if failure else self._outcome(self._apply, entry.record)
            outcomes.append((entry.future, *result))
            with self._changed:
                self._inflight -= 1
                self._held_bytes -= entry.size_bytes
            del entry
        self._can_go_on(lambda: self._on_applied(not self._queued))
        for future, result, error in outcomes:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        return True

    def _run(self) -> None:
        if self._can_go_on(self._prepare):
            while self.work():
                pass

    def _can_go_on(self, call: Callable[[], None]) -> bool:
        """What it raises is the outcome of all that waits and of all that would come, for good."""
        try:
            call()
            return True
        except FusionError as error:
            refusal = error
        except BaseException:
            log.exception("the writer cannot go on")
            refusal = JournalFailed("the journal could not be replayed; the server's log says why")
        with self._changed:
            self._refusal = refusal
            refused, self._queued = self._queued, deque()
        for entry in refused:
            entry.future.set_exception(refusal)
        return False

    def _take(self) -> deque[_Entry]:
        """Everything queued; nothing when closed and done."""
        with self._changed:
            while not self._queued and not self._closing:
                self._changed.wait()
            group, self._queued = self._queued, deque()
            self._inflight = len(group)
            return group

    def _outcome(self, call: Callable[[Any], Any], argument: Any) -> tuple[Any, BaseException | None]:
        try:
            return call(argument), None
        except FusionError as error:
            return None, error
        except BaseException as error:  # the writer must outlive whatever one record does
            log.exception("a record could not be written: %s", type(argument).__name__)
            return None, error
