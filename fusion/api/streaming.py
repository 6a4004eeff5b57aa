"""Answers of any size: made and sent piece by piece, at the pace of the client.

The pieces share one buffer, so that a request holds half a MiB however large its answer is. A failure
on the way ends the connection before the last chunk: no client can take a part for the whole.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import struct
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from sanic.compat import Header
from sanic.http import Stage
from sanic.response import BaseHTTPResponse

from fusion.api.compression import Compressor
from fusion.api.offload import Workers
from fusion.errors import Overloaded
from fusion.logs import event

log = logging.getLogger("fusion.api")

# So many answers are sent at once: each one keeps an instant of the index, which the writer has to heed.
MOST_STREAMS = 256
# Of a piece: larger ones keep others waiting longer, smaller ones go round the loop more often for as much.
PIECE_BYTES = 512 * 1024
WATCH_SECONDS = 1.0
# A client that takes nothing for so long is cut off.
STALL_SECONDS = 60.0
# Sanic's own limits for its buffer of what the system has not taken yet.
_LOW, _HIGH = 16_384, 65_536


class Pieces(Protocol):
    """What an answer is made of; a piece is valid until the next one is asked for."""

    def __iter__(self) -> Iterator[memoryview]: ...
    def __next__(self) -> memoryview: ...
    @property
    def whole(self) -> bytes | None:
        """All of it, where that is one piece."""

    @property
    def nodes(self) -> int:
        """In the pieces so far."""

    @property
    def revision(self) -> int:
        """Of the index, at the instant that they show."""

    @property
    def cursor(self) -> str | None:
        """Of the page behind this one."""


class Streams:
    """The answers being sent. What they keep of the index's past is bounded together."""

    def __init__(self, *, max_seconds: float, max_kept_bytes: int) -> None:
        self.max_seconds = max_seconds
        self.max_kept_bytes = max_kept_bytes
        # One piece each time the loop comes round: however many there are, others are served in between.
        self.turn = asyncio.Lock()
        self._running: dict[StreamedAnswer, None] = {}  # the oldest first

    @property
    def running(self) -> int:
        """How many there are."""
        return len(self._running)

    def check(self) -> None:
        """Raises Overloaded when there are too many."""
        if len(self._running) >= MOST_STREAMS:
            raise Overloaded("too many large answers are being sent; ask again later")

    def enter(self, answer: StreamedAnswer) -> None:
        self._running[answer] = None

    def exit(self, answer: StreamedAnswer) -> None:
        self._running.pop(answer, None)

    def is_oldest(self, answer: StreamedAnswer, index: Any) -> bool:
        """Whether no answer about this index has been sent for longer."""
        return next((other for other in self._running if other.index is index), None) is answer


class StreamedAnswer(BaseHTTPResponse):
    """Status 200, head fields (lines that end with CRLF), and pieces of whatever length.

    The index is locked only while a piece is made, and keeps the instant of the first one until the last.
    """

    __slots__ = ("_pieces", "_streams", "_workers", "charge", "compressor", "fields", "index", "length")

    def __init__(
        self,
        pieces: Iterable[memoryview | bytes],
        fields: bytes,
        *,
        index: Any,
        streams: Streams,
        workers: Workers,
        compressor: Compressor | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        self.status = 200
        self.headers = Header()
        self.fields = fields
        self.index = index
        self.compressor = compressor
        self.length = length  # of all pieces, bytes; None: not known, so that they go as chunks
        self.charge: Callable[[int], None] | None = None  # told of the bytes of each piece
        self._pieces: Iterable[memoryview | bytes] | None = pieces
        self._streams = streams
        self._workers = workers

    def __hash__(self) -> int:
        return id(self)

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """All of it; Sanic calls this once, when the handler has returned."""
        stream: Any = self.stream
        protocol = stream.protocol
        try:
            await protocol.send(self._head(stream.keep_alive))
            if stream.head_only:
                self._end(stream)
                return
            stream.stage = Stage.RESPONSE
            with self._watched(protocol.transport):
                await self._send_pieces(protocol)
            if self.length is None:
                await protocol.send(b"0\r\n\r\n")
            self._end(stream)
        except BaseException as error:
            if isinstance(error, MemoryError):
                event(log, logging.ERROR, "answer_cut_off", f"a large answer was cut off: {error}")
            if protocol.transport is not None:
                protocol.transport.abort()
            raise
        finally:
            self._pieces = None  # lets go of the instant

    def _head(self, keep_alive: bool) -> bytes:
        if self.length is None:
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b"content-length: %d\r\n" % self.length
        connection = b"keep-alive" if keep_alive else b"close"
        return b"HTTP/1.1 200 OK\r\n%b%bconnection: %b\r\n\r\n" % (self.fields, framing, connection)

    def _end(self, stream: Any) -> None:
        stream.response_func = None
        stream.stage = Stage.IDLE

    async def _send_pieces(self, protocol: Any) -> None:
        assert self._pieces is not None
        pieces = iter(self._pieces)
        while True:
            async with self._streams.turn:
                piece = next(pieces, None)
                if self.compressor is None and piece is not None:
                    self._write(protocol.transport, piece)
            if self.compressor is not None:
                work = self.compressor.finish if piece is None else partial(self.compressor.add, piece)
                if packed := await self._workers.view(work):
                    self._write(protocol.transport, packed)
            # Others have their turn even where the system takes everything at once, which makes nobody wait.
            await asyncio.sleep(0)
            await protocol.send(b"")  # returns when the system has all of it: the buffer is free again
            if piece is None:
                return

    def _write(self, transport: Any, piece: memoryview | bytes) -> None:
        if self.charge is not None:
            self.charge(len(piece))
        if self.length is None:
            transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        else:
            transport.write(piece)

    @contextmanager
    def _watched(self, transport: Any) -> Iterator[None]:
        """Nothing waits in a buffer of ours, and somebody looks after the client."""
        # From so many bytes on the loop waits: beyond `high` in plain, at `high` under TLS.
        is_tls = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if is_tls else 0, low=0)
        self._streams.enter(self)
        watch = asyncio.create_task(self._watch(transport))
        try:
            yield
            transport.set_write_buffer_limits(low=_LOW, high=_HIGH)
        finally:
            watch.cancel()
            self._streams.exit(self)

    async def _watch(self, transport: Any) -> None:
        """Cut off a client that stands still, takes too long, or makes the index keep too much."""
        loop = asyncio.get_running_loop()
        began = moved = loop.time()
        unsent = -1
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if transport.is_closing():
                return
            now, before, unsent = loop.time(), unsent, unsent_bytes(transport)
            if unsent != before:
                moved = now
            if now - moved > STALL_SECONDS:
                why = "its client took nothing of it"
            elif now - began > self._streams.max_seconds:
                why = "it took longer than max_answer_seconds"
            elif self.index.memory()["views"] > self._streams.max_kept_bytes and self._streams.is_oldest(
                self, self.index
            ):
                why = "the index had to keep more than max_kept_bytes for it"
            else:
                continue
            event(
                log,
                logging.WARNING,
                "answer_cut_off",
                f"a large answer was cut off: {why}",
                seconds=round(now - began),
            )
            transport.abort()
            return


def unsent_bytes(transport: Any) -> int:
    """What the client has not acknowledged yet, in our buffer and in the system's."""
    held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    return int(transport.get_write_buffer_size()) + int(struct.unpack("i", held)[0])
