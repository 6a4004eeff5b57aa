"""The `fusion` command. Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""

import argparse
import base64
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from fusion.check import Report

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8102
DEFAULT_DEPTH = 2

WATCH_HELP = """\
Serves the metadata of one directory tree on this machine: starts a server, scans DIR, prints "ready", and
follows every change until Ctrl-C. An API key is made up for the run and printed once.

Each entry below DIR becomes one node with what lstat says of it. Symbolic links are listed as files and not
followed. Directories that cannot be read are counted and left out; so is the content of pseudo file systems
(/proc, /sys) mounted below DIR. Other file systems mounted there are scanned too.
"""

CHECK_HELP = """\
Reads every checkpoint and every journal record of the data directory and says whether a server could go on
with them. Nothing is changed but what opening the journal itself tidies up. Exit status 1: a datastore is
damaged.
"""


class CommandError(Exception):
    """One line for standard error, and the exit status."""

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(line)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (default: the process's own); returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CommandError as error:
        print(f"fusion: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="fusion", description="File-tree metadata in memory, served over HTTP."
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve", help="run the service alone", description="Runs the service until Ctrl-C."
    )
    serve.add_argument("--config", required=True, metavar="FILE", help="configuration file (TOML)")
    serve.add_argument("--host", metavar="H", help="address to listen on; wins over the file")
    serve.add_argument("--port", metavar="P", type=port_number, help="port to listen on; wins over the file")
    serve.add_argument("--data-dir", metavar="D", help="data directory; wins over the file")
    serve.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(run=run_serve)

    check = commands.add_parser(
        "check",
        help="examine the files of a server that is not running",
        description=CHECK_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--config", metavar="FILE", help="configuration file (TOML), for its data directory")
    check.add_argument("--data-dir", metavar="D", help="data directory; wins over the file")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    check.set_defaults(run=run_check)

    watch = commands.add_parser(
        "watch",
        help="serve one directory tree and follow its changes",
        description=WATCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("directory", metavar="DIR", help="the directory to serve")
    watch.add_argument("--host", metavar="H", default=DEFAULT_HOST, help="address to listen on (%(default)s)")
    watch.add_argument(
        "--port", metavar="P", type=port_number, default=DEFAULT_PORT, help="port (%(default)s)"
    )
    watch.set_defaults(run=run_watch)

    tree = query_parser(commands, "tree", "print a part of the tree")
    tree.add_argument("path", metavar="PATH", help="where to start, a path as the server knows it")
    tree.add_argument(
        "--depth",
        metavar="N",
        type=depth,
        default=DEFAULT_DEPTH,
        help='levels below PATH, or "all" (default: %(default)s)',
    )
    tree.set_defaults(run=run_tree)

    find = query_parser(commands, "find", "find files by name")
    find.add_argument(
        "pattern",
        metavar="PATTERN",
        help="a part of the file name; with *, ? or [ a pattern for the whole name. Case is ignored.",
    )
    find.set_defaults(run=run_find)

    query_parser(commands, "stats", "print counts").set_defaults(run=run_stats)
    return root


def query_parser(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """A command that asks a running server."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"Asks a server to {summary}."
    )
    made.add_argument("--json", action="store_true", help="print the server's answer as it is")
    made.add_argument(
        "--url", help=f"the server (default: $FUSION_URL, else http://{DEFAULT_HOST}:{DEFAULT_PORT})"
    )
    made.add_argument("--api-key", metavar="KEY", help="the API key (default: $FUSION_API_KEY)")
    return made


def port_number(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def depth(text: str) -> int | None:
    """A number of levels, None for all."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no depth: give a number from 0 on, or "all"')
    return int(text)


# Servers


def run_serve(options: argparse.Namespace) -> int:
    """`fusion serve`."""
    from fusion.api import serve
    from fusion.errors import CannotListen, DataDirectoryInUse, SettingsError
    from fusion.settings import load_settings

    given = {"host": options.host, "port": options.port, "data_dir": options.data_dir}
    try:
        settings = load_settings(
            options.config, {key: value for key, value in given.items() if value is not None}
        )
    except SettingsError as error:
        raise CommandError(error.detail, status=2) from None
    if options.until_stdin_closes:
        threading.Thread(target=stop_when_stdin_closes, daemon=True).start()
    try:
        serve(settings)
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


def run_check(options: argparse.Namespace) -> int:
    """`fusion check`."""
    import json
    from dataclasses import asdict

    from fusion.check import examine, is_datastore
    from fusion.data_directory import DataDirectory
    from fusion.errors import FusionError, SettingsError
    from fusion.settings import load_settings

    try:
        data_dir = load_settings(options.config, {"data_dir": options.data_dir}).server.data_dir
    except SettingsError as error:
        raise CommandError(error.detail, status=2) from None
    if not data_dir.is_dir():
        raise CommandError(f"{data_dir} is not a directory", status=2)
    try:
        with DataDirectory(data_dir):
            reports = [examine(path) for path in sorted(data_dir.iterdir()) if is_datastore(path)]
    except FusionError as error:
        raise CommandError(error.detail) from None
    except OSError as error:
        raise CommandError(f"{error.filename or data_dir} cannot be read: {error.strerror}") from None
    if options.json:
        write_line(json.dumps({"datastores": [asdict(report) for report in reports]}, indent=2))
    else:
        for report in reports:
            for line in described(report, data_dir):
                write_line(line)
        if not reports:
            write_line(f"{data_dir} has no datastore's files")
    return 1 if any(report.problem for report in reports) else 0


def described(report: "Report", data_dir: "Path") -> Iterator[str]:
    """A report for people."""
    yield f"{report.name}: {report.problem or 'sound'}"
    if report.first_record:
        records = f"records {report.first_record:,} to {report.last_record:,}"
    else:
        records = f"nothing behind the checkpoint, the last record is {report.last_record:,}"
    yield f"  journal     {records}, {size_text(report.journal_bytes)}"
    for checkpoint in report.checkpoints:
        state = "damaged" if checkpoint.problem else "whole"
        size = size_text(checkpoint.size_bytes)
        yield f"  checkpoint  after record {checkpoint.sequence:,}, {size}, {state}"
    for warning in report.warnings:
        yield f"  warning: {warning}"
    if report.problem:
        where = data_dir / report.name
        yield f"  To begin anew, move {where} away; new sessions and snapshots fill it again."


def run_watch(options: argparse.Namespace) -> int:
    """`fusion watch`."""
    from fusion.agent.command import run

    if not os.path.isdir(options.directory):
        raise CommandError(f"{printable(options.directory)} is not a directory", status=2)
    return run(options.directory, options.host, options.port)


# Queries


def run_tree(options: argparse.Namespace) -> int:
    """`fusion tree`."""
    limit = "" if options.depth is None else f"&max_depth={options.depth}"
    answer = ask(options, f"/views/fs/tree?path={quote(os.fsencode(options.path))}{limit}")
    if options.json:
        return print_json(answer)
    root = answer.json()
    counts = {"directory": 0, "file": 0}
    write_line(label(root, root["path"]))
    for line, node in drawn(root):
        counts[node["content_type"]] += 1
        write_line(line)
    write_line("")
    listed = counted(counts["directory"], "directory", "directories"), counted(counts["file"], "file")
    write_line(", ".join(listed))
    if options.depth is not None and any("children" not in node for node in directories(root)):
        write_line(f"What lies deeper than {counted(options.depth, 'level')} is left out, see --depth.")
    return 0


def drawn(root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A line for each node below the root, with the node."""
    pending = [("", "", root)]
    while pending:
        above, branch, node = pending.pop()
        if branch:
            yield above + branch + label(node, name_of(node)), node
            above += "│   " if branch == "├── " else "    "
        children = sorted(node.get("children", {}).values(), key=lambda child: str(child["name"]))
        last = len(children) - 1
        for place in range(last, -1, -1):
            pending.append((above, "└── " if place == last else "├── ", children[place]))


def directories(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The directories of a tree."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node["content_type"] == "directory":
            yield node
            pending.extend(node.get("children", {}).values())


def label(node: dict[str, Any], name: str) -> str:
    """How a node is shown: directories end in a slash, files tell their size."""
    if node["content_type"] == "directory":
        return name if name.endswith("/") else name + "/"
    return f"{name}  ({size_text(node['size'])})"


def run_find(options: argparse.Namespace) -> int:
    """`fusion find`; the exit status is 1 when nothing was found."""
    answer = ask(options, f"/views/fs/search?pattern={quote(os.fsencode(options.pattern), safe='')}")
    if options.json:
        return print_json(answer)
    nodes = answer.json()
    for node in nodes:
        write_line(node["path"].removesuffix(node["name"]) + name_of(node))
    if not nodes:
        raise CommandError(f"no file name matches {printable(options.pattern)!r}")
    return 0


def run_stats(options: argparse.Namespace) -> int:
    """`fusion stats`."""
    answer = ask(options, "/views/fs/stats")
    if options.json:
        return print_json(answer)
    stats = answer.json()
    write_line(f"files             {stats['total_files']:>15,}")
    write_line(f"directories       {stats['total_directories']:>15,}")
    if "total_bytes" in stats:
        write_line(f"bytes             {stats['total_bytes']:>15,}")
    oldest = stats["oldest_directory"]
    if oldest is not None:
        changed = datetime.fromtimestamp(oldest["timestamp"]).strftime("%Y-%m-%d %H:%M:%S")
        write_line(f"oldest directory  {oldest['path']} (modified {changed})")
    return 0


def ask(options: argparse.Namespace, path: str) -> "httpx.Response":
    """One successful answer of the server."""
    import httpx

    from fusion.agent.push import detail_of, is_loopback

    url = options.url or os.environ.get("FUSION_URL") or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
    key = options.api_key or os.environ.get("FUSION_API_KEY")
    if not key:
        raise CommandError("no API key: set FUSION_API_KEY or give --api-key", status=2)
    try:
        response = httpx.get(
            url.rstrip("/") + path, headers={"X-API-Key": key}, timeout=60.0, trust_env=not is_loopback(url)
        )
    except httpx.ConnectError:
        refuse(f"nothing answers at {url}: is the server running? (--url or FUSION_URL name another)")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        refuse(f"cannot ask {url}: {error}")
    if response.status_code == 503:
        refuse(f"not ready yet, try again soon: {detail_of(response)}")
    if response.status_code != 200:
        refuse(detail_of(response))
    return response


def refuse(line: str) -> NoReturn:
    """Ends the command with one line on standard error."""
    raise CommandError(line) from None


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
