"""The family's public agent from PyPI, in an environment of its own, configured to feed a server."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from processes import Command

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = PROJECT / ".venv-agent"
FAMILY = ["agent", "pusher-fusion", "source-fs", "fusion-sdk", "event-model", "common", "core", "agent-sdk"]
REQUIREMENTS = [*(f"fustor-{name}==0.2.16" for name in FAMILY), "watchdog<7", "python-json-logger"]

SOURCE, PUSHER, SYNC = "disk", "fusion", "disk-to-fusion"


def environment() -> Path:
    """The directory of the agent's environment; made on first use, which downloads the packages."""
    complete = ENVIRONMENT / "complete.json"
    lock = os.open(PROJECT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or json.loads(complete.read_text()) != REQUIREMENTS:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            venv.create(ENVIRONMENT, with_pip=True)
            pip = [
                ENVIRONMENT / "bin/python",
                "-m",
                "pip",
                "--disable-pip-version-check",
                "install",
                "--quiet",
            ]
            subprocess.run([*pip, *REQUIREMENTS], check=True)
            complete.write_text(json.dumps(REQUIREMENTS))
    finally:
        os.close(lock)
    return ENVIRONMENT


class PublicAgent:
    """One installation: the same home, so that a restart is the same agent."""

    def __init__(self, home: Path, root: Path, url: str, key: str) -> None:
        self._home = home
        self._starts = 0
        (home / "schemas").mkdir(parents=True)
        # JSON is YAML. The schema files are what `discover-schema` leaves.
        (home / "agent-config.yaml").write_text(
            json.dumps(
                {
                    "sources": {
                        SOURCE: {
                            "driver": "fs",
                            "uri": str(root),
                            "credential": {"user": "nobody"},
                            "disabled": False,
                        }
                    },
                    "pushers": {
                        PUSHER: {
                            "driver": "fusion",
                            "endpoint": url,
                            "credential": {"key": key},
                            "batch_size": 1000,
                            "disabled": False,
                        }
                    },
                    "syncs": {SYNC: {"source": SOURCE, "pusher": PUSHER, "disabled": False}},
                }
            )
        )
        (home / f"schemas/source_{SOURCE}.schema.json").write_text('{"properties": {}}')
        (home / f"schemas/source_{SOURCE}.valid").touch()

    def start(self) -> Command:
        """Starts it; its changes count once `match("WatchManager started")` has returned."""
        self._starts += 1
        return Command(
            [str(environment() / "bin/fustor-agent"), "start", "--host", "127.0.0.1", "--port", "0"],
            self._home / f"output{self._starts}",
            {"FUSTOR_HOME": str(self._home)},
        )


if __name__ == "__main__":
    sys.exit(print(environment()))
