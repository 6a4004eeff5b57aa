"""Running a Sanic app of the benchmarks' own as lean as it goes."""

from __future__ import annotations

import asyncio
import socket

import uvloop
from sanic import Sanic


def serve(app: Sanic) -> None:
    """Serve on a free port until SIGTERM; prints one line that ends with the port."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app))


async def _serve(app: Sanic) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(15, stopping.set)
    server = await app.create_server(sock=listener, asyncio_server_kwargs={"start_serving": False})
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await stopping.wait()
    await server.close()
