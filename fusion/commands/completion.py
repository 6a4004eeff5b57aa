"""`fusion completion`: what a shell has to know to complete command lines of `fusion`.

The script is static: a shell that completes starts no Python.
"""

import argparse
import sys
from typing import Any

SHELLS = ("bash", "zsh", "fish")

HELP = """\
Prints a script that completes commands, options and files. To use it in every new shell:

  bash  fusion completion bash > ~/.local/share/bash-completion/completions/fusion
  zsh   fusion completion zsh > "${fpath[1]}/_fusion"
  fish  fusion completion fish > ~/.config/fish/completions/fusion.fish
"""


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes command lines",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    completion.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`fusion completion`."""
    import shtab

    from fusion.cli import parser, parsers

    root = parser()
    for command in parsers(root):
        for action in command._actions:
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar == "DIR":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(root, options.shell))
    return 0
