"""Whole answers whose head is put together at once.

Sanic formats a head field by field, which takes as long as rendering a small tree. The fields of an Answer
come as bytes, most of them constant.
"""

from __future__ import annotations

from typing import Any

from sanic.compat import Header
from sanic.http import Stage
from sanic.response import BaseHTTPResponse

# A body up to this size is joined with its head: one write costs less than a copy.
JOINED_BYTES = 16 * 1024

_STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    304: b"HTTP/1.1 304 Not Modified\r\n",
}
_BODILESS = frozenset({204, 304})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(BaseHTTPResponse):
    """Status, head fields (lines that end with CRLF) and body; those about the connection are its own."""

    __slots__ = ("fields",)

    def __init__(self, body: bytes, fields: bytes, status: int = 200) -> None:
        # All that the base class sets, without the dictionary for fields that nobody will add.
        self.asgi = False
        self.body = body
        self.content_type = None
        self.stream = None
        self.status = status
        self._cookies = None
        self.fields = fields

    @property
    def headers(self) -> Header:  # type: ignore[override]
        """None but those in `fields`."""
        return Header()

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """All of it; Sanic calls this once, when the handler has returned."""
        stream: Any = self.stream
        body = self.body
        assert body is not None and not data
        head = _STATUS_LINES[self.status] + self.fields
        if self.status not in _BODILESS:
            head += b"content-length: %d\r\n" % len(body)
        head += b"connection: keep-alive\r\n\r\n" if stream.keep_alive else b"connection: close\r\n\r\n"
        if stream.expecting_continue:
            stream.expecting_continue = False
            head = _CONTINUE + head
        stream.response_func = None
        stream.response_size = len(body)
        if stream.head_only or not body:
            await stream._send(head)
        elif len(body) <= JOINED_BYTES:
            await stream._send(head + body)
        else:
            await stream._send(head)
            await stream._send(body)
        stream.stage = Stage.IDLE
