"""`fusion top`: its frames, its rates, and how it goes on without a server."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_fusion import Answer, FakeFusion
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fusion import cli
from fusion.commands.top import BARS, Watched, duration, frame, sparkline, wait_for_input

STUCK_SECONDS = 60.0

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "time": 1_000_100.0,
    "started": 1_000_000.0,
    "datastore": "research",
    "scopes": ["read"],
    "state": "ready",
    "reason": None,
    "ready": True,
    "problem": None,
    "progress": None,
    "durability": "fsync",
    "breaker": {"tripped": False, "reason": None},
    "revision": 1234,
    "nodes": 5001,
    "files": 5000,
    "directories": 1,
    "bytes": 2_000_000,
    "bytes_per_node": 97.4,
    "totals": {"rows": 1000, "batches": 10, "body_bytes": 50_000},
    "queue": {"batches": 2, "bytes": 3000},
    "inflight": 1,
    "last_event_latency_ms": 12.5,
    "sessions": [
        {
            "task_id": "nightly",
            "client_ip": "127.0.0.1",
            "created_at": 1_000_040.0,
            "last_activity": 1_000_099.0,
            "authoritative": True,
            "session_timeout_seconds": 30,
        }
    ],
}


def status(**changes: Any) -> dict[str, Any]:
    return {**STATUS, **changes}


def drawn(*watched: Watched, width: int = 80, height: int | None = 24) -> list[str]:
    """A frame as lines of plain text."""
    stream = io.StringIO()
    Console(file=stream, color_system=None, width=width).print(frame("http://x", watched, height))
    return stream.getvalue().splitlines()


def watched(document: dict[str, Any] | None, problem: str | None = None) -> Watched:
    return Watched(httpx.Client(), "http://x", "key", document, problem)


# Frames


def test_a_frame_says_it_all() -> None:
    text = "\n".join(drawn(watched(STATUS)))
    for part in (
        "fusion 0.1.0  up 1 min 40 s  http://x",
        "research  ready",
        "files 5,000  directories 1  size 2.0 MB  revision 1,234  97 B/node",
        "1,000 rows  10 batches  50.0 kB since the start",
        "2 batches waiting  1 applying  3.0 kB  durability fsync  latency 12 ms",
        "* nightly  127.0.0.1  1 min 0 s     1 s  30 s",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state": "tripped", "reason": "it differs (reason: mine)"}, "it differs (reason: mine)"),
        ({"problem": "the disk is full"}, "the disk is full"),
        ({"progress": {"phase": "recovery", "done": 5, "total": 20}}, "25% of 20 records"),
        ({"progress": {"phase": "snapshot", "done": 7000, "total": None}}, "7,000 rows so far"),
        ({"sessions": []}, "no session is open"),
        ({"files": None, "directories": None, "bytes": None}, "nodes 5,001"),
        ({"last_event_latency_ms": None, "durability": "none"}, "durability none"),
    ],
)
def test_what_is_not_as_usual_is_shown(changes: dict[str, Any], shown: str) -> None:
    assert shown in "\n".join(drawn(watched(status(ready=False, **changes))))


def test_what_a_terminal_would_obey_is_not_sent_to_it() -> None:
    sessions = [{**STATUS["sessions"][0], "task_id": "\x1b]0;x\x07\n[red]"}]
    text = "\n".join(drawn(watched(status(sessions=sessions, reason="\x1b[2J"))))
    assert "\x1b" not in text and "\x07" not in text
    assert "]0;x��[red]" in text


@given(
    st.integers(1, 4),
    st.integers(0, 40),
    st.text(max_size=200),
    st.one_of(st.none(), st.text(max_size=100)),
    st.sampled_from([None, "nothing answers at http://x"]),
)
def test_a_frame_fits_into_a_terminal(
    datastores: int, sessions: int, task: str, reason: str | None, problem: str | None
) -> None:
    many = [{**STATUS["sessions"][0], "task_id": task}] * sessions
    one = watched(status(sessions=many, reason=reason), problem)
    lines = drawn(*[one] * datastores, width=80, height=24)
    assert all(len(line) <= 80 for line in lines)
    if datastores <= 2:
        assert len(lines) <= 24


def test_sessions_without_room_are_counted() -> None:
    many = [{**STATUS["sessions"][0], "task_id": f"task {number}"} for number in range(50)]
    assert "more" in drawn(watched(status(sessions=many)))[-1]


@given(st.lists(st.floats(0, 1e9, allow_subnormal=False), max_size=50), st.integers(1, 40))
def test_a_sparkline_has_a_bar_for_each_value(values: list[float], width: int) -> None:
    bars = sparkline(values, width)
    shown = values[-width:]
    assert len(bars) == len(shown)
    heights = [BARS.index(bar) for bar in bars]
    for value, height in zip(shown, heights, strict=True):
        assert (height == 0) == (value == 0)
        assert height == len(BARS) - 1 if value == max(shown) > 0 else True
    assert [height for _, height in sorted(zip(shown, heights, strict=True))] == sorted(heights)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0125, "12 ms"),
        (1, "1 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Rates


def test_rates_follow_from_two_answers() -> None:
    one = watched(status())
    later = status(time=STATUS["time"] + 2, totals={"rows": 1500, "batches": 20, "body_bytes": 51_000})
    one.client = httpx.Client(
        base_url="http://x", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=later))
    )
    one.look()
    assert (list(one.rates), one.batch_rate, one.byte_rate) == ([250.0], 5.0, 500.0)
    assert "250 rows/s  5 batches/s  500 B/s  █" in "\n".join(drawn(one))


def test_there_is_no_rate_over_a_restart() -> None:
    one = watched(status())
    one.rates.append(1.0)
    later = status(time=STATUS["time"] + 2, started=STATUS["time"] + 1)
    one.client = httpx.Client(
        base_url="http://x", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=later))
    )
    one.look()
    assert not one.rates and one.batch_rate is None


# The command


@pytest.fixture
def fake() -> Iterator[FakeFusion]:
    with FakeFusion() as fake:
        yield fake


@pytest.fixture
def run(fake: FakeFusion, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Callable[..., tuple[int, str, str]]:
    """Runs the command against the stand-in: (exit status, standard output, standard error)."""
    monkeypatch.setenv("FUSION_URL", fake.url)
    monkeypatch.setenv("FUSION_API_KEY", "key")
    fake.intercept = lambda request: Answer(200, STATUS)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            ended = cli.main(["top", *arguments])
        except SystemExit as end:
            ended = int(end.code or 0)
        sys.stdout.flush()
        return ended, *capfd.readouterr()

    return run


def test_once_is_one_frame_of_plain_text(run: Callable[..., tuple[int, str, str]]) -> None:
    ended, out, err = run("--once")
    assert (ended, err) == (0, "")
    assert "research  ready" in out and "\x1b" not in out


def test_json_has_an_answer_for_each_key(run: Callable[..., tuple[int, str, str]]) -> None:
    ended, out, _ = run("--json", "--api-key", "one", "--api-key", "two", "--api-key", "one")
    assert ended == 0
    assert json.loads(out) == [STATUS, STATUS]


def test_a_wrong_key_is_told(fake: FakeFusion, run: Callable[..., tuple[int, str, str]]) -> None:
    fake.intercept = lambda request: Answer(401, {"detail": "send a valid API key", "code": "unauthorized"})
    ended, out, _ = run("--once")
    assert ended == 1 and "send a valid API key" in out
    ended, out, _ = run("--json")
    assert ended == 1 and json.loads(out) == [{"error": "send a valid API key"}]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "standard output is no terminal; use --once or --json"),
        (["--once", "--json"], "not allowed with"),
        (["--once", "--url", "http://[", "--api-key", "k"], "cannot ask http://["),
    ],
)
def test_wrong_usage(run: Callable[..., tuple[int, str, str]], arguments: list[str], line: str) -> None:
    ended, out, err = run(*arguments)
    assert (ended, out) == (2, "") and line in err


def test_no_key(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSION_API_KEY")
    assert run("--once")[0] == 2


class Terminal:
    """The command on a terminal of 80x24."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fusion", "top", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
            start_new_session=True,
            cwd=Path(cli.__file__).parents[1],
        )
        os.close(theirs)
        self.text = ""

    def until(self, part: str) -> None:
        deadline = time.monotonic() + STUCK_SECONDS
        while part not in self.text:
            assert time.monotonic() < deadline and self.process.poll() is None, self.text
            if wait_for_input(self._ours, 1):
                self.text += os.read(self._ours, 65536).decode(errors="replace")

    def press(self, keys: bytes) -> int:
        os.write(self._ours, keys)
        return self.process.wait(STUCK_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(fake: FakeFusion) -> Iterator[Terminal]:
    fake.intercept = lambda request: Answer(200, STATUS)
    terminal = Terminal("--url", fake.url, "--api-key", "key")
    yield terminal
    terminal.close()


def test_q_ends_it(terminal: Terminal) -> None:
    terminal.until("research")
    assert terminal.press(b"q") == 0


def test_it_goes_on_while_the_server_cannot_answer(fake: FakeFusion, terminal: Terminal) -> None:
    terminal.until("research")
    fake.intercept = lambda request: Answer(503, {"detail": "out for lunch", "code": "interrupted"})
    terminal.until("out for lunch; trying again")
    fake.intercept = lambda request: Answer(200, status(state="stale", ready=False, reason="back again"))
    terminal.until("back again")
    assert terminal.press(b"Q") == 0
