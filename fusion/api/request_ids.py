"""The id of a request, by which its answer and the log's lines about it find each other."""

from __future__ import annotations

import re
from uuid import uuid4

from multidict import istr
from sanic import HTTPResponse, Request
from sanic.response import BaseHTTPResponse

REQUEST_ID = istr("x-request-id")

_VALID = re.compile("[A-Za-z0-9._-]{1,128}")


def request_id(request: Request) -> str:
    """The id that the request brought, if it is a valid one, else one made for it; always the same."""
    known: str | None = getattr(request.ctx, "request_id", None)
    if known is None:
        brought = request.headers.getone(REQUEST_ID, "")
        known = request.ctx.request_id = brought if _VALID.fullmatch(brought) else uuid4().hex
    return known


def give_back(request: Request, response: BaseHTTPResponse) -> None:
    """Tell the id with an answer: that to a request which came with one, valid or not.

    Others are spared the head's field: where an answer takes 100 µs, making and sending an id that nobody
    asked for shows. Errors always have it.
    """
    if isinstance(response, HTTPResponse):
        response.headers[REQUEST_ID] = request_id(request)
    else:  # Answer and StreamedAnswer
        response.fields += b"x-request-id: %b\r\n" % request_id(request).encode()  # type: ignore[attr-defined]
