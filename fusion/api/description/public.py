"""What needs no key: the greeting, this description and the pages."""

from __future__ import annotations

from functools import partial

from fusion.api.description.operation import HTML, Answer, Operation, ok
from fusion.api.description.schemas import record, string

_operation = partial(Operation, group="Server", methods=("GET",))

GREETING = _operation(
    "greeting",
    path="/",
    summary="A greeting.",
    answers=(ok("Hello.", record({"name": string(), "message": string()})),),
)

OPENAPI = _operation(
    "openapi",
    methods=("GET", "HEAD"),
    path="/openapi.json",
    summary="This description.",
    answers=(ok("OpenAPI 3.1.", {"type": "object"}),),
)

DOCS = _operation(
    "docs",
    path="/docs",
    summary="This description, for people.",
    answers=(Answer(200, "A page.", {HTML: {"type": "string"}}),),
)

CONSOLE = _operation(
    "console",
    path="/view",
    summary="The web console.",
    answers=(Answer(200, "A page.", {HTML: {"type": "string"}}),),
)

PUBLIC_OPERATIONS = (GREETING, OPENAPI, DOCS, CONSOLE)
