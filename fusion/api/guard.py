"""What stands before every handler that serves a datastore: the key, its scope, its datastore."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from sanic import HTTPResponse, Request

from fusion.api.requests import read_body
from fusion.datastore import Datastore

Handler = Callable[[Request, Datastore], Awaitable[HTTPResponse | None]]


def guard(
    scope: str, *, takes_body: bool = False
) -> Callable[[Handler], Callable[..., Awaitable[HTTPResponse | None]]]:
    """Check the key before any of the body is read, then call the handler with the key's own datastore.

    A body that the handler does not take is read and dropped, so that the connection can be used again.
    """

    def decorate(handler: Handler) -> Callable[..., Awaitable[HTTPResponse | None]]:
        @wraps(handler)
        async def guarded(request: Request) -> HTTPResponse | None:
            context = request.app.ctx
            grant = context.keys.authorise(request.headers.getone("x-api-key", None), scope)
            if not takes_body:
                await read_body(request)
            return await handler(request, context.datastores[grant.datastore])

        return guarded

    return decorate
