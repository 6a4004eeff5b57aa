"""What needs no key: the greeting, this description and the pages."""

from __future__ import annotations

from functools import partial

from fusion.api.assets import ASSETS
from fusion.api.description.operation import HTML, Answer, Operation, header, ok
from fusion.api.description.schemas import record, string
from fusion.api.parameters import TEXT, Parameter, Parameters

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

_page = partial(
    _operation,
    group="Console",
    headers=Parameters(Parameter("If-None-Match", TEXT, description="ETags of what is at hand.")),
)
_TAG = {"ETag": header("Of the content.", string(), required=True)}


def _contents(description: str, media_type: str) -> tuple[Answer, ...]:
    """A file, or that it is at hand."""
    return (
        Answer(200, description, {media_type: {"type": "string"}}, _TAG),
        Answer(304, "It is what If-None-Match names.", headers=_TAG),
    )


CONSOLE = _page("console", path="/view", summary="The web console.", answers=_contents("A page.", HTML))

CONSOLE_FILES = tuple(
    _page(
        f"console_{name.replace('.', '_')}",
        path=f"/view/static/{name}",
        summary="A part of the web console.",
        answers=_contents("A file.", asset.media_type),
    )
    for name, asset in ASSETS.items()
)

PUBLIC_OPERATIONS = (GREETING, OPENAPI, DOCS, CONSOLE, *CONSOLE_FILES)
