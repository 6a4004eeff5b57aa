"""Search patterns: what a pattern means, as a program for the engine's name search.

A pattern without ``*``, ``?`` and ``[`` is a substring of the name. With one of them it is a glob over the
whole name, as the standard library's fnmatch reads it: ``*`` any number of characters, ``?`` one, ``[seq]``
one of a set with ranges, ``[!seq]`` one outside of it; a ``[`` that nothing closes stands for itself, a range
with its ends the wrong way round holds nothing, and there is no escape character (``[*]`` is a literal star).

Upper and lower case are alike everywhere, by Unicode's simple case folding (one character to one: Ä is ä, the
Kelvin sign is k, ß is not ss). A set takes a character when it names it in any of its cases. A character is a
code point; a byte that is not UTF-8 is one of its own, written as Python's surrogate escape.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fusion.errors import InvalidField

POINTER = "/pattern"

# The words of a program beside code points; see fusion/_core/glob.h.
STAR = 0x80000000
ANY = 0x80000001
CLASS = 0x80000002  # then the number of ranges, then first and last of each
NEGATED_CLASS = 0x80000003


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that can be searched for.

    text: the pattern, undecodable bytes as surrogate escapes.
    program: little endian 32-bit words for search_init of the engine; case is folded there, by the table
        that the names are folded with.
    """

    text: str
    program: bytes


def compile_pattern(pattern: str | bytes) -> Pattern:
    """The Pattern of a substring or glob; bytes are taken as UTF-8 with undecodable bytes among them.

    Raises InvalidField (a ValueError) for an empty pattern and for a surrogate that escapes no byte,
    TypeError for anything but str and bytes.
    """
    if not isinstance(pattern, str | bytes):
        raise TypeError(f"a pattern is str or bytes, not {type(pattern).__name__}")
    try:
        # Surrogate escapes that together spell a UTF-8 character are that character, as in names.
        encoded = pattern.encode("utf-8", "surrogateescape") if isinstance(pattern, str) else pattern
    except UnicodeEncodeError:
        raise InvalidField("the pattern has a lone surrogate", pointer=POINTER) from None
    text = encoded.decode("utf-8", "surrogateescape")
    if not text:
        raise InvalidField("the pattern is missing or empty", pointer=POINTER)
    if any(character in text for character in "*?["):
        words = list(_glob(text))
    else:
        words = [STAR, *map(ord, text), STAR]
    return Pattern(text, struct.pack(f"<{len(words)}I", *words))


def _glob(text: str) -> Iterator[int]:
    at = 0
    after_star = False
    while at < len(text):
        character = text[at]
        if character == "*":
            if not after_star:
                yield STAR
            after_star = True
            at += 1
            continue
        after_star = False
        end = _class_end(text, at) if character == "[" else None
        if end is not None:
            yield from _class(text[at + 1 : end])
            at = end + 1
        else:
            yield ANY if character == "?" else ord(character)
            at += 1


def _class_end(text: str, start: int) -> int | None:
    """Position of the bracket that closes the class opened at `start`, None when nothing does."""
    first = start + 2 if text.startswith("!", start + 1) else start + 1
    end = text.find("]", first + 1)  # a bracket in first place is a member
    return end if end >= 0 else None


def _class(body: str) -> Iterator[int]:
    negated = body.startswith("!")
    members = body[1:] if negated else body
    ranges: list[int] = []
    at = 0
    while at < len(members):
        # A hyphen in first or last place is a member.
        last = at + 2 if members.startswith("-", at + 1) and at + 2 < len(members) else at
        if members[at] <= members[last]:
            ranges += (ord(members[at]), ord(members[last]))
        at = last + 1
    yield NEGATED_CLASS if negated else CLASS
    yield len(ranges) // 2
    yield from ranges
