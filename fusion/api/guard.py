"""What stands around every handler: the key, its scope, its datastore, a body nobody asked for; and then the
count of the request and its id. Errors are counted where they are answered.

All of it is written out where it happens: the smallest answers take 100 µs in all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import perf_counter

from multidict import istr
from sanic import Request
from sanic.response import BaseHTTPResponse

from fusion.api.auth import Grant
from fusion.api.budget import Share
from fusion.api.patience import Patience
from fusion.api.request_ids import REQUEST_ID, give_back
from fusion.api.requests import drop_body, has_body
from fusion.api.streaming import StreamedAnswer
from fusion.datastore import Datastore

POLL_SECONDS = 0.02
API_KEY = istr("x-api-key")  # looked up as it is, in half the time

Handler = Callable[[Request], Awaitable[BaseHTTPResponse]]
DatastoreHandler = Callable[[Request, Datastore], Awaitable[BaseHTTPResponse]]


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


def charge(grant: Grant, response: BaseHTTPResponse) -> None:
    """The bytes of an answer count against the key's limit."""
    if isinstance(response, StreamedAnswer):
        response.charge = grant.charge
    elif response.body:
        grant.charge(len(response.body))


def public(handler: Handler) -> Handler:
    """Needs no key. A body is read and dropped, so that the connection can be used again."""

    @wraps(handler)
    async def served(request: Request) -> BaseHTTPResponse:
        began = perf_counter()
        try:
            with allowed(request):
                await drop_body(request)
                response = await handler(request)
        except BaseException:
            request.ctx.began = began
            raise
        request.app.ctx.traffic.add(request, response.status, began)
        if REQUEST_ID in request.headers:
            give_back(request, response)
        return response

    return served


def guard(scope: str, *, takes_body: bool = False) -> Callable[[DatastoreHandler], Handler]:
    """Check the key before any of the body is read, then call the handler with the key's own datastore.

    A body that the handler does not take is dropped like that of a public route.
    """

    def decorate(handler: DatastoreHandler) -> Handler:
        @wraps(handler)
        async def guarded(request: Request) -> BaseHTTPResponse:
            began = perf_counter()
            datastore = None
            try:
                context = request.app.ctx
                grant = context.keys.authorise(
                    request.headers.getone(API_KEY, None), scope, request.conn_info
                )
                datastore = context.datastores[grant.datastore]
                if grant.is_limited:
                    request.ctx.grant = grant  # its body counts as well
                if scope == "read" and not has_body(request):  # nothing to be held, or to wait for
                    response = await handler(request, datastore)
                else:
                    with allowed(request):
                        if not takes_body:
                            await drop_body(request)
                        if datastore.recovering and scope == "ingest":
                            await recovery(datastore, request.ctx.patience)
                        response = await handler(request, datastore)
            except BaseException:
                request.ctx.began = began
                request.ctx.datastore = datastore  # views tell its state with their errors, too
                raise
            if grant.is_limited:
                charge(grant, response)
            context.traffic.add(request, response.status, began)
            if REQUEST_ID in request.headers:
                give_back(request, response)
            return response

        return guarded

    return decorate
