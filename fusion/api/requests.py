"""Reading requests: the path to route on, the query, the body, the header that names a session."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_plus, unquote_to_bytes

from sanic import Request
from sanic.compat import Header

from fusion.api.budget import Share
from fusion.api.encodings import content_coding, decoded
from fusion.api.patience import Patience
from fusion.errors import BodyTooLarge, InvalidField, Overloaded

INGESTOR = "/ingestor-api/v1/"
STAND_IN = "NONE"

# Above this a body takes longer to decode than the way to a thread and back.
INLINE_BYTES = 64 * 1024
# The same for compressed ones: a few rows, as a rule, and 1 MB at the very worst.
INLINE_COMPRESSED_BYTES = 1024
# The same for what a quick attempt can decode: 1000 rows in 60 µs, half of what the way costs.
QUICK_BYTES = 256 * 1024

T = TypeVar("T")

_TRUE = frozenset({b"true", b"1", b"yes", b"on"})
_FALSE = frozenset({b"false", b"0", b"no", b"off"})
_DIGITS = re.compile(rb"[0-9]+")
# Paths end at 65,535 bytes, so that no tree is deeper; a larger number asks for the same.
_DEEPEST = 65_535


class ApiRequest(Request):
    __slots__ = ()

    def __init__(self, url_bytes: bytes, headers: Header, version: str, method: str, **more: Any) -> None:
        # Sanic answers what it cannot read through a stand-in, and would fail over the same bad URL.
        super().__init__(b"*" if method == STAND_IN else url_bytes, headers, version, method, **more)

    @property
    def path(self) -> str:
        """The path routed on. Clients that double the API's prefix mean what follows its last occurrence."""
        path = super().path
        return path[max(0, path.rfind(INGESTOR)) :]


class Query:
    """The query parameters as raw bytes: names need not be UTF-8. Of a repeated one the last counts."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, bytes] = {}
        for pair in text.split("&") if text else ():
            name, _, value = pair.partition("=")
            self._values[unquote_plus(name)] = unquote_to_bytes(value.replace("+", " "))

    def get(self, name: str, default: bytes) -> bytes:
        return self._values.get(name, default)

    def required(self, name: str) -> bytes:
        """A parameter that must be there and not empty."""
        value = self._values.get(name)
        if not value:
            raise InvalidField(f"the query parameter '{name}' is missing or empty", f"/{name}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name)
        if value is None:
            return default
        word = value.lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise InvalidField(f"'{name}' must be one of true, false, 1, 0, yes, no, on, off", f"/{name}")

    def count(self, name: str) -> int | None:
        """An integer from 0 on, or None when it is not given."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _DIGITS.fullmatch(value):
            raise InvalidField(f"'{name}' must be an integer from 0 on", f"/{name}")
        digits = value.lstrip(b"0") or b"0"
        return int(digits) if len(digits) <= 5 else _DEEPEST


def session_header(request: Request) -> str:
    session_id = request.headers.getone("session-id", None)
    if session_id is None:
        raise InvalidField("the header 'session-id' is missing", "/session-id")
    return session_id


async def read_decoded(
    request: Request, decode: Callable[[bytes], T], quick: Callable[[bytes], T | None] = lambda _: None
) -> T:
    """What ``decode`` makes of the body without its content coding, in a thread when it is large.

    ``quick`` is tried first on one of middle size; it does the same in little time, or declines with None.
    A coding that is not understood is refused before a byte of the body is read.
    """
    coding = content_coding(request.headers.getall("content-encoding", ()))
    body = await read_body(request)
    context = request.app.ctx
    if coding is not None:
        await hold(request, context.max_body_bytes)  # what may come out of it

    def work() -> T:
        return decode(body if coding is None else decoded(body, coding, context.max_body_bytes))

    if len(body) <= (INLINE_BYTES if coding is None else INLINE_COMPRESSED_BYTES):
        return work()
    if coding is None and len(body) <= QUICK_BYTES and (found := quick(body)) is not None:
        return found
    return await context.workers.decode(work)


async def hold(request: Request, size_bytes: int) -> None:
    """Count memory for a body against what all of them may have, once there is room. Raises Overloaded."""
    share: Share = request.ctx.body
    patience: Patience = request.ctx.patience
    with patience.tried():
        held = await share.grow(size_bytes, patience.left_seconds)
    if not held:
        raise Overloaded("the server has no room for this body; nothing of it was taken, send it again later")


async def read_body(request: Request) -> bytes:
    """The whole body as it came, for a route registered with ``stream=True``.

    A declared length over the limit is refused before a byte of it is read, a chunked body as soon as it
    grows over it. What is left unread is drained after the answer, so that the client can read that. A body
    waits for its share of memory, and raises Overloaded when there is none for long.
    """
    limit: int = request.app.ctx.max_body_bytes
    # Sanic types it as the base of its HTTP versions, which cannot be read.
    stream: Any = request.stream
    if stream is None or not stream.request_body:
        return b""
    # Checked by Sanic to be an integer.
    declared = int(request.headers.getone("content-length", "0"))
    if declared > limit:
        raise BodyTooLarge(limit)
    if declared:  # all of it before the first byte: halves of many bodies would wait for each other
        await hold(request, declared)
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        if not declared:
            await hold(request, len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
