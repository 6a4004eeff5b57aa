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


def is_known(tag: str, fields: Iterable[str]) -> bool:
    """Whether If-None-Match fields name the tag, in any content coding (RFC 9110, 13.1.2)."""
    for field in fields:
        if field.strip() == "*":
            return True
        for found in _TAG.findall(field):
            if found.startswith(tag) and found[len(tag) :] in _VARIANTS:
                return True
    return False


def is_asked_again(request: Request, tag: str) -> bool:
    """Whether whoever asks has the answer already."""
    headers = request.headers
    return "if-none-match" in headers and is_known(tag, headers.getall("if-none-match"))
