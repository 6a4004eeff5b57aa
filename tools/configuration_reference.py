"""Write docs/configuration.md, the reference of all settings, from the tables of fusion/settings.py.

Run it from anywhere, without arguments: python tools/configuration_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fusion.settings import TABLES, Table

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

BEGINNING = """\
<!-- Written by tools/configuration_reference.py from fusion/settings.py: do not edit. -->
# Configuration

`fusion serve --config FILE` reads one TOML file. The command line (`--host`, `--port`, `--data-dir`) wins
over the environment, the environment over the file, the file over the defaults below. A wrong or unknown
setting stops the start with one line that names it and exit status 2; a wrong value in the file is refused
even where it is overridden. `fusion settings` prints this page on a terminal; `deploy/fusion.toml` is an
example to begin with.

In the environment a setting of `[server]` is `FUSION_` and its name in capitals: `FUSION_PORT=9000`. A
variable that is empty counts as not set. The other tables are in the file alone.
"""


def section(table: Table) -> Iterator[str]:
    """The lines of one table of settings."""
    yield f"## `{table.heading}`"
    yield ""
    yield table.purpose
    yield ""
    yield "| setting | unit | default | allowed | effect |"
    yield "|---|---|---|---|---|"
    for key, setting in table.settings.items():
        default = table.default_text(key)
        shown = f"`{default}`" if default else "required" if setting.required else "none"
        cells = (f"`{key}`", setting.unit, shown, setting.kind.allowed, setting.effect)
        yield f"| {' | '.join(cells)} |"
    yield ""


def reference() -> str:
    """The whole page."""
    lines = [line for table in TABLES for line in section(table)]
    return "\n".join([BEGINNING, *lines[:-1]]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference())
