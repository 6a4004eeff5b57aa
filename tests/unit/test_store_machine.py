"""Sessions, readiness, breaker and positions beside a model that derives everything from the history.

The model keeps a list of what was accepted and when, and answers each question by reading it from the start.
The datastore runs with its real queue and writer; every call is waited for and the clock is moved by hand, so
that a history always has one outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fusion._index import Batch
from fusion.datastore import Datastore
from fusion.errors import FusionError
from fusion.settings import DatastoreSettings

TIMEOUT = 10
STUCK_SECONDS = 60.0
OK = 200
TASKS = ("one", "two", "three")
AGES = st.sampled_from([0, 0, 0, 1, 2, 4])
SNAPSHOT_STEPS = st.sampled_from(["rows", "rows", "end", "end", "both", "empty", "signal"])


class Happening(NamedTuple):
    kind: str  # open, rows, end, message, signal, ended, life
    session: str
    time: float
    index: int = -1


class Model:
    """All answers by reading the history."""

    def __init__(self, concurrent: bool) -> None:
        self.concurrent = concurrent
        self.now = 0.0
        self.history: list[Happening] = []
        self.tasks: dict[str, str] = {}

    def add(self, kind: str, session: str, index: int = -1) -> None:
        self.history.append(Happening(kind, session, self.now, index))

    def status(self, session: str, upto: int | None = None, now: float | None = None) -> int:
        """200, 404 or 419, as of the first `upto` happenings and the time `now`."""
        history = self.history[:upto]
        now = self.now if now is None else now
        own = [happening for happening in history if happening.session == session]
        if not own:
            return 404
        silent_since = max(happening.time for happening in own)
        opened = next(position for position, happening in enumerate(history) if happening.session == session)
        for position in range(opened + 1, len(history)):
            happening = history[position]
            same_task = self.tasks[happening.session] == self.tasks[session]
            if happening.kind == "open" and (same_task or not self.concurrent):
                return 419 if happening.time - silent_since <= TIMEOUT else 404
            if happening.kind == "ended" and happening.session == session:
                return 404
        return OK if now - silent_since <= TIMEOUT else 404

    def authoritative(self) -> str | None:
        """The newest session, unless it is gone: nobody inherits."""
        opened = [happening.session for happening in self.history if happening.kind == "open"]
        return opened[-1] if opened and self.status(opened[-1]) == OK else None

    def ends(self) -> list[tuple[int, int]]:
        """Where each snapshot that ended began, as the breaker sees it (-1: nowhere), and where it ended."""
        ends = []
        first_row, opened, is_first = -1, -1, False
        for position, happening in enumerate(self.history):
            if happening.kind == "open":
                first_row, opened, is_first = -1, position, True
            elif happening.kind == "rows" and first_row < 0:
                first_row = position
            elif happening.kind == "end":
                with_session = is_first and opened > self._last_signal(position)
                if is_first or first_row >= 0:
                    ends.append((opened if with_session else first_row, position))
                first_row, is_first = -1, False
        return ends

    def _last_signal(self, before: int) -> int:
        return max((n for n in range(before) if self.history[n].kind == "signal"), default=-1)

    def tripped(self) -> bool:
        last = self._last_signal(len(self.history))
        return last >= 0 and not any(began > last and end > last for began, end in self.ends())

    def state(self) -> str:
        opened = [position for position, happening in enumerate(self.history) if happening.kind == "open"]
        if self.tripped():
            return "tripped"
        if not opened:
            return "empty"
        if self.authoritative() is None:
            return "stale"
        return "ready" if any(end > opened[-1] for _, end in self.ends()) else "snapshot"

    def position(self, task: str) -> int | None:
        indexes = [happening.index for happening in self.history if self.tasks[happening.session] == task]
        return max((index for index in indexes if index > 0), default=None)


class StoreMachine(RuleBasedStateMachine):
    unseen_time = False

    @initialize(concurrent=st.booleans())
    def start(self, concurrent: bool) -> None:
        self.model = Model(concurrent)
        self.datastore = Datastore(
            "machine", DatastoreSettings(TIMEOUT, concurrent), clock=self, wall=lambda: 1e9 + self.model.now
        )
        self.datastore.start()

    def now(self) -> float:
        """The machine is the datastore's clock."""
        return self.model.now

    def teardown(self) -> None:
        if hasattr(self, "datastore"):
            self.datastore.close()

    # What happens

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, TIMEOUT - 1.0, TIMEOUT, TIMEOUT + 0.5, 3.0 * TIMEOUT]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds
        self.unseen_time = True

    @rule(task=st.sampled_from(TASKS))
    def open(self, task: str) -> None:
        session = wait(self.datastore.open_session(task, None, "")).session_id
        self.model.tasks[session] = task
        self.model.add("open", session)

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES)
    def heartbeat(self, age: int) -> None:
        session = self.session(age)
        self.check(session, lambda: self.datastore.heartbeat(session), "life")

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES)
    def end_session(self, age: int) -> None:
        session = self.session(age)
        expected = self.model.status(session)
        answered = outcome(lambda: wait(self.datastore.end_session(session)))
        assert answered == (404 if expected == 404 else OK)
        if expected == OK:
            self.model.add("ended", session)

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES, index=st.integers(-2, 20), end=st.booleans())
    def message(self, age: int, index: int, end: bool) -> None:
        session = self.session(age)
        self.check(session, lambda: self.push(session, "message", True, end, index), "message", index)

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES, steps=st.lists(SNAPSHOT_STEPS, min_size=1, max_size=10))
    def snapshots_and_signals(self, age: int, steps: list[str]) -> None:
        session = self.session(age)
        for step in steps:
            if step == "signal":
                self.check_authoritative(session, lambda: self.push(session, "anomaly", None, False, 0), step)
            else:
                rows, end = step in ("rows", "both"), step in ("end", "both")
                kinds = ["rows"] * rows + ["end"] * end or ["life"]
                push = partial(self.push, session, "snapshot", rows, end, 7)
                self.check_authoritative(session, push, *kinds, index=7)
            self.the_state_is_the_models()

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES)
    def signal(self, age: int) -> None:
        session = self.session(age)
        signal = partial(self.datastore.anomaly, session, None, None, [])
        self.check_authoritative(session, lambda: wait(signal()), "signal")

    @precondition(lambda self: self.model.tasks)
    @rule(age=AGES)
    def position(self, age: int) -> None:
        session = self.session(age)
        expected = self.model.status(session)
        answers: list[int] = []
        answered = outcome(lambda: answers.append(self.datastore.position(session)))
        if expected == OK:
            self.model.add("life", session)
            known = self.model.position(self.model.tasks[session])
            assert (answered, answers) == ((OK, [known]) if known is not None else (404, []))
        else:
            assert answered == expected

    # What is always so

    @invariant()
    def the_answers_are_the_models(self) -> None:
        # Nobody looks just after time has passed: what expired must have done so for the next call, too.
        if not self.unseen_time:
            self.the_state_is_the_models()
            listed = {known["session_id"]: known["authoritative"] for known in self.datastore.sessions()}
            active = [session for session in self.model.tasks if self.model.status(session) == OK]
            authoritative = self.model.authoritative()
            assert listed == {session: session == authoritative for session in active}
        self.unseen_time = False

    def the_state_is_the_models(self) -> None:
        assert self.datastore.state == self.model.state()
        assert self.datastore.consistency()["tripped"] == self.model.tripped()

    # Means

    def session(self, age: int) -> str:
        """The newest session, or one opened before it."""
        opened = list(self.model.tasks)
        return opened[max(-1 - age, -len(opened))]

    def push(self, session: str, source: str, rows: bool | None, end: bool, index: int) -> Any:
        event = {"index": index, "rows": [{"path": "/a", "size": 1}] if rows else []}
        events = [] if rows is None else [event]
        body = {"session_id": session, "source_type": source, "is_snapshot_end": end, "events": events}
        return wait(self.datastore.push(Batch.decode(json.dumps(body).encode())))

    def check(self, session: str, call: Callable[[], Any], kind: str, index: int = -1) -> None:
        expected = self.model.status(session)
        assert outcome(call) == expected
        if expected == OK:
            self.model.add(kind, session, index)

    def check_authoritative(
        self, session: str, call: Callable[[], Any], *kinds: str, index: int = -1
    ) -> None:
        expected = self.model.status(session)
        if expected == OK and session != self.model.authoritative():
            expected = 419
        assert outcome(call) == expected
        if expected == OK:
            for kind in kinds:
                self.model.add(kind, session, index)


def wait(future: Future[Any]) -> Any:
    return future.result(STUCK_SECONDS)


def outcome(call: Callable[[], Any]) -> int:
    try:
        call()
    except FusionError as error:
        return error.status
    return OK


def test_a_datastore_does_what_its_history_says() -> None:
    run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=150, stateful_step_count=30, deadline=None)
    )


def test_the_model_knows_the_promises() -> None:
    """The model itself, on a history told by hand."""
    model = Model(concurrent=False)
    model.tasks = {"a": "one", "b": "two"}
    assert model.state() == "empty"
    model.add("open", "a")
    model.add("rows", "a")
    assert model.state() == "snapshot"
    model.add("end", "a")
    assert model.state() == "ready"
    model.add("signal", "a")
    model.add("end", "a")
    assert model.state() == "tripped"
    model.now += TIMEOUT + 1
    assert model.status("a") == 404
    model.add("open", "b")
    model.add("end", "b")
    assert (model.state(), model.status("a"), model.status("b")) == ("ready", 404, OK)
    model.add("open", "a")
    assert model.status("b") == 419


@pytest.mark.parametrize("seconds", [0.0, TIMEOUT])
def test_the_model_does_not_expire_early(seconds: float) -> None:
    model = Model(concurrent=True)
    model.tasks = {"a": "one"}
    model.add("open", "a")
    model.now += seconds
    assert model.status("a") == OK
