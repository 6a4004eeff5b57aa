"""Servers that are killed and started again, and the faults that happen to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from io_control import IoControl, compile_library
from service import Server, config


@pytest.fixture
def rounds() -> int:
    """How many times as long as usual the tests with random instants shall go on."""
    return int(os.environ.get("FUSION_FAULT_ROUNDS", "1"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("failing-io"))


@pytest.fixture
def io(tmp_path: Path, library: Path) -> Iterator[IoControl]:
    """What happens to the writes of servers that are started with its environment."""
    control = IoControl(tmp_path, library)
    yield control
    control.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server on the test's directory, once more after one was killed: ``start(names, settings)``."""
    servers: list[Server] = []

    def start(
        names: Mapping[str, str],
        settings: str = "",
        *,
        environment: Mapping[str, str] = {},
        program: Sequence[str] = ("-m", "fusion"),
    ) -> Server:
        text = config(names, settings)
        servers.append(Server(tmp_path / "server", text, environment=environment, program=program))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
