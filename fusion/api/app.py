"""The application: settings in, a Sanic app with its datastores out."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from sanic import Sanic
from sanic.config import Config
from sanic.http import Http

from fusion.api.auth import KeyRing
from fusion.api.budget import Budget
from fusion.api.consistency import consistency
from fusion.api.console import console
from fusion.api.events import events
from fusion.api.failures import Failures
from fusion.api.limits import Limits
from fusion.api.metrics import metrics
from fusion.api.offload import Workers
from fusion.api.pages import pages
from fusion.api.reloading import Reloading
from fusion.api.remembered import Remembered
from fusion.api.requests import ApiRequest
from fusion.api.sessions import sessions
from fusion.api.status import status
from fusion.api.streaming import Streams
from fusion.api.tls import Certificate
from fusion.api.traffic import Traffic
from fusion.api.views import views
from fusion.clock import ServingClock
from fusion.datastore import Datastore
from fusion.journal import Journal, leave_out
from fusion.keys import KeyFile
from fusion.settings import Settings

TICK_SECONDS = 0.05
# Paths of the longest kind (4 KiB, percent-encoded) and well beyond; a URL ends at 65,535 bytes. Fields alone
# may have less, see fusion.api.framing.
HEADER_BYTES = 65_000
# What of a refused body is read and dropped, so that its sender gets to read the answer.
DRAIN_BYTES = 256 * 1024 * 1024
# Answers of middle size, which many ask for again.
REMEMBERED_BYTES = 32 * 1024 * 1024
# How much longer Sanic lets a request take than the answer may.
RESPONSE_SLACK_SECONDS = 60
# What bodies that are being read and decoded may take together. Those in a datastore's queue count there.
BODY_BYTES = 48 * 1024 * 1024


class Context:
    """What the handlers share, as ``app.ctx``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()  # epoch seconds
        self.traffic = Traffic()
        self.max_body_bytes = settings.server.max_body_bytes
        self.max_connections = settings.server.max_connections
        server = settings.server
        self.keys = KeyRing(settings.keys, server)
        self.certificate = (
            None if server.tls_certificate is None else Certificate(server.tls_certificate, server.tls_key)
        )
        self.reloading = Reloading(
            KeyFile(server.data_dir), self.keys, frozenset(settings.datastores), self.certificate
        )
        self.clock = ServingClock()
        self.datastores = {
            name: Datastore(name, datastore, clock=self.clock, journal=journal_of(settings, name))
            for name, datastore in settings.datastores.items()
        }
        self.workers = Workers()
        self.limits = Limits(server.max_answer_nodes, server.max_answer_bytes, server.max_answer_seconds)
        self.streams = Streams(max_seconds=server.max_answer_seconds, max_kept_bytes=server.max_kept_bytes)
        self.remembered = Remembered(REMEMBERED_BYTES)
        self.bodies = Budget(max(BODY_BYTES, self.max_body_bytes))
        self.tasks: list[asyncio.Task[None]] = []


def journal_of(settings: Settings, name: str) -> Journal | None:
    """Where a datastore is kept, if it is. Raises OSError."""
    datastore = settings.datastores[name]
    directory = settings.server.data_dir / name
    if datastore.durability == "none":
        leave_out(directory)
        return None
    return Journal(
        directory,
        sync=datastore.durability == "fsync",
        checkpoint_bytes=datastore.checkpoint_bytes,
        min_free_bytes=settings.server.min_free_bytes,
    )


def create_app(settings: Settings) -> Sanic[Config, Context]:
    """An app with a name of its own, so that a process may hold several; it must run in one process.

    The data directory must be this process's own, see DataDirectory. Raises OSError and SettingsError.
    """
    context = Context(settings)
    app = Sanic(
        f"fusion-{uuid4().hex}",
        # The environment configures Fusion through FUSION_* alone.
        config=Config(
            {
                "ACCESS_LOG": False,
                "AUTO_EXTEND": False,
                "GRACEFUL_SHUTDOWN_TIMEOUT": 5.0,
                "KEEP_ALIVE_TIMEOUT": 120,
                "MOTD": False,
                "REQUEST_MAX_HEADER_SIZE": HEADER_BYTES,
                "REQUEST_MAX_SIZE": context.max_body_bytes + DRAIN_BYTES,
                # Streams look after their clients themselves, who may be slow.
                "RESPONSE_TIMEOUT": settings.server.max_answer_seconds + RESPONSE_SLACK_SECONDS,
            },
            env_prefix=None,
        ),
        ctx=context,
        error_handler=Failures(),
        request_class=ApiRequest,
        configure_logging=False,
    )
    # Sanic's own ceiling of 16 KiB would cap the setting above.
    Http.HEADER_MAX_SIZE = HEADER_BYTES
    app.blueprint([pages, console, status, metrics, views, sessions, events, consistency])
    app.before_server_start(start)
    app.after_server_stop(stop)
    return app


async def start(app: Sanic[Config, Context]) -> None:
    for datastore in app.ctx.datastores.values():
        datastore.start()
    app.ctx.tasks += [
        asyncio.create_task(tick(app.ctx.clock)),
        asyncio.create_task(app.ctx.reloading.run()),
    ]


async def stop(app: Sanic[Config, Context]) -> None:
    """Everything acknowledged is applied by now; what is still queued is drained."""
    for task in app.ctx.tasks:
        task.cancel()
    await asyncio.to_thread(app.ctx.reloading.note_use)
    app.ctx.workers.close()
    for datastore in app.ctx.datastores.values():
        await asyncio.to_thread(datastore.close)


async def tick(clock: ServingClock) -> None:
    """The loop's pulse: only time in which it beats counts against a session."""
    while True:
        clock.tick()
        await asyncio.sleep(TICK_SECONDS)
