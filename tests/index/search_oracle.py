"""Slow, obvious twin of the name search: patterns over lists of code points."""

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

CLASS = re.compile(r"\[(!?+)(\]?[^\]]+|\])\]")


def _simple_folding() -> dict[str, str]:
    """Statuses C and S of CaseFolding.txt: where the full folding is longer than one character, characters
    with the same full folding are one class, named by its lower case member."""
    folding: dict[str, str] = {}
    longer: dict[str, list[str]] = defaultdict(list)
    for character in map(chr, range(sys.maxunicode + 1)):
        full = character.casefold()
        if len(full) == 1:
            folding[character] = full
        else:
            longer[full].append(character)
    for characters in longer.values():
        lower = [character for character in characters if character.lower() == character]
        folding.update((character, (lower or [character])[0]) for character in characters)
    return folding


FOLDING = _simple_folding()
VARIANTS: dict[str, set[str]] = defaultdict(set)
for _character, _folded in FOLDING.items():
    VARIANTS[_folded].add(_character)


def variants(character: str) -> set[str]:
    """The characters that differ from this one by case at most, itself among them."""
    return VARIANTS[FOLDING[character]]


def literal(character: str) -> Callable[[str], bool]:
    same = variants(character)
    return lambda other: other in same


def parse_class(negated: bool, members: str) -> Callable[[str], bool]:
    ranges = []
    while members:
        if len(members) > 2 and members[1] == "-":
            ranges.append((members[0], members[2]))
            members = members[3:]
        else:
            ranges.append((members[0], members[0]))
            members = members[1:]

    def takes(character: str) -> bool:
        return negated != any(low <= v <= high for v in variants(character) for low, high in ranges)

    return takes


def parse(text: str) -> list[Any]:
    """The items of a glob: "*" for a star, else a function that tells whether it takes a character."""
    items: list[Any] = []
    while text:
        found = CLASS.match(text)
        if found:
            items.append(parse_class(bool(found[1]), found[2]))
            text = text[found.end() :]
            continue
        character, text = text[0], text[1:]
        if character == "*":
            items.append("*")
        elif character == "?":
            items.append(lambda c: True)
        else:
            items.append(literal(character))
    return items


@cache
def matcher(pattern: str | bytes) -> Callable[[bytes], bool]:
    """Tells of a name whether it matches."""
    if isinstance(pattern, str):
        pattern = pattern.encode("utf-8", "surrogateescape")
    text = pattern.decode("utf-8", "surrogateescape")
    if set("*?[") & set(text):
        items = parse(text)
    else:
        items = ["*", *map(literal, text), "*"]

    def matches(name: bytes) -> bool:
        characters = name.decode("utf-8", "surrogateescape")
        places = {0}  # positions in the name that the items so far can end at
        for item in items:
            if item == "*":
                places = set(range(min(places, default=len(characters) + 1), len(characters) + 1))
            else:
                places = {p + 1 for p in places if p < len(characters) and item(characters[p])}
        return len(characters) in places

    return matches


def search(names: list[bytes], pattern: str | bytes) -> list[bytes]:
    """The names that match, in their order."""
    return list(filter(matcher(pattern), names))
