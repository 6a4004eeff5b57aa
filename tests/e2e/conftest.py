"""Commands that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import FUSION, Command


@pytest.fixture
def fusion(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start `fusion ...`; keywords go into its environment."""
    commands: list[Command] = []

    def start(*arguments: str, **environment: str) -> Command:
        commands.append(Command([*FUSION, *arguments], tmp_path / f"output{len(commands)}", environment))
        return commands[-1]

    yield start
    for command in commands:
        command.close()
