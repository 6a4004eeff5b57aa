"""The family's public agent from PyPI, in an environment of its own, configured as the README says."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

from processes import STUCK_SECONDS, Command

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = PROJECT / ".venv-agent"
FAMILY = ["agent", "pusher-fusion", "source-fs", "fusion-sdk", "event-model", "common", "core", "agent-sdk"]
REQUIREMENTS = [*(f"fustor-{name}==0.2.16" for name in FAMILY), "watchdog<7", "python-json-logger"]

README = (PROJECT / "README.md").read_text()


def environment() -> Path:
    """The directory of the agent's environment; made on first use, which downloads the packages."""
    complete = ENVIRONMENT / "complete.json"
    lock = os.open(PROJECT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or json.loads(complete.read_text()) != REQUIREMENTS:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            venv.create(ENVIRONMENT, with_pip=True)
            pip = [str(ENVIRONMENT / "bin/pip"), "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, *REQUIREMENTS], check=True)
            complete.write_text(json.dumps(REQUIREMENTS))
    finally:
        os.close(lock)
    return ENVIRONMENT


def readme_block(language: str, holds: str) -> str:
    """The code block of the README that holds a text."""
    (block,) = [
        found for found in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holds in found
    ]
    return block


class PublicAgent:
    """One installation: the same home, so that a restart is the same agent. Configured as the README says."""

    def __init__(self, home: Path, root: Path, url: str, key: str) -> None:
        self._home = home
        self._starts = 0
        home.mkdir()
        config = readme_block("yaml", "sources:").replace("/srv/data", str(root))
        config = config.replace("http://127.0.0.1:8102", url).replace("a plain key, for trials only", key)
        (home / "agent-config.yaml").write_text(config)
        discovered = self._command("discover-schema", "--source-id", "disk")
        assert discovered.process.wait(STUCK_SECONDS) == 0, discovered.output

    def start(self) -> Command:
        """Starts it; its changes count once `match("WatchManager started")` has returned."""
        return self._command("start", "--host", "127.0.0.1", "--port", "0")

    def _command(self, *arguments: str) -> Command:
        self._starts += 1
        return Command(
            [str(environment() / "bin/fustor-agent"), *arguments],
            self._home / f"output{self._starts}",
            {"FUSTOR_HOME": str(self._home)},
        )
