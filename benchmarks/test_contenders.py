"""The same operations by everything that a program may keep a file tree in, each in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import child
from conftest import NODES
from measure import Contest, Figures, Ledger
from peers import environment, job
from peers.contenders import CONTENDERS, Fustor

ROUNDS = 2
OPERATIONS = {
    "insert": ("insert, bodies of 1000 rows", "row", "nodes"),
    "lookup": ("look up paths in random order", "lookup", "lookups"),
    "tree": ("print the whole tree as JSON", "node", "nodes"),
    "search": ("search for a rare name", "name", "nodes"),
    "delete": ("delete a subtree", "node", "doomed nodes"),
}


def test_contenders(ledger: Ledger, tmp_path: Path) -> None:
    work = job.write(tmp_path, NODES)
    pythons: dict[str, Callable[[], str | Path]] = {Fustor.name: environment.python}
    runs: dict[str, list[Any]] = {contender.name: [] for contender in CONTENDERS}
    for _ in range(ROUNDS):
        for name, found in runs.items():
            python = pythons.get(name, lambda: sys.executable)()
            found.append(child.run("peers/run.py", name, tmp_path, python=python))
    first = runs[CONTENDERS[0].name][0]
    for found in runs.values():
        for run in found:
            assert (run["tree bytes"], run["tree letters"]) == (first["tree bytes"], first["tree letters"])
    contests = {}
    for operation, (title, unit, count) in OPERATIONS.items():
        figures = [
            Figures(
                name,
                seconds=[run["seconds"][operation] for run in found],
                peak_bytes=max(run["peak"].get(operation, run["held"]) for run in found),
            )
            for name, found in runs.items()
        ]
        contests[operation] = Contest(title, work[count], unit, figures)
    ledger.data["contenders"] = contests
    ledger.data["contenders' memory"] = {
        name: min(run["held"] for run in found) / work["nodes"] for name, found in runs.items()
    }
