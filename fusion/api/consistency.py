"""The circuit breaker: an agent that lost track of its source closes the views until it has caught up."""

from __future__ import annotations

from typing import Any

from sanic import Blueprint, HTTPResponse, Request

from fusion.api.description.schemas import KINDS
from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.requests import read_decoded
from fusion.api.responses import json_response
from fusion.datastore import Datastore
from fusion.errors import InvalidField
from fusion.events import (
    normalise_path,
    optional_number,
    optional_objects,
    optional_string,
    parse_object,
    require_string,
)

consistency = Blueprint("consistency", url_prefix="/ingestor-api/v1/consistency")


@consistency.post("/anomaly", stream=True)
@guard("ingest", takes_body=True)
async def anomaly(request: Request, datastore: Datastore) -> HTTPResponse:
    document = await read_decoded(request, parse_object)
    session_id = require_string(document, "session_id")
    reason = optional_string(document, "reason")
    detected_at = optional_number(document, "detected_at")
    signal = datastore.anomaly(session_id, reason, detected_at, _differences(document))
    return json_response(await completion(signal))


@consistency.get("/status")
@guard("ingest")
async def status(request: Request, datastore: Datastore) -> HTTPResponse:
    return json_response(datastore.consistency())


def _differences(document: dict[str, Any]) -> list[dict[str, Any]]:
    differences = optional_objects(document, "differences") or []
    for number, difference in enumerate(differences):
        pointer = f"/differences/{number}"
        path = difference.get("path")
        if not isinstance(path, str):
            raise InvalidField("path must be a string", f"{pointer}/path")
        normalise_path(path, f"{pointer}/path")
        if difference.get("kind") not in KINDS:
            raise InvalidField(f"kind must be one of {', '.join(KINDS)}", f"{pointer}/kind")
    return differences
