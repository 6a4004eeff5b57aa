"""Reading requests: the path to route on, and the body. Parameters are read in fusion.api.parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sanic import Request
from sanic.compat import Header

from fusion.api.budget import Share
from fusion.api.encodings import content_coding, decoded
from fusion.api.framing import check_fields, check_line
from fusion.api.patience import Patience
from fusion.errors import BodyTooLarge, Overloaded

INGESTOR = "/ingestor-api/v1/"
STAND_IN = "NONE"

# Above this a body takes longer to decode than the way to a thread and back.
INLINE_BYTES = 64 * 1024
# The same for compressed ones: a few rows, as a rule, and 1 MB at the very worst.
INLINE_COMPRESSED_BYTES = 1024
# The same for what a quick attempt can decode: 1000 rows in 60 µs, half of what the way costs.
QUICK_BYTES = 256 * 1024
# So much of a body in chunks is counted as it comes; a larger one counts as the largest from there on: else
# many of them would hold halves and wait for each other.
COUNTED_BYTES = 1024 * 1024
COUNTED_STEP_BYTES = 64 * 1024
# A body can come byte by byte: pieces smaller than this are put together, else they would take many times as
# much as it has.
SMALL_BYTES = 4096

T = TypeVar("T")


class ApiRequest(Request):
    __slots__ = ()

    def __init__(
        self,
        url_bytes: bytes,
        headers: Header,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
    ) -> None:
        if head:
            check_line(method, url_bytes)
            end = head.find(b"\r\n")
            check_fields(b"" if end < 0 else head[end:], headers, version)
        else:  # Sanic answers what it cannot read through a stand-in, and would fail over the same bad URL
            url_bytes = b"*"
        super().__init__(url_bytes, headers, version, method, transport, app, head)

    @property
    def path(self) -> str:
        """The path routed on. Clients that double the API's prefix mean what follows its last occurrence."""
        path = super().path
        return path[max(0, path.rfind(INGESTOR)) :]


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


def has_body(request: Request) -> bool:
    """Whether a body comes with it that has not been read."""
    # Sanic types it as the base of its HTTP versions, which has none.
    stream: Any = request.stream
    return stream is not None and bool(stream.request_body)


def declared_bytes(request: Request) -> int:
    """What the body declares to have, 0 if it does not. Raises BodyTooLarge before a byte of it is read."""
    declared = int(request.headers.getone("content-length", "0"))  # checked to be one
    if declared > (limit := request.app.ctx.max_body_bytes):
        raise BodyTooLarge(limit)
    return declared


async def read_body(request: Request) -> bytes:
    """The whole body as it came, for a route registered with ``stream=True``.

    A declared length over the limit is refused before a byte of it is read, a chunked body as soon as it
    grows over it. What is left unread is drained after the answer, so that the client can read that. A body
    waits for its share of memory, and raises Overloaded when there is none for long.
    """
    if not has_body(request):
        return b""
    limit: int = request.app.ctx.max_body_bytes
    if held := declared_bytes(request):  # all before the first byte: halves of many would wait for each other
        await hold(request, held)
    pieces: list[bytes] = []
    size = 0
    # Sanic types it as the base of its HTTP versions, which has none.
    stream: Any = request.stream
    async for piece in stream:
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(limit)
        if size > held:
            grown = limit if size > COUNTED_BYTES else size + COUNTED_STEP_BYTES
            await hold(request, grown - held)
            held = grown
        if pieces and len(pieces[-1]) < SMALL_BYTES:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    if (grant := getattr(request.ctx, "grant", None)) is not None:
        grant.charge(size)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def drop_body(request: Request) -> None:
    """Read a body that nobody takes, so that the connection can be used again. It needs no memory."""
    if not has_body(request):
        return
    declared_bytes(request)
    limit: int = request.app.ctx.max_body_bytes
    size = 0
    stream: Any = request.stream
    async for piece in stream:
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(limit)
