"""`fusion watch`: a server of its own, the agent that feeds it, and what a person sees of both."""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import secrets
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from .agent import Agent, Phase, printable
from .display import Display, open_display
from .push import Pusher, Refused, detail_of, is_loopback

REFRESH_SECONDS = 0.1
STOP_SECONDS = 10.0
NOT_READY_POLL_SECONDS = 0.05

CONFIGURATION = """\
[datastores.default]
durability = "none"  # the scan at the start tells everything anew
[[keys]]
key_sha256 = "{key_sha256}"
datastore = "default"
scopes = ["read", "ingest", "admin"]
"""


class ServerEnded(Exception):
    """The server of this command stopped by itself."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server ended with exit status {status}")
        self.status = status


def generate_key() -> str:
    """A new API key: `fus_<id>_<43 random url-safe characters>`."""
    return f"fus_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def run(directory: str, host: str, port: int) -> int:
    """Serves and follows one directory until SIGINT or SIGTERM; returns the exit status."""
    display = open_display()
    handler = _Handler(display)
    logger = logging.getLogger("fusion.agent")
    logger.addHandler(handler)
    try:
        return asyncio.run(Watch(directory, host, port, display).run())
    finally:
        logger.removeHandler(handler)


class Watch:
    """One run of the command."""

    def __init__(self, directory: str, host: str, port: int, display: Display) -> None:
        self._directory = os.path.abspath(directory)
        self._host = host
        self._port = port
        self._display = display
        self._started = time.monotonic()
        self._phases: asyncio.Queue[Phase] = asyncio.Queue()
        self._ready = False

    async def run(self) -> int:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        key = generate_key()
        try:
            async with own_server(self._host, self._port, key) as server:
                await self._follow(server, key)
            raise AssertionError("following ends by an exception")
        except asyncio.CancelledError:
            status, say, text = 0 if self._ready else 130, self._display.line, "stopped"
        except ServerEnded as error:
            # One that never listened has said why by itself.
            status, say, text = (
                max(error.status, 1),
                self._display.warn,
                f"fusion: {error}" if self._ready else "",
            )
        except Refused as error:
            status, say, text = 1, self._display.warn, f"fusion: the server refused the agent: {error}"
        self._display.finish()
        if text:
            say(text)
        return status

    async def _follow(self, server: "OwnServer", key: str) -> None:
        local = reachable(server.url)
        start = quote(os.fsencode(self._directory))
        curl = shlex.join(
            ["curl", "-H", f"X-API-Key: {key}", f"{local}/views/fs/tree?path={start}&max_depth=1"]
        )
        self._display.line(f"serving {printable(self._directory)} at {server.url}")
        self._display.line(f"API key (shown only now): {key}")
        self._display.line(f"once it is ready, try\n  {curl}")
        pusher = Pusher(local, key)
        # The server's own files are left out: it writes them for every change it is told.
        skip = frozenset([os.path.realpath(server.folder)])
        agent = Agent(self._directory, pusher, on_phase=self._phases.put_nowait, skip=skip)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(pusher.close)
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=local, headers={"X-API-Key": key}, trust_env=not is_loopback(local)
                )
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(agent.run())
                    group.create_task(self._report(agent, client))
                    group.create_task(self._show_progress(agent))
                    group.create_task(_raise_when_ended(server.ended))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _report(self, agent: Agent, client: httpx.AsyncClient) -> None:
        """A line for each time the server has the whole tree."""
        while True:
            phase = await self._phases.get()
            if phase is not Phase.FOLLOWING:
                continue
            figures = await _figures(client)
            seconds = time.monotonic() - (agent.scan_started if self._ready else self._started)
            self._display.finish()
            scan = agent.scan
            missing = len(scan.unreadable) + scan.unreadable_entries if scan is not None else 0
            if missing:
                self._display.warn(f"{missing:,} directories or entries could not be read and are left out")
            self._display.line(f"ready: {figures} in {seconds:.1f} s")
            if not self._ready:
                self._display.line("following changes, Ctrl-C stops")
            self._ready = True

    async def _show_progress(self, agent: Agent) -> None:
        while True:
            scan = agent.scan
            if agent.phase is Phase.SCANNING and scan is not None:
                seconds = time.monotonic() - agent.scan_started
                self._display.progress(agent.pushed, scan.fraction, seconds)
            else:
                self._display.finish()
            await asyncio.sleep(REFRESH_SECONDS)


class OwnServer(NamedTuple):
    """Where it listens, where its files are, and a task that gives its exit status."""

    url: str
    folder: str
    ended: asyncio.Task[int]


@contextlib.asynccontextmanager
async def own_server(host: str, port: int, key: str) -> AsyncIterator[OwnServer]:
    """A server in a process of its own.

    It is in a session of its own, so that Ctrl-C reaches it through us, after the agent; should we be killed,
    it sees its standard input close and ends as well.
    """
    with tempfile.TemporaryDirectory(prefix="fusion-") as folder:
        file = Path(folder, "fusion.toml")
        file.write_text(CONFIGURATION.format(key_sha256=hashlib.sha256(key.encode()).hexdigest()))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fusion", "serve", "--config", str(file), "--until-stdin-closes"),
            *("--host", host, "--port", str(port), "--data-dir", str(Path(folder, "data"))),
            *("--log-level", "error"),  # the agent tells people what it finds
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        ended = asyncio.create_task(process.wait())
        try:
            announcement = re.search(rb"http://\S+", await process.stdout.readline())
            if announcement is None:
                raise ServerEnded(await ended)
            drain = asyncio.create_task(process.stdout.read())
            yield OwnServer(announcement[0].decode(), folder, ended)
            drain.cancel()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await ended


async def _raise_when_ended(ended: asyncio.Task[int]) -> None:
    raise ServerEnded(await asyncio.shield(ended))


async def _figures(client: httpx.AsyncClient) -> str:
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


def reachable(url: str) -> str:
    """The URL to use on this machine when the server listens on every address."""
    parts = urlsplit(url)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "")
    return urlunsplit(parts._replace(netloc=f"{loopback}:{parts.port}")) if loopback else url


class _Handler(logging.Handler):
    """The agent's warnings as lines of the display."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.warn(f"fusion: {record.getMessage()}")
