"""Where a request begins and ends: bytes that another reader could frame differently are refused.

Sanic takes a bare line feed, NUL, a folded line and a space before the colon for parts of a field, reads
sizes as `int()` does, and any two bytes for the line end behind a chunk. A proxy that reads one of them in
another way sees other requests than we answer (request smuggling).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sanic.compat import Header
from sanic.exceptions import BadRequest as SanicBadRequest
from sanic.exceptions import PayloadTooLarge
from sanic.http import Http

from fusion.errors import BadRequest, HeaderTooLarge

# Of all header fields together. The request line may have what is left of HEADER_BYTES: it has the paths.
FIELDS_BYTES = 16 * 1024
# Of the line before a chunk: its size, and extensions, which mean nothing here.
CHUNK_LINE_BYTES = 256
# Chunks can be as small as a byte: after so many others have their turn.
CHUNKS_PER_TURN = 256

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE"))
_METHOD = re.compile(_TOKEN.decode())
_FIELDS = re.compile(rb"(?:\r\n%b:[^\x00-\x08\x0a-\x1f\x7f]*+)*+" % _TOKEN)
_CHUNK_LINE = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n")
_LENGTH = re.compile("[0-9]{1,32}")


# Fields of HTTP/1.1 that were found good: a client sends the same with each of its requests.
_good: set[bytes] = set()
MOST_GOOD = 256
GOOD_BYTES = 1024


def check_line(method: str, target: bytes) -> None:
    """Check what Sanic has found between the spaces of a request line. Raises BadRequest."""
    if method not in _METHODS and not _METHOD.fullmatch(method):
        raise BadRequest("this is not a valid HTTP request: it must begin with a method")
    if not target.decode("ascii").isprintable():
        raise BadRequest("this is not a valid HTTP request: there are control characters in the target")


def check_fields(fields: bytes, headers: Header, version: str) -> None:
    """Check header fields: lines that begin with CRLF. Raises BadRequest and HeaderTooLarge."""
    if fields in _good and version == "1.1":
        return
    if len(fields) > FIELDS_BYTES:
        raise HeaderTooLarge("the header fields are", FIELDS_BYTES)
    if not _FIELDS.fullmatch(fields):
        raise BadRequest(
            "this is not a valid HTTP request: header fields must have no folded lines, no control "
            "characters and no space before the colon"
        )
    if version != "1.1":
        if "transfer-encoding" in headers:
            raise BadRequest("this is not a valid HTTP request: there is no Transfer-Encoding in HTTP/1.0")
        return
    if len(headers.getall("host", ())) != 1:
        raise BadRequest("this is not a valid HTTP request: it must have one Host field")
    if len(fields) <= GOOD_BYTES:
        if len(_good) >= MOST_GOOD:
            _good.clear()
        _good.add(fields)


class StrictHttp(Http):
    """Sanic's side of one connection, with the framing of bodies checked."""

    __slots__ = ("_chunks",)
    protocol: Any  # a fusion.api.connections.Connection
    request_bytes: int
    request_bytes_left: int

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self._chunks = 0

    def init_for_request(self) -> None:
        Http.init_for_request(self)
        self.protocol.due = 0.0

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        # Of a body in chunks the line end of the head is still there.
        if self.expecting_continue and self.recv_buffer in (b"", b"\r\n"):
            # The client waits to be told whether to send its body, and will not, or will: nobody can know.
            self.expecting_continue = False
            self.request_body = None
            self.keep_alive = False
        await super().http1_response_header(data, end_stream)

    async def read(self) -> bytes | None:
        """Some of the body, or None at its end."""
        if self.request_body != "chunked":
            return await super().read()
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(_CONTINUE)
        if not self.request_bytes_left and not await self._enter_chunk():
            return None
        if not self.recv_buffer:
            await self._receive_more()
        data = bytes(self.recv_buffer[: self.request_bytes_left])
        del self.recv_buffer[: len(data)]
        self.request_bytes_left -= len(data)
        return data

    async def _enter_chunk(self) -> bool:
        """Read the line before a chunk; False: it is the last one, and the body is at its end."""
        self._chunks += 1
        if self._chunks % CHUNKS_PER_TURN == 0:
            await asyncio.sleep(0)
        buffer = self.recv_buffer
        while (line := _CHUNK_LINE.match(buffer)) is None:
            if not b"\r\n".startswith(buffer[:2]) or b"\r\n" in buffer[2:] or len(buffer) > CHUNK_LINE_BYTES:
                raise self._malformed()
            await self._receive_more()
        if line.end() > CHUNK_LINE_BYTES:
            raise self._malformed()
        size = int(line[1], 16)
        if size:
            del buffer[: line.end()]
            self.request_bytes_left = size
            self.request_bytes += size
            if self.request_bytes > self.request_max_size:
                self.keep_alive = False
                raise PayloadTooLarge("Request body exceeds the size limit")
            return True
        while len(buffer) < line.end() + 2:
            await self._receive_more()
        if buffer[line.end() : line.end() + 2] != b"\r\n":  # trailers, which nobody reads
            raise self._malformed()
        del buffer[: line.end() + 2]
        self.request_body = None
        return False

    def _malformed(self) -> SanicBadRequest:
        """The rest of the connection cannot be understood. Sanic expects its own where it drops a body."""
        self.keep_alive = False
        self.request_body = None
        return SanicBadRequest("the chunks of its body are malformed")

    @staticmethod
    def _safe_int(value: str, base: int = 10) -> int:
        """A Content-Length; int() would take signs, underscores and the digits of all languages, too."""
        if not _LENGTH.fullmatch(value.strip(" \t")):
            raise ValueError
        return int(value)
