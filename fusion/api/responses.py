"""Writing answers: JSON documents, and large bodies sent as slices."""

from __future__ import annotations

from typing import Any

import orjson
from sanic import HTTPResponse, Request

JSON = "application/json"
SLICE_BYTES = 1 << 20


def json_response(document: Any, status: int = 200) -> HTTPResponse:
    return HTTPResponse(orjson.dumps(document), status=status, content_type=JSON)


def json_bytes(body: bytes) -> HTTPResponse:
    """An answer that is JSON already."""
    return HTTPResponse(body, content_type=JSON)


def no_content() -> HTTPResponse:
    return HTTPResponse(status=204)


async def send_large(request: Request, body: bytes) -> None:
    """Send a large JSON body without another copy of it, at the pace of the client."""
    response = await request.respond(
        HTTPResponse(content_type=JSON, headers={"content-length": str(len(body))})
    )
    view = memoryview(body)
    for start in range(0, len(view), SLICE_BYTES):
        await response.send(view[start : start + SLICE_BYTES])
