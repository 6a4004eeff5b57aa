"""The service as one would build it in an afternoon, SQLite behind Sanic: `sqlite_sanic.py FILE`.

`GET /tree?path=&max_depth=1`, `/search?pattern=` and `/stats` answer as Fusion's views do. Prints one line
that ends with the port. One table, found by path and by parent; a page cache for all of it, one connection,
rows read as tuples, orjson.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from corpora import Row
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config
from serving import serve

COLUMNS = "path, name, is_dir, size, mtime, ctime"
CACHE_KIB = 1 << 20


def make_database(file: Path, rows: Iterable[Row]) -> None:
    """The rows and the directories above them."""
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(
        "CREATE TABLE nodes (path TEXT PRIMARY KEY, parent TEXT, name TEXT, is_dir INT, size INT, mtime REAL,"
        " ctime REAL)"
    )
    described: set[str] = set()
    above: dict[str, None] = {"/": None}

    def values() -> Iterable[tuple[Any, ...]]:
        for path, size, mtime, ctime, is_dir in rows:
            parent, _, name = path.rpartition("/")
            if is_dir:
                described.add(path)
            while parent not in above:
                above[parent or "/"] = None
                parent = parent.rpartition("/")[0] or "/"
            yield path, path.rpartition("/")[0] or "/", name, is_dir, size, mtime, ctime

    insert = "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?)"
    database.executemany(insert, values())
    for path in above.keys() - described:
        parent, _, name = path.rpartition("/")
        row = ("/", None, "") if path == "/" else (path, parent or "/", name)
        database.execute(insert, (*row, True, 0, 0.0, 0.0))
    database.execute("CREATE INDEX by_parent ON nodes (parent)")
    database.commit()
    database.close()


def document(row: tuple[Any, ...]) -> dict[str, Any]:
    path, name, is_dir, size, mtime, ctime = row
    return {
        "name": name,
        "content_type": "directory" if is_dir else "file",
        "path": path,
        "size": size,
        "modified_time": mtime,
        "created_time": ctime,
    }


class Store:
    def __init__(self, file: str) -> None:
        self._database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA mmap_size = 1073741824")

    def tree(self, path: str, *, children_alone: bool) -> dict[str, Any] | None:
        row = self._database.execute(f"SELECT {COLUMNS} FROM nodes WHERE path = ?", (path,)).fetchone()
        if row is None:
            return None
        top = document(row)
        if not row[2]:
            return top
        top["children"] = {}
        if children_alone:
            for row in self._database.execute(f"SELECT {COLUMNS} FROM nodes WHERE parent = ?", (path,)):
                top["children"][row[1]] = document(row)
            return top
        start = path.rstrip("/") + "/"
        directories = {path: top}
        # In the order of paths a directory comes before what is in it, though not right before.
        found = self._database.execute(
            f"SELECT {COLUMNS} FROM nodes WHERE path > ? AND path < ? ORDER BY path",
            (start, start[:-1] + "0"),
        )
        for row in found:
            node = document(row)
            if row[2]:
                node["children"] = {}
                directories[row[0]] = node
            directories[row[0].rpartition("/")[0] or "/"]["children"][row[1]] = node
        return top

    def search(self, part: str) -> list[dict[str, Any]]:
        sought = part.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        found = self._database.execute(
            f"SELECT {COLUMNS} FROM nodes WHERE NOT is_dir AND name LIKE ? ESCAPE '!'", (f"%{sought}%",)
        )
        return [document(row) for row in found]

    def stats(self) -> dict[str, Any]:
        files, directories, size = self._database.execute(
            "SELECT sum(NOT is_dir), sum(is_dir), sum(size * NOT is_dir) FROM nodes"
        ).fetchone()
        return {"total_files": files, "total_directories": directories, "total_bytes": size}


def make_app(file: str) -> Sanic:
    config = Config({"ACCESS_LOG": False, "AUTO_EXTEND": False, "MOTD": False}, env_prefix=None)
    app = Sanic("sqlite", config=config, configure_logging=False)
    store = Store(file)

    def answer(found: Any) -> HTTPResponse:
        status = 404 if found is None else 200
        return HTTPResponse(orjson.dumps(found), status=status, content_type="application/json")

    @app.get("/tree")
    async def tree(request: Request) -> HTTPResponse:
        path, depth = request.args.get("path", "/"), request.args.get("max_depth")
        return answer(store.tree(path, children_alone=depth == "1"))

    @app.get("/search")
    async def search(request: Request) -> HTTPResponse:
        return answer(store.search(request.args.get("pattern")))

    @app.get("/stats")
    async def stats(request: Request) -> HTTPResponse:
        return answer(store.stats())

    return app


if __name__ == "__main__":
    serve(make_app(sys.argv[1]))
