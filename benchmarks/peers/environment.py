"""The public service from PyPI, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / ".venv-peer"
VERSION = "0.2.16"
# All of the family, as its packages ask for each other's newest release or do not name one that they import.
FAMILY = [
    "fustor-common",
    "fustor-event-model",
    "fustor-fusion",
    "fustor-fusion-sdk",
    "fustor-registry",
    "fustor-registry-client",
]
# The SQLAlchemy that the registry wants cannot end the threads of a newer aiosqlite: it would not stop.
REQUIREMENTS = [*(f"{name}=={VERSION}" for name in FAMILY), "aiosqlite<0.22", "orjson", "numpy"]


def python() -> Path:
    """The environment's Python; made on first use, which downloads the packages."""
    complete = ENVIRONMENT / "complete.json"
    if not complete.exists() or json.loads(complete.read_text()) != REQUIREMENTS:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        pip = [str(ENVIRONMENT / "bin/pip"), "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        complete.write_text(json.dumps(REQUIREMENTS))
    return ENVIRONMENT / "bin/python"
