"""The public service as its family runs it: its own app over HTTP, beside the registry of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from processes import SESSION_SECONDS, Process, running

from peers import environment

FUSTOR = f"fustor-fusion {environment.VERSION}"
SERVE = Path(__file__).with_name("serve.py")
TOKEN = "benchmark"
# The account that a new registry has.
ADMIN = {"username": "admin@admin.com", "password": "admin"}


@contextmanager
def fustor_server(directory: Path) -> Iterator[Process]:
    """The service with one empty datastore; the registry keeps its database in the directory."""
    variables = {
        "FUSTOR_HOME": str(directory),
        "FUSTOR_REGISTRY_CLIENT_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",  # the service's client of the registry would go by a proxy
    }
    with _app("fustor_registry.main", directory, variables) as registry:
        url = f"http://127.0.0.1:{registry.port}"
        key = _registered(url)
        variables["FUSTOR_FUSION_REGISTRY_URL"] = url
        with _app("fustor_fusion.main", directory, variables) as server:
            yield server._replace(key=key)


def _app(module: str, directory: Path, variables: dict[str, str]) -> AbstractContextManager[Process]:
    return running([str(SERVE), module], directory, python=environment.python(), variables=variables)


def _registered(url: str) -> str:
    """The key of a datastore that is made for it."""
    with httpx.Client(base_url=f"{url}/v1", trust_env=False) as registry:

        def post(path: str, **content: Any) -> Any:
            return registry.post(path, **content).raise_for_status().json()

        registry.headers["Authorization"] = f"Bearer {post('/auth/login', data=ADMIN)['access_token']}"
        store = post("/datastores/", json={"name": "bench", "session_timeout_seconds": SESSION_SECONDS})
        key: str = post("/keys/", json={"name": "bench", "datastore_id": store["id"]})["key"]
        return key
