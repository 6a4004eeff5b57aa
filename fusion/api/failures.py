"""Every error leaves as JSON: ours by their class, Sanic's by their status, the rest as a 500."""

from __future__ import annotations

from asyncio import CancelledError
from typing import ClassVar

import orjson
from sanic import HTTPResponse, Request
from sanic.exceptions import MethodNotAllowed as SanicMethodNotAllowed
from sanic.exceptions import PayloadTooLarge, SanicException
from sanic.handlers import ErrorHandler

from fusion.api.refusals import RefusalLog
from fusion.api.request_ids import REQUEST_ID, request_id
from fusion.api.requests import STAND_IN
from fusion.errors import (
    BadRequest,
    BodyTooLarge,
    FusionError,
    HeaderTooLarge,
    InternalError,
    MethodNotAllowed,
    NotReady,
    RouteNotFound,
)

VIEWS = "/views/"


class RequestTimedOut(FusionError):
    status: ClassVar[int] = 408
    code: ClassVar[str] = "request_timeout"
    default_detail: ClassVar[str] = "the request did not arrive in time; send it again"


class ExpectationFailed(FusionError):
    status: ClassVar[int] = 417
    code: ClassVar[str] = "expectation_failed"
    default_detail: ClassVar[str] = "of the Expect header only 100-continue is understood; leave it out"


class Interrupted(FusionError):
    """The answer took too long, or the server is stopping."""

    status: ClassVar[int] = 503
    code: ClassVar[str] = "interrupted"
    default_detail: ClassVar[str] = "the request was interrupted before it was answered; send it again"
    retry_after_seconds = 1


class Failures(ErrorHandler):
    def __init__(self) -> None:
        super().__init__()
        self._refusals = RefusalLog()

    def response(self, request: Request, exception: BaseException) -> HTTPResponse:
        failure = translate(request, exception)
        request.app.ctx.traffic.add(request, failure.status, getattr(request.ctx, "began", None))
        headers, extra = failure.headers | {REQUEST_ID: request_id(request)}, failure.extra
        datastore = getattr(request.ctx, "datastore", None)
        if failure.status >= 500:
            if not isinstance(failure, NotReady):  # whose fields are the contract's
                extra = extra | {"request_id": request_id(request)}
            self._refusals.add(request, failure, exception, datastore and datastore.name)
        if request.path.startswith(VIEWS) and datastore:
            found = {"state": datastore.state, "queue": datastore.queue, "inflight": datastore.inflight}
            extra = found | extra if failure.status == 503 else extra
            headers |= {
                "x-fusion-revision": str(datastore.index.revision),
                "x-fusion-state": extra.get("state", found["state"]),
            }
        if isinstance(exception, SanicMethodNotAllowed):
            headers |= exception.headers
        return HTTPResponse(
            orjson.dumps({"detail": failure.detail, "code": failure.code, **extra}),
            status=failure.status,
            headers=headers,
            content_type="application/json",
        )


def translate(request: Request, exception: BaseException) -> FusionError:
    """The error to tell, whatever was raised."""
    if isinstance(exception, FusionError):
        return exception
    if isinstance(exception, CancelledError):
        return Interrupted()
    if isinstance(exception, PayloadTooLarge):
        if request.method == STAND_IN:
            return HeaderTooLarge(
                "the request line and headers are", request.app.config.REQUEST_MAX_HEADER_SIZE
            )
        return BodyTooLarge(request.app.ctx.max_body_bytes)
    if isinstance(exception, SanicException):
        match exception.status_code:
            case 404:
                return RouteNotFound()
            case 405:
                return MethodNotAllowed(f"this route does not answer {request.method}; see the Allow header")
            case 408:
                return RequestTimedOut()
            case 417:
                return ExpectationFailed()
            case 503:
                return Interrupted()
            case status if 400 <= status < 500:
                return BadRequest(f"this is not a valid HTTP request: {exception}")
    return InternalError("something went wrong inside the server; its log says what")
