"""Events: push a batch, ask for the position, see what is coming in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sanic import Blueprint, HTTPResponse, Request
from sanic.response import BaseHTTPResponse

from fusion._index import Applied, Batch
from fusion.api.answers import Answer
from fusion.api.description.ingestor import POSITION
from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.patience import Patience
from fusion.api.requests import read_decoded
from fusion.api.responses import json_response
from fusion.datastore import Datastore
from fusion.errors import Overloaded

B = TypeVar("B", Batch, Batch | None)

RETRY_SECONDS = 0.02

events = Blueprint("events", url_prefix="/ingestor-api/v1/events")


@events.post("/", stream=True)
@guard("ingest", takes_body=True)
async def push(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    batch = await read_decoded(request, packed(Batch.decode), packed(Batch.scan))
    request.ctx.body.shrink(batch.nbytes)
    queued = await enqueue(datastore, batch, request.ctx.patience)
    request.ctx.body.shrink()  # the queue's bound holds from here on
    applied = await completion(queued)
    revision = applied.revision if isinstance(applied, Applied) else datastore.index.revision
    return Answer(b"", b"x-fusion-revision: %d\r\n" % revision, 204)


def packed(decode: Callable[[bytes], B]) -> Callable[[bytes], B]:
    """Decode, and pack for the journal: here several bodies can be at once, the writer is one for all."""

    def work(body: bytes) -> B:
        batch = decode(body)
        if batch is not None:
            batch.pack()
        return batch

    return work


async def enqueue(datastore: Datastore, batch: Batch, patience: Patience) -> Future[Applied | None]:
    """Queue a batch, waiting a while for room. Raises ``Overloaded`` when there is none in all that time."""
    while True:
        try:
            return datastore.push(batch)
        except Overloaded:
            if patience.left_seconds <= 0:
                raise
        await patience.sleep(RETRY_SECONDS)


@events.get("/position")
@guard("ingest")
async def position(request: Request, datastore: Datastore) -> HTTPResponse:
    session_id = POSITION.query.from_query(request.query_string)["session_id"]
    return json_response({"index": datastore.position(session_id)})


@events.get("/stats")
@guard("ingest")
async def ingest_stats(request: Request, datastore: Datastore) -> HTTPResponse:
    return json_response(datastore.ingest_stats())
