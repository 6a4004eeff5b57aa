"""Events: push a batch, ask for the position, see what is coming in."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from sanic import Blueprint, HTTPResponse, Request

from fusion._index import Applied, Batch
from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.requests import Query, read_body
from fusion.api.responses import json_response, no_content
from fusion.datastore import Datastore
from fusion.errors import Overloaded

# Above this a body takes longer to decode than the way to a thread and back.
INLINE_BYTES = 64 * 1024
# The public agent gives up after 5 s and never sends that batch again.
PATIENCE_SECONDS = 3.0
RETRY_SECONDS = 0.02

events = Blueprint("events", url_prefix="/ingestor-api/v1/events")


@events.post("/", stream=True)
@guard("ingest", takes_body=True)
async def push(request: Request, datastore: Datastore) -> HTTPResponse:
    body = await read_body(request)
    if len(body) <= INLINE_BYTES:
        batch = Batch.decode(body)
    else:
        batch = await request.app.ctx.workers.decode(Batch.decode, body)
    await completion(await enqueue(datastore, batch))
    return no_content()


async def enqueue(datastore: Datastore, batch: Batch) -> Future[Applied | None]:
    """Queue a batch, waiting a while for room. Raises ``Overloaded`` when there is none in all that time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return datastore.push(batch)
        except Overloaded:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


@events.get("/position")
@guard("ingest")
async def position(request: Request, datastore: Datastore) -> HTTPResponse:
    session_id = Query(request.query_string).required("session_id").decode("utf-8", "replace")
    return json_response({"index": datastore.position(session_id)})


@events.get("/stats")
@guard("ingest")
async def ingest_stats(request: Request, datastore: Datastore) -> HTTPResponse:
    return json_response(datastore.ingest_stats())
