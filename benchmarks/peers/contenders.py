"""What a program would keep a file tree in instead of the index, all with the same few operations.

Rows arrive as push bodies and the tree leaves as the JSON that the index writes. Everything a contender needs
is imported when it is made, so that this runs in the environments of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Store(Protocol):
    def insert(self, body: bytes) -> None:
        """Take the rows of a push body."""

    def found(self, paths: Iterable[str]) -> int:
        """How many of the paths are there, each looked up by itself."""

    def tree(self) -> Iterable[bytes]:
        """The JSON of the whole tree, in pieces."""

    def search(self, text: str) -> list[str]:
        """Names that hold the text, whatever the case of its ASCII letters."""

    def delete(self, path: str) -> None:
        """Remove a directory with everything below."""


class Fusion:
    name = "Fusion"

    def __init__(self) -> None:
        from fusion import PathIndex

        self._index = PathIndex()

    def insert(self, body: bytes) -> None:
        self._index.apply(body)

    def found(self, paths: Iterable[str]) -> int:
        index = self._index
        return sum(path in index for path in paths)

    def tree(self) -> Iterable[bytes]:
        return self._index.tree_chunks()

    def search(self, text: str) -> list[str]:
        return [node.name for node in self._index.search(text)]

    def delete(self, path: str) -> None:
        self._index.delete(path)


class Dicts:
    """A dict of the paths; the nodes are dicts that orjson prints as they are."""

    name = "dict + orjson"

    def __init__(self) -> None:
        from orjson import dumps, loads

        self._dumps, self._loads = dumps, loads
        self._nodes = {"/": _directory("", "/")}

    def insert(self, body: bytes) -> None:
        nodes = self._nodes
        for event in self._loads(body)["events"]:
            for row in event["rows"]:
                path = row["file_path"]
                node = nodes.get(path)
                if node is None:
                    node = self._add(path, row["is_dir"])
                node["size"] = row["size"]
                node["modified_time"] = row["modified_time"]
                node["created_time"] = row["created_time"]

    def _add(self, path: str, is_dir: bool) -> dict[str, Any]:
        above, _, name = path.rpartition("/")
        parent = self._nodes.get(above or "/") or self._add(above, True)
        node = self._nodes[path] = _directory(name, path) if is_dir else _file(name, path)
        parent["children"][name] = node
        return node

    def found(self, paths: Iterable[str]) -> int:
        nodes = self._nodes
        return sum(path in nodes for path in paths)

    def tree(self) -> Iterable[bytes]:
        return [self._dumps(self._nodes["/"])]

    def search(self, text: str) -> list[str]:
        text = text.lower()
        return [node["name"] for node in self._nodes.values() if text in node["name"].lower()]

    def delete(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        waiting = [self._nodes[above or "/"]["children"].pop(name)]
        while waiting:
            node = waiting.pop()
            del self._nodes[node["path"]]
            waiting += node.get("children", {}).values()


def _file(name: str, path: str) -> dict[str, Any]:
    return {
        "name": name,
        "content_type": "file",
        "path": path,
        "size": 0,
        "modified_time": 0.0,
        "created_time": 0.0,
    }


def _directory(name: str, path: str) -> dict[str, Any]:
    return {**_file(name, path), "content_type": "directory", "children": {}}


class Sqlite:
    """A table in memory with the path as its primary key; the tree is built in the order of the paths."""

    name = "sqlite3"

    def __init__(self) -> None:
        import sqlite3

        from orjson import dumps, loads

        self._dumps, self._loads = dumps, loads
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.execute(
            "CREATE TABLE node (path TEXT PRIMARY KEY, name TEXT, size INTEGER, modified_time REAL,"
            " created_time REAL, is_dir INTEGER) WITHOUT ROWID"
        )

    def insert(self, body: bytes) -> None:
        self._database.execute("BEGIN")
        for event in self._loads(body)["events"]:
            self._database.executemany(
                "INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        row["file_path"],
                        row["file_path"].rpartition("/")[2],
                        row["size"],
                        row["modified_time"],
                        row["created_time"],
                        row["is_dir"],
                    )
                    for row in event["rows"]
                ],
            )
        self._database.execute("COMMIT")

    def found(self, paths: Iterable[str]) -> int:
        execute = self._database.execute
        return sum(
            execute("SELECT 1 FROM node WHERE path = ?", (path,)).fetchone() is not None for path in paths
        )

    def tree(self) -> Iterable[bytes]:
        root = _directory("", "/")
        children = {"": root["children"]}
        for path, name, size, modified_time, created_time, is_dir in self._database.execute(
            "SELECT path, name, size, modified_time, created_time, is_dir FROM node ORDER BY path"
        ):
            node = {
                "name": name,
                "content_type": "directory" if is_dir else "file",
                "path": path,
                "size": size,
                "modified_time": modified_time,
                "created_time": created_time,
            }
            if is_dir:
                children[path] = node["children"] = {}
            children[path[: -len(name) - 1]][name] = node
        return [self._dumps(root)]

    def search(self, text: str) -> list[str]:
        pattern = "%" + "".join("\\" + char if char in "%_\\" else char for char in text) + "%"
        return [
            name
            for (name,) in self._database.execute(
                "SELECT name FROM node WHERE name LIKE ? ESCAPE '\\'", (pattern,)
            )
        ]

    def delete(self, path: str) -> None:
        # "0" is what follows "/"
        self._database.execute(
            "DELETE FROM node WHERE path = ?1 OR path > ?1 || '/' AND path < ?1 || '0'", (path,)
        )


class Trie:
    """pygtrie's StringTrie, which knows components: the only one of the usual tries that fits.

    marisa-trie is static; datrie takes 18 µs for the millionth path and removes keys one by one only; the
    bindings of hat-trie are not maintained.
    """

    name = "pygtrie"

    def __init__(self) -> None:
        from orjson import dumps, loads
        from pygtrie import StringTrie

        self._dumps, self._loads = dumps, loads
        self._nodes = StringTrie()

    def insert(self, body: bytes) -> None:
        nodes = self._nodes
        for event in self._loads(body)["events"]:
            for row in event["rows"]:
                nodes[row["file_path"]] = (
                    row["size"],
                    row["modified_time"],
                    row["created_time"],
                    row["is_dir"],
                )

    def found(self, paths: Iterable[str]) -> int:
        nodes = self._nodes
        return sum(path in nodes for path in paths)

    def tree(self) -> Iterable[bytes]:
        return [self._dumps(self._nodes.traverse(_trie_node))]

    def search(self, text: str) -> list[str]:
        text = text.lower()
        names = (path.rpartition("/")[2] for path in self._nodes.iterkeys())
        return [name for name in names if text in name.lower()]

    def delete(self, path: str) -> None:
        del self._nodes[path:]


def _trie_node(
    path_of: Any, names: tuple[str, ...], children: Iterable[dict[str, Any]], value: Any = (0, 0.0, 0.0, True)
) -> dict[str, Any]:
    # The path "/data" has two components, "" and "data"; none at all is what stands above the root.
    found = {child["name"]: child for child in children}
    if not names:
        return found[""]
    size, modified_time, created_time, is_dir = value
    node: dict[str, Any] = {
        "name": names[-1],
        "content_type": "directory" if is_dir else "file",
        "path": path_of(names) or "/",
        "size": size,
        "modified_time": modified_time,
        "created_time": created_time,
    }
    if is_dir:
        node["children"] = found
    return node


class Fustor:
    """The parser of the public service, without its HTTP front; its own dicts answer the lookups."""

    name = "fustor_fusion 0.2.16"

    def __init__(self) -> None:
        from fustor_event_model.models import UpdateEvent
        from fustor_fusion.parsers.file_directory_parser import DirectoryStructureParser
        from orjson import dumps, loads

        self._dumps, self._loads, self._event = dumps, loads, UpdateEvent
        self._parser = DirectoryStructureParser(1)

    def insert(self, body: bytes) -> None:
        for event in self._loads(body)["events"]:
            _finish(self._parser.process_event(self._event(**event)))

    def found(self, paths: Iterable[str]) -> int:
        files, directories = self._parser._file_path_map, self._parser._directory_path_map
        return sum(path in files or path in directories for path in paths)

    def tree(self) -> Iterable[bytes]:
        return [self._dumps(_finish(self._parser.get_directory_tree("/")))]

    def search(self, text: str) -> list[str]:
        return [node["name"] for node in _finish(self._parser.search_files(text))]

    def delete(self, path: str) -> None:
        _finish(self._parser._process_delete_in_memory(path))


def _finish(coroutine: Any) -> Any:
    """The result of a coroutine that nothing makes wait: cheaper than an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value
    raise RuntimeError("it waits for something")


CONTENDERS: list[type[Any]] = [Fusion, Dicts, Trie, Sqlite, Fustor]
