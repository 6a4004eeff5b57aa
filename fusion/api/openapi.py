"""The API's description as OpenAPI, as /openapi.json serves it.

The order of the paths is part of the contract: a public client takes the first path that contains "session",
"events", "heartbeat" or "position".
"""

from __future__ import annotations

from typing import Any

from fusion.api.description.ingestor import CONSISTENCY_OPERATIONS, EVENT_OPERATIONS, SESSION_OPERATIONS
from fusion.api.description.operation import Operation
from fusion.api.description.public import PUBLIC_OPERATIONS
from fusion.api.description.schemas import SHARED
from fusion.api.description.status import STATUS_OPERATIONS
from fusion.api.description.views import VIEW_OPERATIONS

VERSION = "1.0"

OPERATIONS: tuple[Operation, ...] = (
    *SESSION_OPERATIONS,
    *EVENT_OPERATIONS,
    *CONSISTENCY_OPERATIONS,
    *VIEW_OPERATIONS,
    *STATUS_OPERATIONS,
    *PUBLIC_OPERATIONS,
)


def description(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """The OpenAPI document of these operations, in their order."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for method in operation.methods:
            paths.setdefault(operation.path, {})[method.lower()] = operation.described(method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fusion",
            "version": VERSION,
            "description": "Metadata of file trees: agents push it, views answer queries about it. "
            "Send an API key in the X-API-Key header.",
        },
        "tags": [{"name": group} for group in dict.fromkeys(operation.group for operation in operations)],
        "security": [{"api_key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
            "schemas": SHARED,
        },
    }


DESCRIPTION = description(OPERATIONS)
