"""The work that all contenders get, as files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import corpora
import submissions

NEEDLE = "Needle_7F3A.dat"
# One path of so many is looked up: the slowest contender takes 12 µs for one.
LOOKUP_SHARE = 4


def write(directory: Path, nodes: int) -> dict[str, Any]:
    """Corpus S with a rare name, paths of it in random order, the directory to delete; returns the job."""
    rows = [*submissions.rows(nodes), corpora.Row(f"{submissions.TOP}/{NEEDLE}", 1, 1.5, 1.5, False)]
    with (directory / "bodies").open("wb") as file:
        for body in corpora.bodies(rows):
            file.write(body + b"\n")
    paths = [row.path for row in rows]
    doomed = submissions.base(submissions.names(nodes)[0]).rpartition("/")[0].rpartition("/")[0]
    paths = random.Random(4).sample(paths, len(paths) // LOOKUP_SHARE)
    below = sum(path == doomed or path.startswith(doomed + "/") for path in paths)
    (directory / "paths").write_text("\n".join(paths))
    job = {
        "nodes": len(rows) + 1,
        "lookups": len(paths),
        "pattern": NEEDLE[:9].upper(),
        "hits": [NEEDLE],
        "doomed": doomed,
        "doomed nodes": sum(row.path.startswith(f"{doomed}/") for row in rows) + 1,
        "doomed paths": below,
    }
    (directory / "job.json").write_text(json.dumps(job))
    return job
