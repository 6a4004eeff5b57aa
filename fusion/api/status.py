"""What a datastore is about, for people who watch: it answers in every state, and cheaply."""

from __future__ import annotations

import time

from sanic import Blueprint, HTTPResponse, Request

from fusion.api.guard import guard
from fusion.api.responses import json_response
from fusion.datastore import Datastore
from fusion.version import VERSION

status = Blueprint("status")


@status.get("/status")
@guard("read")
async def datastore_status(request: Request, datastore: Datastore) -> HTTPResponse:
    context = request.app.ctx
    grant = context.keys.known(request.headers.getone("x-api-key"))
    server = {
        "version": VERSION,
        "time": time.time(),
        "started": context.started,
        "scopes": sorted(grant.scopes),
    }
    return json_response(server | datastore.status())
