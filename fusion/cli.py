"""The `fusion` command. Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from fusion.commands import agent, check, completion, find, keys, serve, settings, stats, top, tree, watch
from fusion.commands.base import CommandError
from fusion.version import VERSION

# In the order of `fusion --help`, under their headings there.
COMMANDS = {
    "servers": (serve, watch, agent, keys, check),
    "questions to a running server": (tree, find, stats, top),
    "about this program": (settings, completion),
}

EPILOG = """\
examples:
  fusion watch /srv/data                  serve one tree, follow its changes; prints an API key
  fusion serve --config fusion.toml       run the service as the file says
  fusion agent /srv/data                  feed it this tree, with the key in FUSION_API_KEY
  fusion find '*.csv'                     ask it, with the key in FUSION_API_KEY

environment:
  FUSION_URL, FUSION_API_KEY              which server to ask, and the key: instead of --url, --api-key
  FUSION_HOST, FUSION_PORT, ...           each setting of [server], see `fusion settings`
  FUSION_SIMD                             portable, sse2 or avx2: the vector instructions to use at most

exit status:
  0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted (Ctrl-C)

`fusion COMMAND --help` tells all of a command.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        self.exit(2, f"fusion: {message} (see {self.prog} --help)\n")


class RootParser(Parser):
    """The parser of `fusion` itself, whose help lists the commands under headings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.listed: dict[str, list[tuple[str, str]]] = {}

    def format_help(self) -> str:
        lines = [self.format_usage(), self.description or "", ""]
        for heading, commands in self.listed.items():
            lines += [f"{heading}:", *(f"  {name:<12}{summary}" for name, summary in commands), ""]
        return "\n".join(lines) + "\n" + (self.epilog or "")


class Heading:
    """Stands in for the subparsers, and notes under its heading what each command is for."""

    def __init__(self, commands: Any, listed: list[tuple[str, str]]) -> None:
        self._commands = commands
        self._listed = listed

    def add_parser(self, name: str, *, help: str, **options: Any) -> argparse.ArgumentParser:
        self._listed.append((name, help))
        made: argparse.ArgumentParser = self._commands.add_parser(name, help=help, **options)
        return made


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
    root = RootParser(
        prog="fusion", description="File-tree metadata in memory, served over HTTP.", epilog=EPILOG
    )
    root.add_argument("--version", action="version", version=f"fusion {VERSION}")
    commands = root.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for heading, modules in COMMANDS.items():
        listed = root.listed.setdefault(heading, [])
        for module in modules:
            module.add(Heading(commands, listed))
    return root


def parsers(above: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all commands below it, in the order of the help."""
    yield above
    for action in above._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)
