"""Answers that are one JSON document."""

from __future__ import annotations

from typing import Any

import orjson
from sanic import HTTPResponse

JSON = "application/json"


def json_response(document: Any, status: int = 200) -> HTTPResponse:
    return HTTPResponse(orjson.dumps(document), status=status, content_type=JSON)


def json_bytes(body: bytes) -> HTTPResponse:
    """An answer that is JSON already."""
    return HTTPResponse(body, content_type=JSON)
