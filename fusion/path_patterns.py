"""Patterns over whole paths: what a name must have where the path matches, so that names can be searched.

Patterns are those over names (fusion.patterns), with ``/`` in them; ``*``, ``?`` and sets take slashes, too.
What stands behind the last item that may take a slash lies in one name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fusion.patterns import ANY, CLASS, NEGATED_CLASS, STAR, Pattern

SLASH = ord("/")

# How the engine goes about it; see fusion/_core/find.h.
PATHS = 1
SPREAD = 2
BELOW = 3


@dataclass(frozen=True, slots=True)
class PathSearch:
    """How to look for the paths of a pattern.

    names: a program for names, None when nothing can be said of them.
    way: PATHS, a path matches only if its last name does; SPREAD, all below a match match, and the topmost
        match has such a name; BELOW, all below a directory match, and that has such a name.
    """

    way: int
    names: bytes | None


def path_search(pattern: Pattern) -> PathSearch:
    items = _items(pattern.program)
    way = PATHS
    if items[-1] == (STAR,):
        way = SPREAD
        items.pop()
        if items and items[-1] == (SLASH,):
            way = BELOW
            items.pop()
    first = len(items)
    while first and not _may_take_slash(items[first - 1]):
        first -= 1
    if first == len(items):
        return PathSearch(PATHS, None)
    names = [word for item in items[first:] for word in item]
    if not (first and items[first - 1] == (SLASH,)):
        names.insert(0, STAR)
    if way == SPREAD:
        names.append(STAR)
    return PathSearch(way, struct.pack(f"<{len(names)}I", *names))


def _items(program: bytes) -> list[tuple[int, ...]]:
    """The program's words, an item's together."""
    words = struct.unpack(f"<{len(program) // 4}I", program)
    items = []
    at = 0
    while at < len(words):
        length = 2 + 2 * words[at + 1] if words[at] in (CLASS, NEGATED_CLASS) else 1
        items.append(words[at : at + length])
        at += length
    return items


def _may_take_slash(item: tuple[int, ...]) -> bool:
    if item[0] == CLASS:
        return any(first <= SLASH <= last for first, last in zip(item[2::2], item[3::2], strict=True))
    return item[0] in (SLASH, STAR, ANY, NEGATED_CLASS)
