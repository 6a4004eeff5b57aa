"""The `fusion` command. Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""

import argparse
import os
import sys
from collections.abc import Sequence

from fusion.commands import agent, check, find, serve, stats, tree, watch
from fusion.commands.base import CommandError

# In the order of `fusion --help`.
COMMANDS = (serve, check, watch, agent, tree, find, stats)


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
    for command in COMMANDS:
        command.add(commands)
    return root
