"""Content codings of answers: which one a client takes, and a compressor for it."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Below this a compressed answer is hardly any smaller, and never in fewer packets.
LEAST_BYTES = 1024
ZSTD_LEVEL = 3
# Trees repeat themselves so much that higher levels cost three times the time for a tenth of the size.
GZIP_LEVEL = 1


class Compressor(Protocol):
    """Bytes in, bytes out, perhaps later. Works without the GIL."""

    def add(self, piece: memoryview | bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Zstd:
    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)

    def add(self, piece: memoryview | bytes) -> bytes:
        return self._compressor.compress(piece)

    def finish(self) -> bytes:
        return self._compressor.flush()


class Gzip:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)

    def add(self, piece: memoryview | bytes) -> bytes:
        return self._compressor.compress(piece)

    def finish(self) -> bytes:
        return self._compressor.flush()


class Coding(NamedTuple):
    name: str
    compressor: Callable[[], Compressor]

    def whole(self, body: bytes) -> bytes:
        compressor = self.compressor()
        return compressor.add(body) + compressor.finish()


# In the order of our preference.
CODINGS = (Coding("zstd", Zstd), Coding("gzip", Gzip))


@lru_cache(maxsize=256)
def accepted_coding(accept: str) -> Coding | None:
    """The best of what an Accept-Encoding field takes (RFC 9110, 12.5.3); None: leave the answer as it is.

    Of codings that the client likes equally well, ours first; what it weighs below `identity` is not used.
    """
    weights: dict[str, float] = {}
    for element in accept.split(","):
        name, _, parameters = element.partition(";")
        weights[name.strip().lower()] = _weight(parameters)
    weights.setdefault("gzip", weights.get("x-gzip", -1.0))
    if weights["gzip"] < 0:
        del weights["gzip"]
    others = weights.get("*", 0.0)
    least = weights.get("identity", 0.0)
    best: Coding | None = None
    best_weight = 0.0
    for coding in CODINGS:
        weight = weights.get(coding.name, others)
        if weight > best_weight and weight >= least:
            best, best_weight = coding, weight
    return best


def _weight(parameters: str) -> float:
    """The `q` among the parameters; a coding with one that cannot be read is not taken."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
