"""The circuit breaker: an agent that lost track of its source says so, and the views close until it has caught up."""

from __future__ import annotations

from typing import Any

from sanic import Blueprint, HTTPResponse, Request

from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.requests import read_body
from fusion.api.responses import json_response
from fusion.datastore import Datastore
from fusion.errors import InvalidField
from fusion.events import parse_object, require_string

# No clock says more; it also keeps infinity and NaN out.
_FAR_AWAY = 1e15

KINDS = ("missing", "stale", "extra")

consistency = Blueprint("consistency", url_prefix="/ingestor-api/v1/consistency")


@consistency.post("/anomaly", stream=True)
@guard("ingest", takes_body=True)
async def anomaly(request: Request, datastore: Datastore) -> HTTPResponse:
    document = parse_object(await read_body(request))
    session_id = require_string(document, "session_id")
    reason = require_string(document, "reason") if document.get("reason") is not None else None
    signal = datastore.anomaly(session_id, reason, _detected_at(document), _differences(document))
    return json_response(await completion(signal))


@consistency.get("/status")
@guard("ingest")
async def status(request: Request, datastore: Datastore) -> HTTPResponse:
    return json_response(datastore.consistency())


def _detected_at(document: dict[str, Any]) -> float | None:
    value = document.get("detected_at")
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < _FAR_AWAY:
        return float(value)
    raise InvalidField("'detected_at' must be a time in seconds since the epoch", "/detected_at")


def _differences(document: dict[str, Any]) -> list[dict[str, Any]]:
    differences = document.get("differences")
    if differences is None:
        return []
    if not isinstance(differences, list):
        raise InvalidField("'differences' must be an array", "/differences")
    for position, difference in enumerate(differences):
        pointer = f"/differences/{position}"
        if not isinstance(difference, dict):
            raise InvalidField("a difference must be an object", pointer)
        if not isinstance(difference.get("path"), str):
            raise InvalidField("the 'path' of a difference must be a string", f"{pointer}/path")
        if difference.get("kind") not in KINDS:
            raise InvalidField(f"the 'kind' of a difference must be one of {', '.join(KINDS)}", f"{pointer}/kind")
    return differences
