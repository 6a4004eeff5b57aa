"""`fusion serve`: the service alone."""

import argparse
import os
import signal
import threading
from typing import Any

from fusion.logs import FORMATS, LEVELS, configure

from .base import CommandError, port_number


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    serve = commands.add_parser(
        "serve", help="run the service alone", description="Runs the service until Ctrl-C."
    )
    serve.add_argument("--config", required=True, metavar="FILE", help="configuration file (TOML)")
    serve.add_argument("--host", metavar="H", help="address to listen on; wins over the file")
    serve.add_argument("--port", metavar="P", type=port_number, help="port to listen on; wins over the file")
    serve.add_argument("--data-dir", metavar="DIR", help="data directory; wins over the file")
    serve.add_argument(
        "--allow-plaintext",
        action="store_true",
        default=None,
        help="listen without TLS on an address that other machines reach",
    )
    serve.add_argument("--log-format", choices=FORMATS, default="text", help="of the log (%(default)s)")
    serve.add_argument(
        "--log-level", choices=LEVELS, default="info", help="the least that is logged (%(default)s)"
    )
    serve.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion serve`."""
    from fusion.api import serve
    from fusion.errors import CannotListen, DataDirectoryInUse, SettingsError
    from fusion.settings import load_settings

    given = {name: getattr(options, name) for name in ("host", "port", "data_dir", "allow_plaintext")}
    try:
        settings = load_settings(
            options.config, {key: value for key, value in given.items() if value is not None}
        )
    except SettingsError as error:
        raise CommandError(error.detail, status=2) from None
    configure(options.log_format, options.log_level)
    if options.until_stdin_closes:
        threading.Thread(target=stop_when_stdin_closes, daemon=True).start()
    try:
        serve(settings)
    except SettingsError as error:
        raise CommandError(error.detail, status=2) from None
    except CannotListen as error:
        raise CommandError(f"{error} (--port chooses another port)") from None
    except DataDirectoryInUse as error:
        raise CommandError(f"{error} (--data-dir names another one)") from None
    except OSError as error:
        raise CommandError(
            f"{settings.server.data_dir} cannot be the data directory: {error.strerror}"
        ) from None
    return 0


def stop_when_stdin_closes() -> None:
    """Ends this process in order when whoever started it is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
