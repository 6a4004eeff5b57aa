"""Agents on the command line: what a person sees of one, and how it ends."""

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from fusion.keys import key_text, new_id

from .agent import Agent, Phase, printable
from .display import Display, Progress, open_display
from .own_server import OwnServer, ServerEnded, own_server, reachable
from .push import Pusher, Refused, detail_of, reaching
from .scope import Scope
from .selection import Selection
from .spool import DEFAULT_SPOOL_BYTES, Spool

REFRESH_SECONDS = 0.1
NOT_READY_POLL_SECONDS = 0.05
NAMED_UNREADABLE = 3

Figures = Callable[[], Awaitable[str]]  # of what the server has, for people


def run(directory: str, host: str, port: int, *, allow_plaintext: bool) -> int:
    """`fusion watch`: serves and follows one directory until SIGINT or SIGTERM; returns the exit status."""

    async def watch(show: "Show") -> None:
        key = key_text(new_id())
        async with own_server(host, port, key, allow_plaintext=allow_plaintext) as server:
            await _watch(show, os.path.abspath(directory), server, key)

    return _run(watch)


async def _watch(show: "Show", directory: str, server: OwnServer, key: str) -> None:
    local = reachable(server.url)
    start = quote(os.fsencode(directory))
    curl = shlex.join(["curl", "-H", f"X-API-Key: {key}", f"{local}/views/fs/tree?path={start}&max_depth=1"])
    show.display.line(f"serving {printable(directory)} at {server.url}")
    show.display.line(f"API key (shown only now): {key}")
    show.display.line(f"once it is ready, try\n  {curl}")
    # The server's own files are left out: it writes them for every change it is told.
    scope = Scope.of(directory, Selection(), [Path(server.folder)])
    async with contextlib.AsyncExitStack() as stack:
        spool = stack.enter_context(contextlib.closing(Spool(Path(server.folder), DEFAULT_SPOOL_BYTES)))
        pusher = Pusher(local, key)
        stack.push_async_callback(pusher.close)
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=local, headers={"X-API-Key": key}, **reaching(local))
        )
        agent = Agent(scope, pusher, spool, on_phase=show.phases.put_nowait)
        await show.accompany(
            agent, agent.run(), lambda: _server_figures(client), _raise_when_ended(server.ended)
        )


def run_agent(scope: Scope, url: str, api_key: str, spool: Spool, *, once: bool) -> int:
    """`fusion agent`: tells a server of one directory, until SIGINT or SIGTERM or `once`; the exit status."""

    async def tell(show: "Show") -> None:
        show.display.line(f"telling {url} of {printable(scope.root)}")
        pusher = Pusher(url, api_key)
        try:
            agent = Agent(scope, pusher, spool, on_phase=show.phases.put_nowait)

            async def figures() -> str:
                return f"{agent.pushed:,} nodes"

            if once:
                await show.accompany_once(agent, figures)
            else:
                await show.accompany(agent, agent.run(), figures)
        finally:
            await pusher.close()

    return _run(tell)


class Show:
    """What a person sees of an agent."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.phases: asyncio.Queue[Phase] = asyncio.Queue()
        self.ready = False  # the server had the whole tree once
        self._started = time.monotonic()

    async def accompany(
        self,
        agent: Agent,
        running: Coroutine[Any, Any, None],
        figures: Figures,
        *others: Coroutine[Any, Any, None],
    ) -> None:
        """Runs an agent, with others, and shows what it does; ends by an exception only."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (running, self._report(agent, figures), self._show_progress(agent), *others):
                    group.create_task(work)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def accompany_once(self, agent: Agent, figures: Figures) -> None:
        """Runs an agent for one snapshot."""
        progress = asyncio.create_task(self._show_progress(agent))
        try:
            await agent.run_once()
        finally:
            progress.cancel()
        await self._tell_ready(agent, figures)

    async def _report(self, agent: Agent, figures: Figures) -> None:
        """A line for each time the server has the whole tree."""
        while True:
            if await self.phases.get() is Phase.FOLLOWING:
                was_ready = self.ready
                await self._tell_ready(agent, figures)
                if not was_ready:
                    self.display.line("following changes, Ctrl-C stops")

    async def _tell_ready(self, agent: Agent, figures: Figures) -> None:
        text = await figures()
        seconds = time.monotonic() - (agent.scan_started if self.ready else self._started)
        self.display.finish()
        for line in _unreadable(agent):
            self.display.warn(line)
        self.display.line(f"ready: {text} in {seconds:.1f} s")
        self.ready = True

    async def _show_progress(self, agent: Agent) -> None:
        while True:
            scan = agent.scan
            if agent.phase is Phase.SCANNING and scan is not None:
                seconds = time.monotonic() - agent.scan_started
                errors = len(scan.unreadable) + scan.unreadable_entries
                self.display.progress(Progress(agent.pushed, scan.fraction, seconds, errors))
            else:
                self.display.finish()
            await asyncio.sleep(REFRESH_SECONDS)


def _run(work: Callable[[Show], Coroutine[Any, Any, None]]) -> int:
    """Sees one piece of work through; returns the exit status."""
    display = open_display()
    handler = _Handler(display)
    logger = logging.getLogger("fusion.agent")
    logger.addHandler(handler)
    try:
        return asyncio.run(_outcome(work, Show(display)))
    finally:
        logger.removeHandler(handler)


async def _outcome(work: Callable[[Show], Coroutine[Any, Any, None]], show: Show) -> int:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    status, say, text = 0, show.display.line, ""
    try:
        await work(show)
    except asyncio.CancelledError:
        status, text = 0 if show.ready else 130, "stopped"
    except ServerEnded as error:
        # One that never listened has said why by itself.
        status, say, text = max(error.status, 1), show.display.warn, f"fusion: {error}" if show.ready else ""
    except Refused as error:
        status, say, text = 1, show.display.warn, f"fusion: the server refused the agent: {error}"
    show.display.finish()
    if text:
        say(text)
    return status


def _unreadable(agent: Agent) -> Iterator[str]:
    """What the newest scan could not read."""
    scan = agent.scan
    if scan is None or not (scan.unreadable or scan.unreadable_entries):
        return
    named = [printable(path) for path in sorted(scan.unreadable)[:NAMED_UNREADABLE]]
    if len(scan.unreadable) > len(named):
        named.append("...")
    yield (
        f"{len(scan.unreadable):,} directories and {scan.unreadable_entries:,} entries could not be read"
        f" and are left out{': ' if named else ''}{', '.join(named)}"
    )


async def _raise_when_ended(ended: asyncio.Task[int]) -> None:
    raise ServerEnded(await asyncio.shield(ended))


async def _server_figures(client: httpx.AsyncClient) -> str:
    """What the server counts, once it is ready."""
    while True:
        try:
            response = await client.get("/views/fs/stats")
        except httpx.TransportError:
            await asyncio.sleep(NOT_READY_POLL_SECONDS)
            continue
        if response.status_code == 503:
            await asyncio.sleep(NOT_READY_POLL_SECONDS)
            continue
        if response.status_code != 200:
            raise Refused(response.status_code, detail_of(response))
        figures = response.json()
        return f"{figures['total_files']:,} files, {figures['total_directories']:,} directories"


class _Handler(logging.Handler):
    """The agent's warnings as lines of the display."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.warn(f"fusion: {record.getMessage()}")
