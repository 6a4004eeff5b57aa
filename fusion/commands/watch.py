"""`fusion watch`: one directory tree, served and followed."""

import argparse
import os
from typing import Any

from .base import DEFAULT_HOST, DEFAULT_PORT, CommandError, port_number, printable

HELP = """\
Serves the metadata of one directory tree on this machine: starts a server, scans DIR, prints "ready", and
follows every change until Ctrl-C. An API key is made up for the run and printed once.

Each entry below DIR becomes one node with what lstat says of it. Symbolic links are listed as files and not
followed. Directories that cannot be read are counted and left out; so is the content of pseudo file systems
(/proc, /sys) mounted below DIR. Other file systems mounted there are scanned too.
"""


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    watch = commands.add_parser(
        "watch",
        help="serve one directory tree and follow its changes",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("directory", metavar="DIR", help="the directory to serve")
    watch.add_argument("--host", metavar="H", default=DEFAULT_HOST, help="address to listen on (%(default)s)")
    watch.add_argument(
        "--port", metavar="P", type=port_number, default=DEFAULT_PORT, help="port (%(default)s)"
    )
    watch.add_argument(
        "--allow-plaintext",
        action="store_true",
        help="listen without TLS on an address that other machines reach",
    )
    watch.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion watch`."""
    from fusion.agent.command import run as run_until_stopped

    if not os.path.isdir(options.directory):
        raise CommandError(f"{printable(options.directory)} is not a directory", status=2)
    return run_until_stopped(
        options.directory, options.host, options.port, allow_plaintext=options.allow_plaintext
    )
