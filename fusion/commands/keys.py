"""`fusion keys`: who may ask a server, and for what."""

import argparse
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .base import CommandError, counted, write_line

if TYPE_CHECKING:
    from fusion.keys import KeyFile
    from fusion.settings import KeySettings, Settings

HELP = """\
Makes, lists and revokes the API keys of a server, running or not, in its data directory. A running server
heeds a change within a second. Of a key only its id and SHA-256 are kept: it is shown once, when it is made.
"""

EXAMPLES = """\
examples:
  fusion keys create --config fusion.toml --datastore research --scope ingest
  fusion keys create --data-dir /var/lib/fusion --datastore research --scope read --expires 90d
  fusion keys list --config fusion.toml
  fusion keys revoke --config fusion.toml 3f9c2a71
"""

SCOPES_HELP = "comma-separated: read (ask views), ingest (for agents), admin (reset a datastore)"

UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    keys = commands.add_parser(
        "keys",
        help="make, list and revoke API keys",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = keys.add_subparsers(required=True, metavar="VERB")

    create = verb(verbs, "create", "make a key and print it, this once", run_create)
    create.add_argument("--datastore", required=True, metavar="D", help="the one datastore that it opens")
    create.add_argument("--scope", required=True, metavar="S", help=SCOPES_HELP)
    create.add_argument(
        "--expires", metavar="T", type=expiry, help="when it ends: 12h, 90d, 4w, or a date such as 2027-01-31"
    )
    create.add_argument(
        "--requests-per-second", metavar="N", type=rate, help="at most so many, on average; 0: no limit"
    )
    create.add_argument(
        "--bytes-per-second", metavar="N", type=rate, help="of bodies, at most so many; 0: no limit"
    )

    verb(verbs, "list", "print all keys: id, what they open, when they were used", run_list)

    revoke = verb(verbs, "revoke", "take a key back", run_revoke)
    revoke.add_argument("id", metavar="ID", help="its id: the 8 characters between the underscores")


def verb(verbs: Any, name: str, summary: str, run: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    made.add_argument("--config", metavar="FILE", help="configuration file (TOML) of the server")
    made.add_argument("--data-dir", metavar="DIR", help="its data directory; wins over the file")
    if name != "revoke":
        made.add_argument("--json", action="store_true", help="print JSON")
    made.set_defaults(run=run)
    return made


def expiry(text: str) -> datetime:
    """A span from now, or a date or time (without a zone: UTC)."""
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        if span := re.fullmatch("([0-9]{1,6})([hdw])", text):
            when = now + timedelta(**{UNITS[span[2]]: int(span[1])})
        else:
            when = datetime.fromisoformat(text)
            when = when.replace(tzinfo=when.tzinfo or UTC, microsecond=0)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give 12h, 90d, 4w or 2027-01-31") from None
    if when <= now:
        raise argparse.ArgumentTypeError(f"{text!r} has passed")
    return when


def rate(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 999999999")
    return int(text)


def key_file(options: argparse.Namespace) -> "tuple[KeyFile, Settings]":
    """The file that is meant. Raises CommandError."""
    from fusion.errors import SettingsError
    from fusion.keys import KeyFile
    from fusion.settings import load_settings

    try:
        settings = load_settings(options.config, {"data_dir": options.data_dir})
    except SettingsError as error:
        raise CommandError(error.detail, status=2) from None
    return KeyFile(settings.server.data_dir), settings


def run_create(options: argparse.Namespace) -> int:
    """`fusion keys create`."""
    from fusion.errors import FusionError
    from fusion.keys import new_key
    from fusion.settings import DATASTORE_NAME, SCOPES

    file, settings = key_file(options)
    scopes = [scope.strip() for scope in options.scope.split(",")]
    if wrong := [scope for scope in scopes if scope not in SCOPES]:
        raise CommandError(f"--scope: {wrong[0]!r} is none of {', '.join(SCOPES)}", status=2)
    if options.config is not None and options.datastore not in settings.datastores:
        known = ", ".join(settings.datastores)
        raise CommandError(f"--datastore: {options.datastore!r} is none of {known}", status=2)
    if not re.fullmatch(DATASTORE_NAME, options.datastore):
        raise CommandError(f"--datastore: {options.datastore!r} is no name of a datastore", status=2)
    limits = {name: getattr(options, name) for name in ("expires", "requests_per_second", "bytes_per_second")}
    text, key = new_key(options.datastore, tuple(s for s in SCOPES if s in scopes), **limits)
    try:
        file.add(key)
    except FusionError as error:
        raise CommandError(error.detail) from None
    except OSError as error:
        raise CommandError(f"{file.path}: cannot be written: {error.strerror}") from None
    if options.json:
        write_line(json.dumps({"key": text} | described(key, None), indent=2))
    else:
        write_line(text)
        until = f" until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else ""
        print(
            f"fusion: this key is shown only now: {', '.join(key.scopes)} in {key.datastore}{until}",
            file=sys.stderr,
        )
    return 0


def run_list(options: argparse.Namespace) -> int:
    """`fusion keys list`."""
    from fusion.errors import FusionError

    file, _ = key_file(options)
    try:
        keys = sorted(file.read().values(), key=lambda key: (key.datastore, str(key.created), str(key.id)))
    except FusionError as error:
        raise CommandError(error.detail) from None
    used = file.last_used()
    if options.json:
        documents = [described(key, used.get(key.id or "")) for key in keys]
        write_line(json.dumps({"keys": documents}, indent=2))
        return 0
    rows = [("ID", "DATASTORE", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "LIMITS")]
    now = datetime.now(UTC)
    for key in keys:
        last = used.get(key.id or "")
        expires = (
            "never" if key.expires is None else day(key.expires) + (" (over)" if key.expires <= now else "")
        )
        rows.append(
            (
                key.id or "",
                key.datastore,
                ",".join(key.scopes),
                day(key.created) if key.created else "",
                expires,
                "never" if last is None else day(datetime.fromtimestamp(last, UTC)),
                limits_text(key),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows if keys else []:
        write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not keys:
        print(f"fusion: {file.path} has no keys; `fusion keys create` makes one", file=sys.stderr)
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """`fusion keys revoke`."""
    from fusion.errors import FusionError
    from fusion.keys import id_of

    file, _ = key_file(options)
    identity = id_of(options.id) or options.id
    if not re.fullmatch("[0-9a-f]{8}", identity):  # not shown: it may be a damaged key
        raise CommandError("that is no id of a key: 8 hex digits, as `fusion keys list` shows them", status=2)
    try:
        key = file.remove(identity)
    except FusionError as error:
        raise CommandError(error.detail) from None
    except OSError as error:
        raise CommandError(f"{file.path}: cannot be written: {error.strerror}") from None
    write_line(f"revoked {key.id}: {counted(len(key.scopes), 'scope')} in {key.datastore}")
    return 0


def described(key: "KeySettings", last_used: float | None) -> dict[str, Any]:
    """A key as JSON has it."""
    from fusion.keys import moment_text

    return {
        "id": key.id,
        "datastore": key.datastore,
        "scopes": list(key.scopes),
        "created": moment_text(key.created) if key.created else None,
        "expires": moment_text(key.expires) if key.expires else None,
        "last_used": last_used,
        "requests_per_second": key.requests_per_second,
        "bytes_per_second": key.bytes_per_second,
    }


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def limits_text(key: "KeySettings") -> str:
    """The limits of its own."""
    limits = ((key.requests_per_second, "requests/s"), (key.bytes_per_second, "bytes/s"))
    return ", ".join(f"{value:,} {unit}" for value, unit in limits if value is not None) or "-"
