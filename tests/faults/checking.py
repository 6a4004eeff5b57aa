"""`fusion check` on the data directory of a server that is not running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def check(directory: Path) -> tuple[int, str]:
    """Exit status and output for a server's directory."""
    command = [sys.executable, "-m", "fusion", "check", "--config", "fusion.toml"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout
