"""What `find` sees, as a tree in JSON: how tools without an index answer the same questions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from corpora import Row

FORMAT = r"%p\t%y\t%s\t%T@\t%C@\n"
DIRECTORIES, FILES_EACH = 300, 100


def make_files(top: Path) -> None:
    """A real tree, of empty files with sizes and times of their own."""
    for number in range(DIRECTORIES):
        directory = top / f"group_{number % 10}" / f"dir_{number:04d}"
        directory.mkdir(parents=True)
        for each in range(FILES_EACH):
            file = directory / f"file_{each:04d}.dat"
            file.touch()
            os.truncate(file, number * 1000 + each)
            os.utime(file, (1705832400 + each, 1705832400.25 + number))


def rows_of(top: Path) -> Iterator[Row]:
    """What an agent tells of it, children first."""
    for directory, _, files in os.walk(top, topdown=False):
        for path, is_dir in ((directory, True), *((f"{directory}/{name}", False) for name in files)):
            found = os.lstat(path)
            yield Row(path, found.st_size, found.st_mtime, found.st_ctime, is_dir)


def find_tree(top: str) -> bytes:
    """The tree below a directory as JSON, by `find -printf`."""
    listed = subprocess.run(
        ["find", top, "-printf", FORMAT], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    nodes: dict[str, dict[str, Any]] = {}
    for line in listed.splitlines():
        path, kind, size, modified, changed = line.split("\t")
        parent, _, name = path.rpartition("/")
        node: dict[str, Any] = {
            "name": name,
            "content_type": "directory" if kind == "d" else "file",
            "path": path,
            "size": int(size),
            "modified_time": float(modified),
            "created_time": float(changed),
        }
        if kind == "d":
            node["children"] = {}
            nodes[path] = node
        if path != top:
            nodes[parent]["children"][name] = node
    return orjson.dumps(nodes[top])
