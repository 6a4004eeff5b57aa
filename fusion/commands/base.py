"""What the subcommands have in common: how they fail, what they print, how they ask a server."""

import argparse
import base64
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import httpx

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8102


class CommandError(Exception):
    """One line for standard error, and the exit status."""

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(line)
        self.status = status


def refuse(line: str) -> NoReturn:
    """Ends the command with one line on standard error."""
    raise CommandError(line) from None


# Arguments


def port_number(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Which server, with which key."""
    parser.add_argument(
        "--url", help=f"the server (default: $FUSION_URL, else http://{DEFAULT_HOST}:{DEFAULT_PORT})"
    )
    parser.add_argument("--api-key", metavar="KEY", help="the API key (default: $FUSION_API_KEY)")


def query_parser(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """A command that asks a running server."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"Asks a server to {summary}."
    )
    made.add_argument("--json", action="store_true", help="print the server's answer as it is")
    add_server_options(made)
    return made


def ask(options: argparse.Namespace, path: str) -> "httpx.Response":
    """One successful answer of the server."""
    import httpx

    from fusion.agent.push import detail_of, reaching

    url = options.url or os.environ.get("FUSION_URL") or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
    key = options.api_key or os.environ.get("FUSION_API_KEY")
    if not key:
        raise CommandError("no API key: set FUSION_API_KEY or give --api-key", status=2)
    try:
        response = httpx.get(
            url.rstrip("/") + path, headers={"X-API-Key": key}, timeout=60.0, **reaching(url)
        )
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            refuse(f"the certificate of {url} is not trusted ({error}); SSL_CERT_FILE names other roots")
        refuse(f"nothing answers at {url}: is the server running? (--url or FUSION_URL name another)")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        refuse(f"cannot ask {url}: {error}")
    if response.status_code == 503:
        refuse(f"not ready yet, try again soon: {detail_of(response)}")
    if response.status_code != 200:
        refuse(detail_of(response))
    return response


# Output


def print_json(response: "httpx.Response") -> int:
    """The answer's bytes, unchanged."""
    sys.stdout.buffer.write(response.content + b"\n")
    return 0


def name_of(node: dict[str, Any]) -> str:
    """The name as the disk has it."""
    raw = node.get("raw_name")
    return os.fsdecode(base64.b64decode(raw)) if raw else str(node["name"])


def write_line(text: str) -> None:
    """A line; a terminal gets unprintable characters spelled out, a pipe the very bytes of names."""
    if sys.stdout.isatty():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    sys.stdout.buffer.write(os.fsencode(text) + b"\n")


def printable(text: str) -> str:
    """The text with bytes that are not UTF-8 spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size_text(size: int) -> str:
    """A size in bytes for people, in decimal units."""
    units = ["kB", "MB", "GB", "TB", "PB", "EB"]
    value = size / 1000
    while value >= 999.95:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}" if size >= 1000 else f"{size} B"
