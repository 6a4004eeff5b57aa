"""The queue and its writer."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any

import pytest

from fusion.errors import JournalDamaged, JournalFailed, NotReady, Overloaded
from fusion.ingest import Ingest
from fusion.records import Record, Reset

STUCK_SECONDS = 60.0


class Writer:
    """What the ingest calls: notes what it was given, fails or waits on demand. Records are told by `at`."""

    def __init__(self, queue_bytes: int = 1000) -> None:
        self.applied: list[float] = []
        self.drained_after: list[int] = []  # how many records were applied, each time nothing was left
        self.errors: dict[float, BaseException] = {}
        self.during: dict[float, Callable[[], None]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.groups: list[list[float]] = []  # as they were appended
        self.append_error: BaseException | None = None
        self.applied_error: BaseException | None = None
        self.ingest = Ingest(
            "test",
            append=self._append,
            apply=self._apply,
            on_applied=self._on_applied,
            queue_bytes=queue_bytes,
        )

    def _append(self, records: Sequence[Record]) -> None:
        self.groups.append([record.at for record in records])
        if self.append_error is not None:
            raise self.append_error

    def _apply(self, record: Record) -> Any:
        self.entered.set()
        assert self.gate.wait(STUCK_SECONDS)
        assert record.at in self.groups[-1], "applied before it was appended"
        self.applied.append(record.at)
        self.during.get(record.at, lambda: None)()
        if record.at in self.errors:
            raise self.errors[record.at]
        return f"result {record.at}"

    def _on_applied(self, drained: bool) -> None:
        if self.applied_error is not None:
            raise self.applied_error
        if drained:
            self.drained_after.append(len(self.applied))

    def submit(self, at: float, size_bytes: int = 0) -> Future[Any]:
        return self.ingest.submit(Reset(at), size_bytes)

    def hold(self) -> None:
        """Stop the writer inside the next record."""
        self.entered.clear()
        self.gate.clear()

    def wait_until_held(self) -> None:
        assert self.entered.wait(STUCK_SECONDS)


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.gate.set()
    writer.ingest.close()


def result(future: Future[Any]) -> Any:
    return future.result(STUCK_SECONDS)


def test_records_are_applied_in_the_order_of_the_queue(writer: Writer) -> None:
    futures = [writer.submit(at) for at in range(100)]
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    assert writer.applied == list(range(100))
    assert [result(future) for future in futures] == [f"result {at}" for at in range(100)]


def test_each_submitters_order_is_kept(writer: Writer) -> None:
    def submit_all(base: int) -> None:
        for number in range(200):
            writer.submit(base + number)

    writer.ingest.start()
    threads = [threading.Thread(target=submit_all, args=(base,)) for base in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.ingest.close()
    assert len(writer.applied) == 600
    for base in (0, 1000, 2000):
        own = [at for at in writer.applied if base <= at < base + 1000]
        assert own == list(range(base, base + 200))


def test_nothing_is_applied_before_start(writer: Writer) -> None:
    future = writer.submit(1)
    assert (writer.ingest.queue, writer.ingest.inflight) == (1, 0)
    assert not future.done()
    writer.ingest.start()
    assert result(future) == "result 1"


def test_a_record_that_fails_fails_alone(writer: Writer) -> None:
    writer.errors[2] = NotReady("stale", 0, 0)
    futures = [writer.submit(at) for at in (1, 2, 3)]
    writer.ingest.start()
    assert result(futures[0]) == "result 1"
    with pytest.raises(NotReady):
        result(futures[1])
    assert result(futures[2]) == "result 3"


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), SystemExit(3)])
def test_the_writer_outlives_an_unforeseen_error_and_logs_it(
    writer: Writer, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    writer.errors[1] = error
    writer.ingest.start()
    with caplog.at_level(logging.ERROR, "fusion.ingest"):
        with pytest.raises(type(error)):
            result(writer.submit(1))
    assert "Reset" in caplog.text and "Traceback" in caplog.text
    assert result(writer.submit(2)) == "result 2"


def test_an_expected_error_is_not_logged(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    writer.errors[1] = NotReady("stale", 0, 0)
    writer.ingest.start()
    with pytest.raises(NotReady):
        result(writer.submit(1))
    assert caplog.text == ""


def test_queue_and_inflight_count_records(writer: Writer) -> None:
    writer.hold()
    first = writer.submit(1)
    writer.ingest.start()
    writer.wait_until_held()
    rest = [writer.submit(at) for at in (2, 3, 4)]
    assert (writer.ingest.queue, writer.ingest.inflight) == (3, 1)
    writer.gate.set()
    wait([first, *rest], STUCK_SECONDS)
    assert (writer.ingest.queue, writer.ingest.inflight) == (0, 0)


def test_it_has_drained_before_the_answer_of_the_last_record(writer: Writer) -> None:
    seen: list[list[int]] = []
    futures = [writer.submit(at) for at in (1, 2, 3)]
    for future in futures:
        future.add_done_callback(lambda _: seen.append(list(writer.drained_after)))
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    writer.ingest.close()
    assert seen == [[3], [3], [3]]


def test_it_has_not_drained_while_something_came_in(writer: Writer) -> None:
    later: list[Future[Any]] = []
    writer.during[1] = lambda: later.append(writer.submit(2))
    first = writer.submit(1)
    drained_before_answer: list[list[int]] = []
    first.add_done_callback(lambda _: drained_before_answer.append(list(writer.drained_after)))
    writer.ingest.start()
    result(first)
    result(later[0])
    assert drained_before_answer == [[]]
    assert writer.drained_after == [2]


# The log


def test_everything_queued_is_one_group(writer: Writer) -> None:
    futures = [writer.submit(at) for at in (1, 2, 3)]
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    writer.hold()
    futures = [writer.submit(4)]
    writer.wait_until_held()
    futures += [writer.submit(at) for at in (5, 6)]
    writer.gate.set()
    wait(futures, STUCK_SECONDS)
    assert writer.groups == [[1, 2, 3], [4], [5, 6]]


@pytest.mark.parametrize("error", [JournalFailed(), RuntimeError("unforeseen")])
def test_a_group_that_cannot_be_appended_fails_and_is_not_applied(writer: Writer, error: Exception) -> None:
    writer.append_error = error
    futures = [writer.submit(at, 300) for at in (1, 2, 3)]
    writer.ingest.start()
    for future in futures:
        with pytest.raises(type(error)):
            result(future)
    assert writer.applied == []
    assert (writer.ingest.queue, writer.ingest.inflight) == (0, 0)
    writer.append_error = None
    assert result(writer.submit(4, 1000)) == "result 4"


def test_the_thread_prepares_before_it_works(writer: Writer) -> None:
    prepared: list[int] = []
    future = writer.submit(1)
    writer.ingest.start(lambda: prepared.append(len(writer.applied)))
    result(future)
    assert prepared == [0]


def test_what_preparing_raises_is_the_outcome_of_everything(writer: Writer) -> None:
    def prepare() -> None:
        raise JournalDamaged(3, "it is missing")

    before = writer.submit(1)
    writer.ingest.start(prepare)
    with pytest.raises(JournalDamaged):
        result(before)
    with pytest.raises(JournalDamaged):
        writer.submit(2)
    assert isinstance(writer.ingest.refusal, JournalDamaged)
    assert writer.applied == []


def test_a_refusal_does_not_grow_with_those_who_get_it(writer: Writer) -> None:
    def prepare() -> None:
        raise JournalDamaged(3, "it is missing")

    writer.ingest.start(prepare)
    writer.ingest.close()
    refusal = writer.ingest.refusal
    assert refusal is not None
    lengths = set()
    for _ in range(5):
        with pytest.raises(JournalDamaged):
            raise writer.ingest.refusal or AssertionError
        lengths.add(len(list(traceback.walk_tb(refusal.__traceback__))))
    assert len(lengths) == 1


def test_whatever_preparing_raises_is_told(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    def prepare() -> None:
        raise RuntimeError("unforeseen")

    before = writer.submit(1)
    writer.ingest.start(prepare)
    with pytest.raises(JournalFailed):
        result(before)
    with pytest.raises(JournalFailed):
        writer.submit(2)
    assert "unforeseen" in caplog.text


@pytest.mark.parametrize("error", [JournalDamaged(3, "it is missing"), RuntimeError("unforeseen")])
def test_a_writer_that_cannot_go_on_refuses_what_waits(writer: Writer, error: Exception) -> None:
    waiting: list[Future[Any]] = []
    writer.during[1] = lambda: waiting.append(writer.submit(2))
    writer.applied_error = error
    writer.ingest.start()
    assert result(writer.submit(1)) == "result 1"
    refusal = JournalDamaged if isinstance(error, JournalDamaged) else JournalFailed
    with pytest.raises(refusal):
        result(waiting[0])
    with pytest.raises(refusal):
        writer.submit(3)
    assert writer.applied == [1]


def test_a_pause_ends_with_close(writer: Writer) -> None:
    writer.ingest.start(lambda: writer.ingest.pause(STUCK_SECONDS))
    writer.ingest.close()
    assert writer.ingest.closing


def test_without_a_thread_each_call_sees_one_group_through(writer: Writer) -> None:
    futures = [writer.submit(at) for at in (1, 2)]
    assert writer.ingest.work()
    assert [result(future) for future in futures] == ["result 1", "result 2"]
    writer.submit(3)
    writer.ingest.close()
    assert [writer.ingest.work(), writer.ingest.work()] == [True, False]


# The bound


def test_past_the_bound_a_record_is_refused_whole(writer: Writer) -> None:
    futures = [writer.submit(1, 600), writer.submit(2, 400)]
    with pytest.raises(Overloaded) as refusal:
        writer.submit(3, 1)
    assert refusal.value.retry_after_seconds >= 1
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    assert result(writer.submit(4, 1000)) == "result 4"
    assert writer.applied == [1, 2, 4]


def test_what_is_being_applied_counts(writer: Writer) -> None:
    writer.hold()
    held = writer.submit(1, 700)
    writer.ingest.start()
    writer.wait_until_held()
    with pytest.raises(Overloaded):
        writer.submit(2, 400)
    writer.gate.set()
    result(held)
    assert result(writer.submit(3, 400)) == "result 3"


def test_room_is_made_record_by_record(writer: Writer) -> None:
    def submit_beside() -> None:
        beside.append(writer.submit(3, 600))

    beside: list[Future[Any]] = []
    futures = [writer.submit(1, 600), writer.submit(2, 400)]
    writer.during[2] = submit_beside
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    assert result(beside[0]) == "result 3"


def test_a_failed_record_gives_its_room_back(writer: Writer) -> None:
    writer.errors[1] = NotReady("stale", 0, 0)
    writer.ingest.start()
    with pytest.raises(NotReady):
        result(writer.submit(1, 1000))
    assert result(writer.submit(2, 1000)) == "result 2"


def test_a_record_larger_than_the_bound_passes_alone(writer: Writer) -> None:
    future = writer.submit(1, 5000)
    with pytest.raises(Overloaded):
        writer.submit(2, 1)
    writer.ingest.start()
    assert result(future) == "result 1"


def test_a_record_without_bytes_is_always_taken(writer: Writer) -> None:
    writer.submit(1, 1000)
    futures = [writer.submit(at) for at in range(2, 50)]
    writer.ingest.start()
    wait(futures, STUCK_SECONDS)
    assert writer.applied == list(range(1, 50))


# Futures and the end


def test_a_queued_record_cannot_be_cancelled(writer: Writer) -> None:
    future = writer.submit(1)
    assert not future.cancel()
    writer.ingest.start()
    assert result(future) == "result 1"


def test_a_callback_that_raises_does_not_stop_the_writer(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(_: Future[Any]) -> None:
        raise RuntimeError("the loop is closed")

    writer.submit(1).add_done_callback(callback)
    writer.ingest.start()
    assert result(writer.submit(2)) == "result 2"


def test_close_applies_what_is_queued_and_takes_no_more(writer: Writer) -> None:
    futures = [writer.submit(at) for at in range(50)]
    writer.ingest.start()
    writer.ingest.close()
    assert all(future.done() for future in futures)
    assert writer.applied == list(range(50))
    with pytest.raises(Overloaded):
        writer.submit(99)


def test_close_may_be_repeated_and_come_before_start() -> None:
    writer = Writer()
    writer.ingest.close()
    writer.ingest.close()
    started = Writer()
    started.ingest.start()
    started.ingest.close()
    started.ingest.close()


def test_the_thread_is_gone_after_close() -> None:
    writer = Writer()
    writer.ingest.start()
    assert "fusion-writer-test" in [thread.name for thread in threading.enumerate()]
    writer.ingest.close()
    assert "fusion-writer-test" not in [thread.name for thread in threading.enumerate()]
