"""`fusion stats`: how much there is."""

import argparse
from datetime import datetime
from typing import Any

from .base import ask, print_json, query_parser, write_line


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    query_parser(commands, "stats", "print counts").set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
