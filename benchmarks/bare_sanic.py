"""What Sanic itself can do here: `bare_sanic.py FILE...` answers `GET /<name>` with a file's bytes.

`GET /stream/<name>` sends the same in the fastest way that Sanic has for much: as slices, with the length
told before. A POST of any body to `/` is read and answered with 204. Prints one line that ends with the port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvloop
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

SLICE_BYTES = 1 << 20


def make_app(files: list[Path]) -> Sanic:
    config = Config({"ACCESS_LOG": False, "AUTO_EXTEND": False, "MOTD": False}, env_prefix=None)
    app = Sanic("bare", config=config, configure_logging=False)

    @app.post("/")
    async def take(request: Request) -> HTTPResponse:
        return HTTPResponse(status=204)

    for file in files:
        body = file.read_bytes()

        async def give(request: Request, body: bytes = body) -> HTTPResponse:
            return HTTPResponse(body, content_type="application/json")

        async def stream(request: Request, body: bytes = body) -> None:
            response = await request.respond(
                HTTPResponse(content_type="application/json", headers={"content-length": str(len(body))})
            )
            view = memoryview(body)
            for start in range(0, len(view), SLICE_BYTES):
                await response.send(view[start : start + SLICE_BYTES])

        app.add_route(give, f"/{file.name}", name=file.stem)
        app.add_route(stream, f"/stream/{file.name}", name=f"{file.stem}_stream")
    return app


async def serve(files: list[Path]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(15, stopping.set)
    server = await make_app(files).create_server(
        sock=listener, asyncio_server_kwargs={"start_serving": False}
    )
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await stopping.wait()
    await server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve([Path(name) for name in sys.argv[1:]]))
