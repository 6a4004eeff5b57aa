"""What needs no key: the greeting, the health check, the API's description and the page that shows it."""

from __future__ import annotations

import orjson
from sanic import Blueprint, HTTPResponse, Request

from fusion.api.assets import CONSOLE
from fusion.api.guard import public
from fusion.api.openapi import DESCRIPTION
from fusion.api.responses import json_bytes, json_response

pages = Blueprint("pages")

_HTML = "text/html; charset=utf-8"
_DOCS_PAGE = (CONSOLE / "docs.html").read_bytes()
_OPENAPI = orjson.dumps(DESCRIPTION)


@pages.get("/")
@public
async def greeting(request: Request) -> HTTPResponse:
    return json_response(
        {
            "name": "fusion",
            "message": "Fusion keeps the metadata of file trees and answers queries about them; see /docs.",
        }
    )


@pages.get("/health/live")
@public
async def live(request: Request) -> HTTPResponse:
    return json_response({"status": "ok"})


@pages.get("/health/ready")
@public
async def ready(request: Request) -> HTTPResponse:
    """503 while any datastore does not take changes, or cannot keep them as it should."""
    found = {name: datastore.health() for name, datastore in request.app.ctx.datastores.items()}
    ok = all(health["ok"] for health in found.values())
    document = {"status": "ok" if ok else "unavailable", "datastores": found}
    return json_response(document, status=200 if ok else 503)


@pages.route("/openapi.json", methods=["GET", "HEAD"], ignore_body=True)
@public
async def openapi(request: Request) -> HTTPResponse:
    return json_bytes(_OPENAPI)


@pages.get("/docs")
@public
async def docs(request: Request) -> HTTPResponse:
    return HTTPResponse(_DOCS_PAGE, content_type=_HTML)
