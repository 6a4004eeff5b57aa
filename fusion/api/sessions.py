"""Sessions: open, keep alive, end, list."""

from __future__ import annotations

from sanic import Blueprint, HTTPResponse, Request

from fusion.api.description.ingestor import END_SESSION, HEARTBEAT
from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.requests import read_decoded
from fusion.api.responses import json_response
from fusion.datastore import Datastore
from fusion.events import optional_object, parse_object, require_string

sessions = Blueprint("sessions", url_prefix="/ingestor-api/v1/sessions")


@sessions.post("/", stream=True)
@guard("ingest", takes_body=True)
async def open_session(request: Request, datastore: Datastore) -> HTTPResponse:
    document = await read_decoded(request, parse_object)
    task_id = require_string(document, "task_id")
    client_info = optional_object(document, "client_info")
    grant = await completion(datastore.open_session(task_id, client_info, request.ip))
    return json_response(
        {
            "session_id": grant.session_id,
            "session_timeout_seconds": grant.session_timeout_seconds,
            "suggested_heartbeat_interval_seconds": grant.suggested_heartbeat_interval_seconds,
        }
    )


@sessions.post("/heartbeat", stream=True)
@guard("ingest")
async def heartbeat(request: Request, datastore: Datastore) -> HTTPResponse:
    session_id = HEARTBEAT.headers.from_headers(request.headers)["session-id"]
    datastore.heartbeat(session_id)
    return json_response({"status": "ok", "message": f"Session {session_id} heartbeat updated successfully"})


@sessions.delete("/", ignore_body=True)
@guard("ingest")
async def end_session(request: Request, datastore: Datastore) -> HTTPResponse:
    session_id = END_SESSION.headers.from_headers(request.headers)["session-id"]
    await completion(datastore.end_session(session_id))
    return json_response({"status": "ok", "message": f"Session {session_id} ended"})


@sessions.get("/")
@guard("ingest")
async def list_sessions(request: Request, datastore: Datastore) -> HTTPResponse:
    active = datastore.sessions()
    return json_response({"datastore_id": datastore.name, "active_sessions": active, "count": len(active)})
