"""What one answer may have and take, and finding out how much it would."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from fusion.api.offload import Workers
from fusion.api.streaming import Pieces
from fusion.errors import AnswerTooLarge

# What a node takes in JSON at the very most: beside its texts, and for each byte of its path. Key, name and
# path are written, a byte as `\u00xx`.
NODE_BYTES = 256
PATH_FACTOR = 18


class Size(NamedTuple):
    """How much an answer has. Once it has taken too long to count, how much it has at least."""

    nodes: int
    bytes: int
    revision: int
    complete: bool = True


class Limits(NamedTuple):
    nodes: int
    bytes: int
    seconds: float

    def admit(self, nodes: int, longest_path: int) -> bool:
        """Whether an answer of so many nodes cannot be too large, whatever they are."""
        return nodes <= self.nodes and nodes * (NODE_BYTES + PATH_FACTOR * longest_path) <= self.bytes

    def check(self, size: Size, cursor: str | None) -> None:
        """Raises AnswerTooLarge; `cursor` is for going on in pages."""
        more = "" if size.complete else "more than "
        for has, most, what in (
            (size.nodes, self.nodes, "nodes, and the limit is {} (max_answer_nodes)"),
            (size.bytes, self.bytes, "bytes, and the limit is {} (max_answer_bytes)"),
        ):
            if has > most:
                why = f"{more}{has} {what.format(most)}"
                raise AnswerTooLarge(why, nodes=size.nodes, size_bytes=size.bytes, cursor=cursor)
        if not size.complete:
            raise self.too_slow(cursor, size)

    def too_slow(self, cursor: str | None, size: Size | None = None) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"taken more than {self.seconds:g} s to make (max_answer_seconds)",
            nodes=size and size.nodes,
            size_bytes=size and size.bytes,
            cursor=cursor,
        )


async def measured(workers: Workers, open_pieces: Callable[[], Pieces], seconds: float) -> Size:
    """The size of an answer, by making it and throwing it away."""

    def work() -> Size:
        deadline = time.monotonic() + seconds
        pieces = open_pieces()
        size = 0
        for piece in pieces:
            size += len(piece)
            if time.monotonic() > deadline:
                return Size(pieces.nodes, size, pieces.revision, complete=False)
        return Size(pieces.nodes, size, pieces.revision)

    return await workers.view(work)
