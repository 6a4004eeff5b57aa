"""From bytes or pieces to an answer: whole or streamed, compressed or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic import Request
from sanic.response import BaseHTTPResponse

from fusion._index import PathIndex
from fusion.api.answers import Answer
from fusion.api.compression import LEAST_BYTES, Coding, accepted_coding
from fusion.api.limits import Size, measured
from fusion.api.offload import Workers
from fusion.api.streaming import Pieces, StreamedAnswer
from fusion.errors import Overloaded

# Above this a body takes longer to compress than the way to a thread and back.
INLINE_COMPRESSION_BYTES = 32 * 1024
MOST_COUNTS = 5


async def whole(request: Request, body: bytes, fields: bytes, tag: str | None = None) -> Answer:
    """An answer of these bytes; `fields` are lines of its head, to which the tag and the coding come."""
    body, coding = await compressed(request.app.ctx.workers, body, accepted(request))
    return Answer(body, fields + tag_field(tag, coding))


async def compressed(workers: Workers, body: bytes, coding: Coding | None) -> tuple[bytes, Coding | None]:
    """The body in that coding, if that is worth it."""
    if coding is None or len(body) < LEAST_BYTES:
        return body, None
    if len(body) <= INLINE_COMPRESSION_BYTES:
        return coding.whole(body), coding
    return await workers.view(coding.whole, body), coding


async def send(
    request: Request,
    index: PathIndex,
    open_pieces: Callable[[], Pieces],
    pieces: Pieces,
    fields: bytes,
    *,
    tag: str | None = None,
    most_nodes: int,
    start: str,
) -> BaseHTTPResponse:
    """An answer of the pieces that `open_pieces` has opened, and opens again where their size is asked first.

    It cannot have more than `most_nodes`; `start` is the cursor with which it begins. Raises
    AnswerTooLarge and Overloaded.
    """
    context: Any = request.app.ctx
    if pieces.whole is not None:
        context.limits.check(Size(pieces.nodes, len(pieces.whole), pieces.revision), start)
        return await whole(request, pieces.whole, fields, tag)
    context.streams.check()
    coding = accepted(request)
    length: int | None = None
    if request.version == "1.0":  # without chunks, so that its end would look like an accident's
        coding = None
        pieces, length = await counted(request, open_pieces, start)
    elif not context.limits.admit(most_nodes, index.longest_path):
        size = await measured(context.workers, open_pieces, context.limits.seconds)
        context.limits.check(size, start)
    return StreamedAnswer(
        pieces,
        fields + tag_field(tag, coding),
        index=index,
        streams=context.streams,
        workers=context.workers,
        compressor=coding and coding.compressor(),
        length=length,
    )


async def counted(request: Request, open_pieces: Callable[[], Pieces], start: str) -> tuple[Pieces, int]:
    """Pieces, and how many bytes they have. Raises AnswerTooLarge, and Overloaded where that never holds."""
    context: Any = request.app.ctx
    for _ in range(MOST_COUNTS):
        size = await measured(context.workers, open_pieces, context.limits.seconds)
        pieces = open_pieces()
        context.limits.check(size, start)
        if pieces.revision == size.revision:
            return pieces, size.bytes
    raise Overloaded("the tree changes faster than it can be measured; ask by HTTP/1.1, or again later")


def accepted(request: Request) -> Coding | None:
    accept = request.headers.getone("accept-encoding", None)
    return accepted_coding(accept) if accept else None


def tag_field(tag: str | None, coding: Coding | None = None, *, weak: bool = False) -> bytes:
    """The fields that tell the coding of a body, and its tag: one tag for each coding."""
    if coding is None:
        return b"" if tag is None else b'etag: %b"%b"\r\n' % (b"W/" if weak else b"", tag.encode())
    suffix, coded = f"-{coding.name}", b"content-encoding: %b\r\n" % coding.name.encode()
    return coded if tag is None else coded + b'etag: "%b%b"\r\n' % (tag.encode(), suffix.encode())


def cursor_field(cursor: str | None) -> bytes:
    return b"" if cursor is None else b"x-fusion-cursor: %b\r\n" % cursor.encode()
