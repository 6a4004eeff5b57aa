"""The web console's files: each read once, at import, with its media type and its tag."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

CONSOLE = files("fusion") / "console"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Asset(NamedTuple):
    """``tag``: of the content, for If-None-Match."""

    body: bytes
    media_type: str
    tag: str


def read(name: str, media_type: str) -> Asset:
    body = (CONSOLE / name).read_bytes()
    return Asset(body, media_type, hashlib.sha256(body).hexdigest()[:16])


PAGE = read("index.html", "text/html")
# What the page consists of besides, by name. Nothing else is ever served: names of requests open no files.
ASSETS = {
    name: read(name, _TYPES[suffix])
    for name in sorted(entry.name for entry in CONSOLE.iterdir())
    if (suffix := name.rpartition(".")[2]) in _TYPES
}
