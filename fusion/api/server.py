"""One process, one event loop, one socket: listen, serve until told to stop, leave in order.

SIGHUP has the files read again that may change meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import uvloop
from sanic import Sanic
from sanic.http import Stage

from fusion.api.app import create_app
from fusion.api.connections import Connection, sweep
from fusion.data_directory import DataDirectory
from fusion.errors import CannotListen, SettingsError
from fusion.logs import event
from fusion.settings import ServerSettings, Settings
from fusion.version import VERSION

log = logging.getLogger(__name__)

BACKLOG = 1024
POLL_SECONDS = 0.02
# Files that are no connections: those of the journals, their checkpoints, and of the interpreter.
OTHER_FILES = 256


def announce(url: str) -> None:
    print(f"fusion: listening on {url}", flush=True)


def serve(settings: Settings, *, on_listening: Callable[[str], None] = announce) -> None:
    """Serve until SIGTERM or SIGINT; call from the main thread.

    ``on_listening`` gets the URL, with the real port when the settings ask for port 0. Raises
    ``CannotListen`` when the address cannot be listened on, ``DataDirectoryInUse`` and ``OSError`` for the
    data directory, ``SettingsError`` for an address that needs TLS, and for keys or a certificate that cannot
    be read.
    """
    with DataDirectory(settings.server.data_dir), listen(settings.server) as listener:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, listener, on_listening))


def listen(server: ServerSettings) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if not (server.allow_plaintext or server.tls_certificate or ip_address(address[0]).is_loopback):
            raise SettingsError(
                f"server.host: other machines reach {server.host}, and keys would get there in plain; "
                "set tls_certificate, or allow_plaintext = true"
            )
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
        raise CannotListen(f"cannot listen on {server.host}:{server.port}: {why}") from None


async def _serve(settings: Settings, listener: socket.socket, on_listening: Callable[[str], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    app = create_app(settings)
    event(
        log,
        logging.INFO,
        "starting",
        f"Fusion {VERSION} starts",
        version=VERSION,
        pid=os.getpid(),
        datastores=list(settings.datastores),
    )
    app.ctx.max_connections = allow_files(settings.server.max_connections)
    certificate = app.ctx.certificate
    handshake = {} if certificate is None else {"ssl_handshake_timeout": settings.server.request_head_seconds}
    loop.add_signal_handler(signal.SIGHUP, partial(app.ctx.reloading.refresh, force=True))
    server = await app.create_server(
        sock=listener,
        ssl=None if certificate is None else certificate.context,
        protocol=Connection,
        backlog=BACKLOG,
        asyncio_server_kwargs={"start_serving": False, **handshake},
    )
    assert server is not None
    sweeper = asyncio.create_task(sweep(server.connections))
    await server.startup()
    await server.before_start()
    try:
        await server.start_serving()
        await server.after_start()
        host, port = listener.getsockname()[:2]
        scheme = "http" if certificate is None else "https"
        url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        event(log, logging.INFO, "listening", f"listening on {url}", url=url)
        on_listening(url)
        await stopping.wait()
        event(log, logging.INFO, "stopping", "told to stop", connections=len(server.connections))
        await server.before_stop()
        await server.close()
        await drain(server.connections, app.config.GRACEFUL_SHUTDOWN_TIMEOUT)
    finally:
        sweeper.cancel()
        await server.after_stop()
        Sanic.unregister_app(app)
        event(log, logging.INFO, "stopped", "everything that was accepted is applied")


def allow_files(connections: int) -> int:
    """Let the process open files enough for so many connections; the number that the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= need:
        return connections
    if hard == resource.RLIM_INFINITY or hard >= need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
        return connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    permitted = max(1, hard - OTHER_FILES)
    why = f"no more than {permitted} connections: the system permits {hard} open files"
    event(log, logging.WARNING, "few_files", why, connections=permitted, files=hard)
    return permitted


async def drain(connections: set[Connection], timeout_seconds: float) -> None:
    """Close what owes no answer at once, the others after their answer, all of them in the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while connections and loop.time() < deadline:
        for connection in list(connections):
            http = connection.http
            if http is not None and http.stage not in (Stage.IDLE, Stage.REQUEST):
                http.keep_alive = False
            elif connection.transport is not None:
                # Not the protocol's own close(), which stumbles over a request that is half sent.
                connection.transport.close()
        await asyncio.sleep(POLL_SECONDS)
    for connection in list(connections):
        connection.abort()
