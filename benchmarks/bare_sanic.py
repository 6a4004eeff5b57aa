"""What Sanic itself can do here: `bare_sanic.py FILE...` answers `GET /<name>` with a file's bytes.

`GET /stream/<name>` sends the same in the fastest way that Sanic has for much: as slices, with the length
told before. A POST of any body to `/` is read and answered with 204. Prints one line that ends with the port.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config
from serving import serve

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


if __name__ == "__main__":
    serve(make_app([Path(name) for name in sys.argv[1:]]))
