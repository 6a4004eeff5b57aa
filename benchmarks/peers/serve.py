"""An ASGI app in uvicorn, which logs next to nothing: `serve.py MODULE` serves `app` of a module.

Prints one line that ends with the port. Runs in the environment of the app.
"""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import redirect_stdout
from importlib import import_module

import uvicorn


class Announced(uvicorn.Server):
    """A server that says where it listens once its app has started."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        print(f"listening on 127.0.0.1:{sockets[0].getsockname()[1]}", file=sys.__stdout__, flush=True)


def main(module: str) -> None:
    # uvicorn raises the signal again once it has shut down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with redirect_stdout(sys.stderr), socket.create_server(("127.0.0.1", 0)) as listener:
        app = import_module(module).app
        config = uvicorn.Config(app, log_level="warning", access_log=False, date_header=False)
        Announced(config).run([listener])


if __name__ == "__main__":
    main(sys.argv[1])
