"""`fusion settings`: the reference of the configuration file."""

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .base import write_line

if TYPE_CHECKING:
    from fusion.settings import Table

WIDTH = 100  # characters


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    settings = commands.add_parser(
        "settings",
        help="print what can be configured",
        description="Prints every setting of the configuration file, its default, effect and allowed values.",
    )
    settings.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion settings`."""
    from fusion.settings import TABLES

    for table in TABLES:
        for line in described(table):
            write_line(line)
    return 0


def described(table: "Table") -> Iterator[str]:
    """A table of settings for people."""
    yield table.heading
    yield from paragraph(table.purpose, "  ")
    yield ""
    for key, setting in table.settings.items():
        default = table.default_text(key)
        yield f"  {key} = {default}" if default else f"  {key}" + (", required" if setting.required else "")
        yield from paragraph(f"{setting.effect} Allowed: {setting.kind.allowed}.", "      ")
    yield ""


def paragraph(text: str, margin: str) -> list[str]:
    """The text in lines, without the marks of Markdown."""
    plain = text.replace("`", "")
    return textwrap.wrap(plain, WIDTH, initial_indent=margin, subsequent_indent=margin)
