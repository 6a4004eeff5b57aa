"""`fusion find`: files by name."""

import argparse
import os
from typing import Any
from urllib.parse import quote

from .base import CommandError, ask, name_of, print_json, printable, query_parser, write_line


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    find = query_parser(commands, "find", "find files by name")
    find.add_argument(
        "pattern",
        metavar="PATTERN",
        help="a part of the file name; with *, ? or [ a pattern for the whole name. Case is ignored.",
    )
    find.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
