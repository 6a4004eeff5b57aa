"""What stands before every handler: the key, its scope, its datastore, a body nobody asked for; and a look at
how long it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import perf_counter

from sanic import Request
from sanic.response import BaseHTTPResponse

from fusion.api.auth import Grant
from fusion.api.budget import Share
from fusion.api.patience import Patience
from fusion.api.request_ids import give_back
from fusion.api.requests import drop_body, has_body
from fusion.api.streaming import StreamedAnswer
from fusion.datastore import Datastore
from fusion.errors import FusionError

POLL_SECONDS = 0.02

Handler = Callable[[Request], Awaitable[BaseHTTPResponse | None]]
DatastoreHandler = Callable[[Request, Datastore], Awaitable[BaseHTTPResponse | None]]


async def recovery(datastore: Datastore, patience: Patience) -> None:
    """Give a datastore a while to recover: agents are slow to come back from a refusal, and some never do."""
    while datastore.recovering and patience.left_seconds > 0:
        await patience.sleep(POLL_SECONDS)


@contextmanager
def allowed(request: Request) -> Iterator[None]:
    """What the request may take: a share of the memory for bodies, given back in the end, and patience."""
    request.ctx.body = Share(request.app.ctx.bodies)
    request.ctx.patience = Patience()
    try:
        yield
    finally:
        request.ctx.body.shrink()


async def charged(
    request: Request, grant: Grant, work: Awaitable[BaseHTTPResponse | None]
) -> BaseHTTPResponse | None:
    """What comes and goes for a key with a limit counts against it."""
    request.ctx.grant = grant
    response = await work
    if isinstance(response, StreamedAnswer):
        response.charge = grant.charge
    elif response is not None and response.body:
        grant.charge(len(response.body))
    return response


def watched(handler: Handler) -> Handler:
    """Count the request with its time, and give its id back. Errors are counted where they are answered."""

    @wraps(handler)
    async def timed(request: Request) -> BaseHTTPResponse | None:
        began = perf_counter()
        try:
            response = await handler(request)
        except BaseException:
            request.ctx.began = began
            raise
        if response is not None:
            request.app.ctx.traffic.add(request, response.status, perf_counter() - began)
            give_back(request, response)
        return response

    return timed


def public(handler: Handler) -> Handler:
    """Needs no key. A body is read and dropped, so that the connection can be used again."""

    @wraps(handler)
    async def served(request: Request) -> BaseHTTPResponse | None:
        with allowed(request):
            await drop_body(request)
            return await handler(request)

    return watched(served)


def guard(scope: str, *, takes_body: bool = False) -> Callable[[DatastoreHandler], Handler]:
    """Check the key before any of the body is read, then call the handler with the key's own datastore.

    A body that the handler does not take is dropped like that of a public route.
    """

    def decorate(handler: DatastoreHandler) -> Handler:
        async def handle(request: Request, datastore: Datastore) -> BaseHTTPResponse | None:
            with allowed(request):
                if not takes_body:
                    await drop_body(request)
                if datastore.recovering and scope == "ingest":
                    await recovery(datastore, request.ctx.patience)
                return await handler(request, datastore)

        @wraps(handler)
        async def guarded(request: Request) -> BaseHTTPResponse | None:
            context = request.app.ctx
            grant = context.keys.authorise(
                request.headers.getone("x-api-key", None), scope, request.conn_info
            )
            datastore = context.datastores[grant.datastore]
            try:
                if grant.is_limited:
                    return await charged(request, grant, handle(request, datastore))
                if scope == "read" and not has_body(request):  # nothing to be held, or to wait for
                    return await handler(request, datastore)
                return await handle(request, datastore)
            except FusionError:
                request.ctx.datastore = datastore  # views tell its state with their errors, too
                raise

        return watched(guarded)

    return decorate
