"""Commands that build and install, away from the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, directory: Path) -> str:
    """What a command prints, run with neither this process's import path nor its switches of the build."""
    environment = {
        name: value for name, value in os.environ.items() if not re.match("FUSION_|PYTHONPATH$", name)
    }
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(environment: Path, command: str, *arguments: str | Path, directory: Path) -> None:
    """Runs pip for an environment."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, command, *options, *arguments, directory=directory)
