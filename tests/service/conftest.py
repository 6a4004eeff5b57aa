"""Servers for the service tests: one process serves many tests, each of which gets a datastore of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from service import Server, Store, config

# Kinds of datastores: how many of each one server has, and their settings.
KINDS = {
    "plain": (32, "session_timeout_seconds = 30"),
    "brief": (8, "session_timeout_seconds = 1"),
    "shared": (8, "session_timeout_seconds = 30\nallow_concurrent_push = true"),
}


class Stores:
    """Hands out datastores nobody used before; starts the next server when one kind is used up."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: list[Server] = []
        self._free: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def take(self, kind: str, count: int = 1) -> list[Store]:
        """Several of one kind are neighbours in one server."""
        if len(self._free[kind]) < count:
            names = {
                f"{kind}{number}": settings
                for kind, (count, settings) in KINDS.items()
                for number in range(count)
            }
            self._servers.append(
                Server(
                    self._directory / str(len(self._servers)), config(names, "failed_tries_per_minute = 0")
                )
            )
            self._free = {kind: [f"{kind}{n}" for n in range(count)] for kind, (count, _) in KINDS.items()}
        return [Store(self._servers[-1], self._free[kind].pop(0)) for _ in range(count)]

    def close(self) -> None:
        for server in self._servers:
            server.stop()


@pytest.fixture(scope="session")
def _stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    stores = Stores(tmp_path_factory.mktemp("servers"))
    yield stores
    stores.close()


@pytest.fixture
def take(_stores: Stores) -> Callable[..., list[Store]]:
    """Take unused datastores of a kind: ``take(kind, count)``."""
    return _stores.take


@pytest.fixture
def store(take: Callable[..., list[Store]]) -> Store:
    return take("plain")[0]


@pytest.fixture
def neighbours(take: Callable[..., list[Store]]) -> list[Store]:
    """Two datastores of one server."""
    return take("plain", 2)


@pytest.fixture
def brief(take: Callable[..., list[Store]]) -> Store:
    """Sessions time out after a second."""
    return take("brief")[0]


@pytest.fixture
def shared(take: Callable[..., list[Store]]) -> Store:
    """``allow_concurrent_push``."""
    return take("shared")[0]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server of the test's own: ``start(names, server_settings, *arguments)``."""
    servers: list[Server] = []

    def start(names: dict[str, str], server: str = "", *arguments: str) -> Server:
        servers.append(Server(tmp_path / f"server{len(servers)}", config(names, server), *arguments))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()
