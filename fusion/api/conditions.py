"""Entity tags: an answer that the client has already is not sent again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sanic import Request

from fusion.api.compression import CODINGS

_TAG = re.compile(r'"([^"]*)"')
_VARIANTS = ("", *(f"-{coding.name}" for coding in CODINGS))


def entity_tag(instance: int, version: int) -> str:
    """What identifies a subtree's content: the index that holds it and its newest change there.

    A tag is good for one URL, as all tags are. An index made anew, by a restart too, has other tags.
    """
    return f"{instance:x}-{version:x}"


def known_tag(tag: str, fields: Iterable[str]) -> str | None:
    """The tag as If-None-Match fields name it, in any coding (RFC 9110, 13.1.2); None: they do not."""
    for field in fields:
        if field.strip() == "*":
            return tag
        for found in _TAG.findall(field):
            if found.startswith(tag) and found[len(tag) :] in _VARIANTS:
                return str(found)
    return None


def asked_again(request: Request, tag: str) -> str | None:
    """The tag of the answer that whoever asks has already: the one that 304 tells (RFC 9110, 15.4.5)."""
    headers = request.headers
    return known_tag(tag, headers.getall("if-none-match")) if "if-none-match" in headers else None
