"""A benchmark in a process of its own: the machine is warmed there, its memory is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def run(script: str, *arguments: object, python: str | Path = sys.executable) -> Any:
    """What a script of this directory prints, a JSON document."""
    command = [str(python), str(HERE / script), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
