"""Content codings of request bodies: which one a request names, and the body without it, within bounds."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from fusion.errors import BodyTooLarge, CompressionTooHigh, MalformedEncoding, UnsupportedEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Bytes out per byte in. Batches of 1000 rows of real trees reach 7 to 20; with one size and one time for all
# rows it is 130 at paths of 100 bytes and 560 at paths of 1,000. Gzip ends at 1,030, zstd nowhere.
MAX_RATIO = 1000
# So much may come out at any ratio.
FREE_BYTES = 64 * 1024
# Each costs a new decompressor (12 µs with zstd), and 8 bytes can be one. Real ones hold 64 KiB and more.
MAX_MEMBERS = 10_000
# 8 MiB: no body with this content coding may ask for more (RFC 9659).
ZSTD_WINDOW_LOG = 23
# What a member is fed first; then twice as much each time. The libraries copy what lies behind a member's
# end: that way never much more than the member itself.
FIRST_SLICE_BYTES = 1024

# The magic numbers of RFC 8878. Libzstd may know older formats as well, whose windows it does not bound.
_ZSTD_FRAME = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


class Member(Protocol):
    """What the decompressors of both libraries have in common. They release the GIL while they work."""

    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class Coding(NamedTuple):
    """A coding in which a body is a sequence of members, each decompressed by itself."""

    expected: str
    open_member: Callable[[bytes, int], Member]  # the body, and where in it the member begins


def _gzip_member(body: bytes, start: int) -> Member:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _zstd_frame(body: bytes, start: int) -> Member:
    if not _ZSTD_FRAME.match(body, start):
        raise zstd.ZstdError("no frame begins here")
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


GZIP = Coding("gzip", _gzip_member)
ZSTD = Coding("zstd with a window of at most 8 MiB and no dictionary", _zstd_frame)

_CODINGS: dict[str, Coding | None] = {"gzip": GZIP, "x-gzip": GZIP, "zstd": ZSTD, "identity": None}


def content_coding(fields: Iterable[str]) -> Coding | None:
    """The coding that the Content-Encoding fields of a request name; None: the body is as it is.

    Raises UnsupportedEncoding for any other, and for more than one.
    """
    elements = [element.strip(" \t").lower() for field in fields for element in field.split(",")]
    names = [element for element in elements if element]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _CODINGS:
        raise UnsupportedEncoding()
    return _CODINGS[names[0]]


def decoded(body: bytes, coding: Coding, limit: int) -> bytes:
    """The body without its coding, of at most ``limit`` bytes; no more than that is ever decompressed.

    Takes one member or several, in time linear in the two sizes. Raises BodyTooLarge, CompressionTooHigh
    beyond MAX_RATIO, and MalformedEncoding for what is damaged, cut short or followed by something else.
    """
    allowed = min(limit, max(FREE_BYTES, MAX_RATIO * len(body)))
    received = memoryview(body)
    pieces: list[bytes] = []
    start = size = members = 0
    try:
        while start < len(body) or not members:
            if members == MAX_MEMBERS:
                raise MalformedEncoding(f"the body is compressed in more than {MAX_MEMBERS} parts")
            members += 1
            member = coding.open_member(body, start)
            slice_bytes = FIRST_SLICE_BYTES
            while not member.eof:
                if start == len(body):
                    raise MalformedEncoding("the compressed body is cut short")
                part = received[start : start + slice_bytes]
                piece = member.decompress(part, allowed - size + 1)
                size += len(piece)
                if size > allowed:
                    raise BodyTooLarge(limit) if allowed == limit else CompressionTooHigh(MAX_RATIO)
                pieces.append(piece)
                start += len(part)
                slice_bytes *= 2
            start -= len(member.unused_data)
    except (zlib.error, zstd.ZstdError) as error:
        raise MalformedEncoding(f"the body is not {coding.expected}: {error}") from None
    return b"".join(pieces)
