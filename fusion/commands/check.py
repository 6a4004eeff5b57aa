"""`fusion check`: the files of a server that is not running."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .base import CommandError, size_text, write_line

if TYPE_CHECKING:
    from pathlib import Path

    from fusion.check import Report

HELP = """\
Reads every checkpoint and every journal record of the data directory and says whether a server could go on
with them. Nothing is changed but what opening the journal itself tidies up. Exit status 1: a datastore is
damaged.
"""


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    check = commands.add_parser(
        "check",
        help="examine the files of a server that is not running",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--config", metavar="FILE", help="configuration file (TOML), for its data directory")
    check.add_argument("--data-dir", metavar="DIR", help="data directory; wins over the file")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
