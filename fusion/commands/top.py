"""`fusion top`: what the datastores of a server are doing, live."""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .base import DEFAULT_HOST, DEFAULT_PORT, CommandError, counted, size_text, write_line

if TYPE_CHECKING:
    import httpx
    from rich.console import Console, RenderableType

HELP = """\
Shows a live view of the datastores that the keys given belong to: their state and why, what comes in, and
which agents feed them. q or Ctrl-C ends it. It needs keys of the scope read.
"""
INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
MOST_RATES = 120
BARS = " ▁▂▃▄▅▆▇█"
COLOURS = {"ready": "green", "tripped": "bold red", "damaged": "bold red", "stale": "red"}


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    top = commands.add_parser(
        "top",
        help="watch what a server is doing",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--url", help=f"the server (default: $FUSION_URL, else http://{DEFAULT_HOST}:{DEFAULT_PORT})"
    )
    top.add_argument(
        "--api-key",
        metavar="KEY",
        action="append",
        help="a key of a datastore; may be given several times (default: $FUSION_API_KEY)",
    )
    how = top.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="print one frame as plain text, and end")
    how.add_argument("--json", action="store_true", help="print one answer for each key as JSON, and end")
    top.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion top`; with --once and --json the exit status is 1 when a datastore could not be asked."""
    import httpx
    from rich.console import Console

    from fusion.agent.push import reaching

    url = options.url or os.environ.get("FUSION_URL") or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
    keys = options.api_key or [key for key in [os.environ.get("FUSION_API_KEY")] if key]
    if not keys:
        raise CommandError("no API key: set FUSION_API_KEY or give --api-key", status=2)
    try:
        client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, **reaching(url))
    except (httpx.InvalidURL, ValueError) as error:
        raise CommandError(f"cannot ask {url}: {error}", status=2) from None
    with client:
        watched = [Watched(client, url, key) for key in dict.fromkeys(keys)]
        if options.json or options.once:
            for one in watched:
                one.look()
            if options.json:
                write_line(json.dumps([one.status or {"error": one.problem} for one in watched], indent=2))
            else:
                console = Console(file=sys.stdout, color_system=None, width=shown_width())
                console.print(frame(url, watched))
            return 1 if any(one.problem for one in watched) else 0
        if not sys.stdout.isatty():
            raise CommandError("standard output is no terminal; use --once or --json", status=2)
        watch(Console(), url, watched)
    return 0


def shown_width() -> int:
    """Of a frame that no terminal limits."""
    return os.get_terminal_size().columns if sys.stdout.isatty() else 80


@dataclass
class Watched:
    """One datastore, as its key shows it."""

    client: httpx.Client
    url: str
    key: str
    status: dict[str, Any] | None = None  # the last answer
    problem: str | None = None  # why the last attempt has no answer
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_RATES))  # rows a second
    batch_rate: float | None = None
    byte_rate: float | None = None

    def look(self) -> None:
        """Ask once, and work out the rates since the answer before."""
        import httpx

        from fusion.agent.push import detail_of

        before = self.status
        try:
            answer = self.client.get("/status", headers={"X-API-Key": self.key})
            if answer.status_code != 200:
                self.problem = detail_of(answer)
                return
            self.status, self.problem = answer.json(), None
        except httpx.ConnectError:
            self.problem = f"nothing answers at {self.url}"
        except (httpx.HTTPError, ValueError) as error:
            self.problem = f"cannot ask {self.url}: {error or type(error).__name__}"
        if self.problem is None and before is not None:
            self._compare(before)

    def _compare(self, before: dict[str, Any]) -> None:
        assert self.status is not None
        seconds = self.status["time"] - before["time"]
        if self.status["started"] != before["started"] or seconds <= 0:  # another process, or another clock
            self.rates.clear()
            self.batch_rate = self.byte_rate = None
            return
        now, then = self.status["totals"], before["totals"]
        self.rates.append((now["rows"] - then["rows"]) / seconds)
        self.batch_rate = (now["batches"] - then["batches"]) / seconds
        self.byte_rate = (now["body_bytes"] - then["body_bytes"]) / seconds


def watch(console: Console, url: str, watched: Sequence[Watched]) -> None:
    """Show frames until q or Ctrl-C."""
    from rich.live import Live

    with unbuffered_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            for one in watched:
                one.look()
            live.update(frame(url, watched, console.height), refresh=True)
            if quits(INTERVAL_SECONDS - (time.monotonic() - began)):
                return


@contextmanager
def unbuffered_keys() -> Iterator[None]:
    """A key can be read as soon as it is pressed, and is not shown. Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def wait_for_input(descriptor: int, seconds: float) -> bool:
    """Not select(), which takes no descriptor from 1024 on."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def quits(seconds: float) -> bool:
    """Wait; whether q was pressed meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(left)
        elif wait_for_input(sys.stdin.fileno(), left):
            pressed = os.read(sys.stdin.fileno(), 64)
            if not pressed or b"q" in pressed.lower():
                return True
    return False


# What a frame looks like


def frame(url: str, watched: Sequence[Watched], height: int | None = None) -> RenderableType:
    """All of it; of many datastores and sessions so much as `height` lines have room for."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [headline(url, watched)]
    problems = [one.problem for one in watched]
    is_shared = len(set(problems)) == 1  # the server is away, say: once is enough
    if is_shared and problems[0] is not None:
        parts.append(trouble(problems[0]))
    room = None if height is None else max((height - 1) // len(watched) - 8, 1)
    for one in watched:
        parts.append(Text())
        if one.problem is not None and not is_shared:
            parts.append(trouble(one.problem))
        parts += datastore(one, room)
    return Group(*parts)


def trouble(problem: str) -> RenderableType:
    from rich.text import Text

    return Text(f"{problem}; trying again", style="bold red", no_wrap=True, overflow="ellipsis")


def headline(url: str, watched: Sequence[Watched]) -> RenderableType:
    from rich.text import Text

    known = next((one.status for one in watched if one.status is not None), None)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("fusion", style="bold")
    if known is not None:
        up = duration(known["time"] - known["started"])
        text.append(f" {known['version']}  up {up}")
    text.append(f"  {url}  ")
    text.append("q quits", style="dim")
    return text


def datastore(one: Watched, room: int | None) -> Iterator[RenderableType]:
    """Some eight lines, and one for each session; `room`: how many of those, None: all."""
    from rich.padding import Padding
    from rich.text import Text

    status = one.status
    if status is None:
        return
    state = status["state"]
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(status["datastore"], style="bold reverse")
    title.append("  ")
    title.append(state, style="dim" if one.problem else COLOURS.get(state, "yellow"))
    if so_far := progress(status):
        title.append(f"  {so_far}")
    yield title
    for why in filter(None, dict.fromkeys([status["reason"], status["problem"]])):
        yield Padding(Text(plain(why), style="yellow"), (0, 0, 0, 2), expand=False)
    yield tree_line(status)
    yield rate_line(one)
    yield queue_line(status)
    yield from sessions(status, room)


def progress(status: dict[str, Any]) -> str | None:
    found = status["progress"]
    if found is None:
        return None
    noun = "record" if found["phase"] == "recovery" else "row"
    if found["total"]:
        return f"{found['done'] / found['total']:.0%} of {counted(found['total'], noun)}"
    return f"{counted(found['done'], noun)} so far"


def tree_line(status: dict[str, Any]) -> RenderableType:
    facts = [f"nodes {status['nodes']:,}"]
    if status["files"] is not None:
        facts = [
            f"files {status['files']:,}",
            f"directories {status['directories']:,}",
            f"size {size_text(status['bytes'])}",
        ]
    facts.append(f"revision {status['revision']:,}")
    if status["nodes"] >= 1000:  # an empty index has a size, too
        facts.append(f"{status['bytes_per_node']:.0f} B/node")
    return line("tree", facts)


def rate_line(one: Watched) -> RenderableType:
    from rich.text import Text

    assert one.status is not None
    if not one.rates or one.batch_rate is None or one.byte_rate is None:
        totals = one.status["totals"]
        facts = [counted(totals["rows"], "row"), counted(totals["batches"], "batch", "batches")]
        return line("in", [*facts, f"{size_text(totals['body_bytes'])} since the start"])
    facts = [
        f"{one.rates[-1]:,.0f} rows/s",
        f"{one.batch_rate:,.0f} batches/s",
        f"{size_text(round(one.byte_rate))}/s",
    ]
    made = line("in", facts)
    made.append("  ")
    made.append_text(Text(sparkline(one.rates, 24), style="cyan"))
    return made


def queue_line(status: dict[str, Any]) -> RenderableType:
    facts = [
        f"{counted(status['queue']['batches'], 'batch', 'batches')} waiting",
        f"{status['inflight']:,} applying",
        size_text(status["queue"]["bytes"]),
        f"durability {status['durability']}",
    ]
    latency = status["last_event_latency_ms"]
    if latency is not None:
        facts.append(f"latency {duration(latency / 1000)}")
    return line("queue", facts)


def line(name: str, facts: Sequence[str]) -> Any:
    from rich.text import Text

    made = Text(no_wrap=True, overflow="ellipsis")
    made.append(f"  {name:<6}", style="dim")
    made.append("  ".join(facts))
    return made


def sessions(status: dict[str, Any], room: int | None) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    found = sorted(status["sessions"], key=lambda session: not session["authoritative"])
    if not found:
        yield line("agents", ["no session is open"])
        return
    shown = found if room is None or len(found) <= room else found[: max(room - 1, 1)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    table.add_column("  task", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("client", "open", "silent", "of"):
        table.add_column(name, no_wrap=True, justify="left" if name == "client" else "right")
    for session in shown:
        mark = "*" if session["authoritative"] else " "
        silent = max(0.0, status["time"] - session["last_activity"])
        timeout = session["session_timeout_seconds"]
        table.add_row(
            Text(f"{mark} {plain(session['task_id'])}"),
            session["client_ip"],
            duration(max(0.0, status["time"] - session["created_at"])),
            Text(duration(silent), style="yellow" if silent > timeout / 2 else ""),
            duration(timeout),
        )
    yield table
    if len(shown) < len(found):
        yield line("", [f"and {len(found) - len(shown):,} more"])


def plain(text: str) -> str:
    """Text of others, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as bars, the highest one full."""
    last = list(values)[-width:]
    most = max(last, default=0)
    if most <= 0:
        return BARS[0] * len(last)
    return "".join(BARS[math.ceil(max(value, 0) / most * (len(BARS) - 1))] for value in last)


def duration(seconds: float) -> str:
    """A time for people: its one or two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
