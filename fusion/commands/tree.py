"""`fusion tree`: a part of the tree."""

import argparse
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from .base import ask, counted, name_of, print_json, query_parser, size_text, write_line

DEFAULT_DEPTH = 2


def add(commands: Any) -> None:
    """Describes the command to the parser."""
    tree = query_parser(commands, "tree", "print a part of the tree")
    tree.add_argument("path", metavar="PATH", help="where to start, a path as the server knows it")
    tree.add_argument(
        "--depth",
        metavar="N",
        type=depth,
        default=DEFAULT_DEPTH,
        help='levels below PATH, or "all" (default: %(default)s)',
    )
    tree.set_defaults(run=run)


def depth(text: str) -> int | None:
    """A number of levels, None for all."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no depth: give a number from 0 on, or "all"')
    return int(text)


def run(options: argparse.Namespace) -> int:
    """`fusion tree`."""
    limit = "" if options.depth is None else f"&max_depth={options.depth}"
    answer = ask(options, f"/views/fs/tree?path={quote(os.fsencode(options.path))}{limit}")
    if options.json:
        return print_json(answer)
    root = answer.json()
    counts = {"directory": 0, "file": 0}
    write_line(label(root, root["path"]))
    for line, node in drawn(root):
        counts[node["content_type"]] += 1
        write_line(line)
    write_line("")
    listed = counted(counts["directory"], "directory", "directories"), counted(counts["file"], "file")
    write_line(", ".join(listed))
    if options.depth is not None and any("children" not in node for node in directories(root)):
        write_line(f"What lies deeper than {counted(options.depth, 'level')} is left out, see --depth.")
    return 0


def drawn(root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A line for each node below the root, with the node."""
    pending = [("", "", root)]
    while pending:
        above, branch, node = pending.pop()
        if branch:
            yield above + branch + label(node, name_of(node)), node
            above += "│   " if branch == "├── " else "    "
        children = sorted(node.get("children", {}).values(), key=lambda child: str(child["name"]))
        last = len(children) - 1
        for place in range(last, -1, -1):
            pending.append((above, "└── " if place == last else "├── ", children[place]))


def directories(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The directories of a tree."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node["content_type"] == "directory":
            yield node
            pending.extend(node.get("children", {}).values())


def label(node: dict[str, Any], name: str) -> str:
    """How a node is shown: directories end in a slash, files tell their size."""
    if node["content_type"] == "directory":
        return name if name.endswith("/") else name + "/"
    return f"{name}  ({size_text(node['size'])})"
