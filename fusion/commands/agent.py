"""`fusion agent`: tells a server of one directory tree and its changes."""

import argparse
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .base import DEFAULT_HOST, DEFAULT_PORT, CommandError, add_server_options, printable

HELP = """\
Scans the tree at PATH, pushes it to a server as a snapshot, and then tells every change, until Ctrl-C. It
outlives restarts of the server and of the network: what changes meanwhile is told afterwards.

examples:
  fusion agent /srv/data --url http://fusion.example:8102 --api-key-file /etc/fusion/agent.key
  FUSION_API_KEY=... fusion agent /home --exclude .cache --exclude '*.tmp' --exclude node_modules
"""

EPILOG = """\
Each entry becomes one node with what lstat says of it; symbolic links are files and not followed. A key given
with --api-key is seen by everyone who may list processes: prefer the other two ways. Exit status: 0 stopped
after the server had the whole tree, 1 failed, 2 wrong usage, 130 stopped before. More is in docs/agent.md.
"""


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    agent = commands.add_parser(
        "agent",
        help="tell a server of one directory tree and its changes",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    agent.add_argument("path", metavar="PATH", help="the directory to tell of")
    add_server_options(agent)
    agent.add_argument("--api-key-file", metavar="FILE", help="a file that holds the API key alone")
    agent.add_argument(
        "--include",
        metavar="GLOB",
        action="append",
        default=[],
        help="tell only of files like this (repeatable)",
    )
    agent.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="leave out what is like this (repeatable)",
    )
    agent.add_argument(
        "--state-dir",
        metavar="DIR",
        type=Path,
        help="where messages wait for the server (default: $XDG_STATE_HOME/fusion)",
    )
    agent.add_argument(
        "--spool-bytes",
        metavar="N",
        type=byte_count,
        default=64 << 20,
        help="how much may wait there; beyond it a new scan follows the outage (default: %(default)s)",
    )
    agent.add_argument("--once", action="store_true", help="end when the server has accepted the snapshot")
    agent.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion agent`."""
    url = server_url(options.url)
    key = api_key(options)
    if not os.path.isdir(options.path):
        raise CommandError(f"{printable(options.path)} is not a directory", status=2)
    from fusion.agent.command import run_agent
    from fusion.agent.scope import Scope
    from fusion.agent.selection import Selection
    from fusion.agent.spool import Spool, default_state_dir

    state_dir = options.state_dir or default_state_dir()
    try:
        selection = Selection(options.include, options.exclude)
    except ValueError as error:
        raise CommandError(str(error), status=2) from None
    try:
        spool = Spool(state_dir, options.spool_bytes)
    except OSError as error:
        raise CommandError(
            f"{printable(str(state_dir))} cannot be the state directory: {error.strerror} (--state-dir)",
            status=2,
        ) from None
    try:
        # What waits in the spool would be told as changes, which would wait in the spool.
        scope = Scope.of(options.path, selection, [state_dir])
        return run_agent(scope, url, key, spool, once=options.once)
    finally:
        spool.close()


def server_url(given: str | None) -> str:
    """The server's URL, checked."""
    url: str = given or os.environ.get("FUSION_URL") or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise CommandError(f"{printable(url)!r} is no URL of a server, such as http://host:8102", status=2)
    return url.rstrip("/")


def api_key(options: argparse.Namespace) -> str:
    """The key of the first of: --api-key, --api-key-file, $FUSION_API_KEY. It is never shown."""
    if options.api_key and options.api_key_file:
        raise CommandError("--api-key and --api-key-file exclude each other", status=2)
    key = options.api_key or ""
    if options.api_key_file:
        try:
            key = Path(options.api_key_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise CommandError(
                f"{printable(options.api_key_file)} cannot be read: {reason}", status=2
            ) from None
    elif not key:
        key = os.environ.get("FUSION_API_KEY", "")
    if not key:
        raise CommandError("no API key: set FUSION_API_KEY or give --api-key-file", status=2)
    if not re.fullmatch(r"[ -~]+", key):
        raise CommandError("the API key has characters that no header can hold", status=2)
    return key


def byte_count(text: str) -> int:
    """A number of bytes."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)
