"""What stands before every handler: the key, its scope, its datastore, a body nobody asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from sanic import HTTPResponse, Request

from fusion.api.requests import read_body
from fusion.datastore import Datastore

Handler = Callable[[Request], Awaitable[HTTPResponse | None]]
DatastoreHandler = Callable[[Request, Datastore], Awaitable[HTTPResponse | None]]


def public(handler: Handler) -> Handler:
    """Needs no key. A body is read and dropped, so that the connection can be used again."""

    @wraps(handler)
    async def served(request: Request) -> HTTPResponse | None:
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
            if not takes_body:
                await read_body(request)
            return await handler(request, context.datastores[grant.datastore])

        return guarded

    return decorate
