"""What stands before every handler: the key, its scope, its datastore, a body nobody asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps

from sanic import HTTPResponse, Request

from fusion.api.budget import Share
from fusion.api.requests import PATIENCE_SECONDS, read_body
from fusion.datastore import Datastore

POLL_SECONDS = 0.02

Handler = Callable[[Request], Awaitable[HTTPResponse | None]]
DatastoreHandler = Callable[[Request, Datastore], Awaitable[HTTPResponse | None]]


async def recovery(datastore: Datastore) -> None:
    """Give a datastore a while to recover: agents are slow to come back from a refusal, and some never do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while datastore.recovering and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)


@contextmanager
def body_share(request: Request) -> Iterator[None]:
    """The request's share of the memory for bodies, given back in the end."""
    request.ctx.body = Share(request.app.ctx.bodies)
    try:
        yield
    finally:
        request.ctx.body.shrink()


def public(handler: Handler) -> Handler:
    """Needs no key. A body is read and dropped, so that the connection can be used again."""

    @wraps(handler)
    async def served(request: Request) -> HTTPResponse | None:
        with body_share(request):
            await read_body(request)
            return await handler(request)

    return served


def guard(scope: str, *, takes_body: bool = False) -> Callable[[DatastoreHandler], Handler]:
    """Check the key before any of the body is read, then call the handler with the key's own datastore.

    A body that the handler does not take is dropped like that of a public route.
    """

    def decorate(handler: DatastoreHandler) -> Handler:
        @wraps(handler)
        async def guarded(request: Request) -> HTTPResponse | None:
            context = request.app.ctx
            grant = context.keys.authorise(request.headers.getone("x-api-key", None), scope)
            with body_share(request):
                if not takes_body:
                    await read_body(request)
                datastore = context.datastores[grant.datastore]
                if datastore.recovering and scope == "ingest":
                    await recovery(datastore)
                return await handler(request, datastore)

        return guarded

    return decorate
