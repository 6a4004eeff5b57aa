"""Write docs/cli.md, the reference of the command line, from the parsers of `fusion`.

Run it from anywhere, without arguments: python tools/command_reference.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from fusion.cli import parser, parsers

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

BEGINNING = """\
<!-- Written by tools/command_reference.py from the parsers of `fusion`: do not edit. -->
# The command line

`fusion --help` lists the commands, `fusion COMMAND --help` tells all of one, `fusion --version` tells the
version. `fusion completion` prints what a shell needs to complete them. What goes wrong is told by one line
on standard error that begins with `fusion: `.

| exit status | meaning |
|---|---|
| 0 | done; a server that was told to stop has stopped in order |
| 1 | failed: nothing answers, the server refuses, `find` found nothing, `check` found damage |
| 2 | wrong usage or configuration: nothing was done |
| 130 | interrupted by Ctrl-C |

| variable | meaning |
|---|---|
| `FUSION_URL` | the server that commands ask; `--url` wins |
| `FUSION_API_KEY` | the API key they ask with; `--api-key` wins, but shows in the list of processes |
| `FUSION_HOST`, `FUSION_PORT`, ... | settings of `[server]`: [configuration.md](configuration.md) |
| `FUSION_SIMD` | `portable`, `sse2` or `avx2`: the vector instructions to use at most |
"""


def section(command: argparse.ArgumentParser) -> Iterator[str]:
    """The lines of one command."""
    yield f"## `{command.prog}`"
    yield ""
    for paragraph in (command.description or "").strip().split("\n\n"):
        yield from ["```text", paragraph, "```"] if "\n  " in f"\n{paragraph}" else [paragraph]
        yield ""
    shown = [action for action in command._actions if described(action)]
    if shown:
        yield "| argument | meaning |"
        yield "|---|---|"
        yield from (f"| {written(action)} | {meaning(command, action)} |" for action in shown)
        yield ""


def described(action: argparse.Action) -> bool:
    """Whether the page has a row for an argument: --help is the same everywhere, commands have sections."""
    beside = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not beside and action.help != argparse.SUPPRESS


def written(action: argparse.Action) -> str:
    """An argument as one writes it."""
    value = action.metavar or (
        "{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return f"`{value}`"
    name = ", ".join(action.option_strings)
    text = f"`{name}`" if action.nargs == 0 else f"`{name} {value}`"
    return f"{text}, required" if action.required else text


def meaning(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    """What an argument's help says."""
    return (action.help or "") % {**vars(action), "prog": command.prog}


def reference() -> str:
    """The whole page."""
    _, *commands = parsers(parser())
    lines = [line for command in commands for line in section(command)]
    return "\n".join([BEGINNING, *lines[:-1]]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference())
