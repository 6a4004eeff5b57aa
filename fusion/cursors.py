"""Cursors: where the next page of a sorted answer begins, as text that its reader gives back.

Nothing is kept for a cursor: it holds the sort key and the path of the last node sent, and a digest of them
and of the question.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from hashlib import blake2b

from fusion.errors import InvalidField

POINTER = "/cursor"
_DIGEST = 12
_KEY = 8


def _digest(question: tuple[object, ...], place: bytes) -> bytes:
    return blake2b(ascii(question).encode() + b"\0" + place, digest_size=_DIGEST).digest()


def make_cursor(question: tuple[object, ...], key: int, path: bytes) -> str:
    """A cursor behind the node with that sort key (64 bits) and path; `question` is all that matters else."""
    place = key.to_bytes(_KEY, "little") + path
    return urlsafe_b64encode(_digest(question, place) + place).decode().rstrip("=")


def read_cursor(question: tuple[object, ...], cursor: object) -> tuple[int, bytes]:
    """The key and the path in a cursor of this question. Raises InvalidField (a ValueError) for others."""
    if isinstance(cursor, str) and cursor.isascii():
        try:
            raw = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        place = raw[_DIGEST:]
        if len(place) > _KEY and _digest(question, place) == raw[:_DIGEST]:
            return int.from_bytes(place[:_KEY], "little"), place[_KEY:]
    raise InvalidField("the cursor is none, or is of another question", pointer=POINTER)
