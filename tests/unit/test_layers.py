"""Who may import whom. The table is the design; an import that is not in it fails here."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import fusion

PACKAGE = Path(__file__).parents[2] / "fusion"

LEAVES = ["errors"]
DECODING = [*LEAVES, "events", "patterns"]
BELOW_INDEX = [*DECODING, "cursors", "files", "path_patterns"]
ENGINE = [*DECODING, "_index"]
STORE = [
    "settings",
    "keys",
    "files",
    "clock",
    "sessions",
    "readiness",
    "ingest",
    "journal",
    "data_directory",
    "datastore",
]

# module (or pattern of modules) -> the modules of the package that it may import
TABLE = {
    "errors": [],
    "events": LEAVES,
    "patterns": LEAVES,
    "path_patterns": ["patterns"],
    "cursors": LEAVES,
    "files": [],
    "_index": BELOW_INDEX,
    "histogram": [*LEAVES, ""],
    "version": [],
    "kinds": LEAVES,
    "settings": [*LEAVES, "kinds"],
    "keys": [*LEAVES, "files", "kinds", "settings"],
    "clock": LEAVES,
    "sessions": [*LEAVES, "clock", "settings"],
    "readiness": [*LEAVES, "settings"],
    "records": [*LEAVES, "_index"],
    "ingest": [*LEAVES, "records"],
    "log": [],
    "logs": [],
    "counters": [],
    "datastore_log": ["logs", "readiness", "sessions"],
    "sqlite_log": [*LEAVES, "files", "log"],
    "checkpoints": ["_index"],
    "unsynced": ["files"],
    "journal": [
        *LEAVES,
        "_index",
        "checkpoints",
        "counters",
        "files",
        "log",
        "logs",
        "sqlite_log",
        "unsynced",
    ],
    "data_directory": [*LEAVES, "files"],
    "check": [*LEAVES, "_index", "checkpoints", "journal", "records", "sqlite_log", "unsynced"],
    "datastore": [*ENGINE, *STORE, "records", "counters", "datastore_log"],
    "api": ["api.*"],
    "api.*": [*ENGINE, *STORE, "counters", "histogram", "logs", "version", "api", "api.*"],
    "agent": ["agent.*"],
    "agent.command": [*LEAVES, "keys", "agent", "agent.*"],
    "agent.own_server": [*LEAVES, "settings", "agent", "agent.*"],
    "agent.*": [*LEAVES, "agent", "agent.*"],
    "console": [],
    "commands": [],
    "commands.*": ["*"],
    "cli": ["commands", "commands.*", "version"],
    "__main__": ["cli"],
    "": [*LEAVES, "_index"],  # fusion/__init__.py
}

# third-party package -> the modules that may import it
OUTSIDE = {
    "shtab": ["commands.*"],
    "google_crc32c": ["sqlite_log"],
    "sanic": ["api", "api.*"],
    "prometheus_client": ["api.metrics"],
    "backports": ["api.*", "agent.*"],
    "compression": ["api.*", "agent.*"],
    "uvloop": ["api", "api.*", "commands.*"],
    "httpx": ["agent.*", "commands.*"],
    "inotify_simple": ["agent.*"],
    "pathspec": ["agent.*"],
    "rich": ["agent.*", "commands.*"],
    "numpy": ["_index", "histogram"],
    "orjson": ["*"],
}


def module_name(source: Path) -> str:
    """`fusion/api/app.py` -> `api.app`; the package itself is ""."""
    parts = source.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(source): source for pattern in ("*.py", "*.pyx") for source in PACKAGE.rglob(pattern)}


def matching(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def python_imports(module: str, source: Path) -> Iterator[str]:
    """Absolute names of everything imported anywhere in the file, also inside functions."""
    package = ["fusion", *module.split(".")] if module else ["fusion"]
    if source.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def cython_imports(source: Path) -> Iterator[str]:
    for line in source.read_text().splitlines():
        found = re.match(r"\s*(?:from\s+([\w.]+)\s+c?import\s+([\w, ()]+)|c?import\s+([\w.]+))", line)
        if found is None:
            continue
        origin, names, plain = found.groups()
        if plain:
            yield plain
            continue
        origin = "fusion" + origin.removesuffix(".") if origin.startswith(".") else origin
        yield origin
        yield from (f"{origin}.{name.split()[0]}" for name in re.findall(r"\w[\w ]*", names))


def imports(module: str) -> Iterator[str]:
    source = SOURCES[module]
    return cython_imports(source) if source.suffix == ".pyx" else python_imports(module, source)


def inner_imports(module: str) -> set[str]:
    """Modules of the package that the module imports, without the leading `fusion.`."""
    names = {
        name.removeprefix("fusion").removeprefix(".")
        for name in imports(module)
        if name.split(".")[0] == "fusion"
    }
    return {name for name in names if name in SOURCES and name} - {module}


def allowed(module: str) -> list[str]:
    """The line of the table for a module: its own name, else the first pattern that fits."""
    if module in TABLE:
        return TABLE[module]
    return next(permitted for pattern, permitted in TABLE.items() if fnmatchcase(module, pattern))


def test_the_package_was_found() -> None:
    assert {"", "errors", "_index", "datastore", "api", "cli"} <= set(SOURCES)


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_every_module_has_its_place(module: str) -> None:
    assert matching(module, list(TABLE)), f"fusion/{module} is not in the table of layers"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_go_one_way(module: str) -> None:
    wrong = {name for name in inner_imports(module) if not matching(name, allowed(module))}
    assert not wrong, f"{module or 'fusion'} may not import {sorted(wrong)}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_third_party_packages_stay_on_their_floor(module: str) -> None:
    wrong = {
        package
        for package, users in OUTSIDE.items()
        if package in {name.split(".")[0] for name in imports(module)} and not matching(module, users)
    }
    assert not wrong, f"{module or 'fusion'} may not import {sorted(wrong)}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "fusion",
            ["sanic", "httpx", "inotify_simple", "rich", "fusion.datastore", "fusion.api", "fusion.agent"],
        ),
        ("fusion.datastore", ["sanic", "httpx", "inotify_simple", "rich", "fusion.api", "fusion.agent"]),
        ("fusion.agent", ["sanic", "pathspec", "fusion.datastore", "fusion.api"]),
        ("fusion.cli", ["sanic", "fusion.api"]),
    ],
)
def test_importing_a_module_loads_nothing_from_the_floors_above(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    env = os.environ | {"PYTHONPATH": str(Path(fusion.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
