"""The log: one line for each event, whatever the texts are, and no secrets."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic.compat import Header

from fusion.api.refusals import QUIET_SECONDS, RefusalLog
from fusion.datastore_log import DatastoreLog
from fusion.errors import InternalError, NotReady, Overloaded
from fusion.logs import MOST_CHARACTERS, JsonFormatter, TextFormatter, configure, event
from fusion.readiness import State
from fusion.sessions import Session

log = logging.getLogger("fusion.test")


@pytest.fixture
def stream() -> Iterator[Callable[..., io.StringIO]]:
    """Configure the log of this process and get what it writes; all is as before afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("fusion")
    before = root.handlers, root.level, ours.level, logging.raiseExceptions

    def configured(log_format: str = "json", level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        configure(log_format, level, stream)
        return stream

    yield configured
    logging.captureWarnings(False)
    root.handlers, root.level, ours.level, logging.raiseExceptions = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json(stream: Callable[..., io.StringIO]) -> None:
    out = stream()
    event(log, logging.WARNING, "tripped", "something is wrong", datastore="one", rows=3)
    [line] = lines(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "warning",
        "logger": "fusion.test",
        "event": "tripped",
        "datastore": "one",
        "rows": 3,
        "message": "something is wrong",
    }


def test_a_line_of_text(stream: Callable[..., io.StringIO]) -> None:
    out = stream("text")
    event(log, logging.INFO, "session_opened", "a session was opened", datastore="one", task_id="a = b\n")
    assert out.getvalue().endswith(
        'INFO    fusion.test session_opened datastore=one task_id="a = b\\n": a session was opened\n'
    )


def test_a_traceback_is_a_field_in_json_and_lines_in_text(stream: Callable[..., io.StringIO]) -> None:
    for log_format in ("json", "text"):
        out = stream(log_format)
        try:
            raise RuntimeError("why")
        except RuntimeError:
            log.exception("it failed")
        if log_format == "json":
            [line] = lines(out)
            assert line["exception"].splitlines()[-1] == "RuntimeError: why"
        else:
            assert out.getvalue().splitlines()[-1] == "RuntimeError: why"


def test_levels_are_about_our_own_and_of_frameworks_warnings_are_told(
    stream: Callable[..., io.StringIO],
) -> None:
    for level, told in [("debug", 6), ("info", 3), ("warning", 2), ("error", 1)]:
        out = stream(level=level)
        for logger in (log, logging.getLogger("sanic.root")):
            logger.debug("d")
            logger.info("i")
            logger.warning("w")
        assert len(lines(out)) == told, level


def test_python_warnings_go_there_too(stream: Callable[..., io.StringIO]) -> None:
    out = stream()
    logging.getLogger("py.warnings").warning("a warning")
    assert lines(out)[0]["message"] == "a warning"


def test_a_stream_that_cannot_be_written_is_no_failure(stream: Callable[..., io.StringIO]) -> None:
    stream().close()
    event(log, logging.ERROR, "lost", "nobody will read this")


TEXTS = st.text(st.characters(codec=None), max_size=3 * MOST_CHARACTERS)


@given(TEXTS, st.dictionaries(st.sampled_from(["reason", "task_id"]), TEXTS))
def test_whatever_the_texts_are_an_event_is_one_line_of_ascii_json(
    sentence: str, fields: dict[str, str]
) -> None:
    record = logging.LogRecord("fusion", logging.INFO, "", 0, "%s", (sentence,), None)
    record.event, record.fields = "something", fields
    line = JsonFormatter().format(record)
    assert line.isascii() and len(line.splitlines()) == 1
    document = json.loads(line)
    for name, text in fields.items():
        assert len(document[name]) <= MOST_CHARACTERS
        if len(text) <= MOST_CHARACTERS:
            assert document[name] == text
    text = TextFormatter().format(record)
    assert len(text.splitlines()) == 1
    text.encode()


# What datastores tell


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records]


def test_a_state_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fusion")
    datastore = DatastoreLog("one")
    for state in (State.EMPTY, State.EMPTY, State.READY, State.READY, State.EMPTY):
        datastore.state(state, None)
    assert [(record.fields["before"], record.fields["state"]) for record in caplog.records] == [
        (None, "empty"),
        ("empty", "ready"),
        ("ready", "empty"),
    ]


def test_a_session_that_takes_the_place_of_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fusion")
    old, new = (Session(name, "task", "127.0.0.1", 30, 0.0, 0.0) for name in ("old", "new"))
    DatastoreLog("one").opened(new, [old])
    assert told(caplog) == ["session_superseded", "session_opened"]
    assert caplog.records[0].fields["by"] == caplog.records[1].fields["session_id"] == "new"


# Refused requests


def asked(**headers: str) -> Any:
    return SimpleNamespace(
        method="POST",
        path="/p",
        query_string="secret",
        headers=Header(headers),
        ctx=SimpleNamespace(),
    )


def test_a_storm_of_refusals_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    refusals = RefusalLog(lambda: now)
    for _ in range(5):
        refusals.add(asked(), Overloaded(), Overloaded(), "one")
    refusals.add(asked(), Overloaded(), Overloaded(), "two")
    now = QUIET_SECONDS
    refusals.add(asked(), Overloaded(), Overloaded(), "one")
    assert [(record.fields["datastore"], record.fields["untold"]) for record in caplog.records] == [
        ("one", 0),
        ("two", 0),
        ("one", 4),
    ]


def test_what_a_state_explains_is_told_to_those_who_debug(caplog: pytest.LogCaptureFixture) -> None:
    refused = NotReady("empty", 0, 0)
    caplog.set_level(logging.DEBUG, "fusion")
    RefusalLog().add(asked(), refused, refused, "one")
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_every_failure_of_ours_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    refusals = RefusalLog()
    for number in range(3):
        refusals.add(asked(), InternalError(), RuntimeError(f"number {number}"), None)
    assert told(caplog) == ["request_failed"] * 3
    assert "number 2" in caplog.text


def test_neither_keys_nor_headers_nor_queries_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fusion")
    request = asked(**{"x-api-key": "secret", "cookie": "secret", "x-request-id": "mine"})
    refusals = RefusalLog()
    for failure in (Overloaded(), InternalError(), NotReady("empty", 0, 0)):
        refusals.add(request, failure, failure, "one")
    for record in caplog.records:
        assert "secret" not in JsonFormatter().format(record)
        assert record.fields["request_id"] == "mine"
