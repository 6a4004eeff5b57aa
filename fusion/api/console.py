"""The web console: a page and its files, the same for everybody. What they show, they ask for with a key."""

from __future__ import annotations

from sanic import Blueprint, HTTPResponse, Request
from sanic.models.handler_types import RouteHandler

from fusion.api.assets import ASSETS, PAGE, Asset
from fusion.api.conditions import asked_again
from fusion.api.guard import public

console = Blueprint("console", url_prefix="/view")

# The page runs its own scripts alone and talks to its own server alone, whatever a file's name may hold.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "cache-control": "no-cache",  # kept, and asked for again: the tag makes that cheap
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def served(asset: Asset) -> RouteHandler:
    """The handler that answers with a file, or 304 to whoever has it."""
    headers = {**_HEADERS, "etag": f'"{asset.tag}"'}

    @public
    async def answer(request: Request) -> HTTPResponse:
        if asked_again(request, asset.tag):
            return HTTPResponse(status=304, headers=headers)
        content_type = f"{asset.media_type}; charset=utf-8"
        return HTTPResponse(asset.body, headers=headers, content_type=content_type)

    return answer  # type: ignore[return-value] # a coroutine function, as all that are guarded


console.add_route(served(PAGE), "/", name="page")
for name, asset in ASSETS.items():
    console.add_route(served(asset), f"/static/{name}", name=f"file_{name.replace('.', '_')}")
