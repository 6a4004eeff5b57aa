"""The server that `fusion watch` starts for itself."""

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from fusion.settings import sha256_of

STOP_SECONDS = 10.0

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


class OwnServer(NamedTuple):
    """Where it listens, where its files are, and a task that gives its exit status."""

    url: str
    folder: str
    ended: asyncio.Task[int]


@contextlib.asynccontextmanager
async def own_server(host: str, port: int, key: str, *, allow_plaintext: bool) -> AsyncIterator[OwnServer]:
    """A server in a process of its own.

    It is in a session of its own, so that Ctrl-C reaches it through us, after the agent; should we be killed,
    it sees its standard input close and ends as well.
    """
    with tempfile.TemporaryDirectory(prefix="fusion-") as folder:
        file = Path(folder, "fusion.toml")
        file.write_text(CONFIGURATION.format(key_sha256=sha256_of(key)))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fusion", "serve", "--config", str(file), "--until-stdin-closes"),
            *("--host", host, "--port", str(port), "--data-dir", str(Path(folder, "data"))),
            *("--log-level", "error"),  # the agent tells people what it finds
            *(["--allow-plaintext"] if allow_plaintext else []),
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
                async with asyncio.timeout(STOP_SECONDS):
                    await asyncio.shield(ended)
            except TimeoutError:
                process.kill()
                await ended


def reachable(url: str) -> str:
    """The URL to use on this machine when the server listens on every address."""
    parts = urlsplit(url)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "")
    return urlunsplit(parts._replace(netloc=f"{loopback}:{parts.port}")) if loopback else url
