"""The views, gated by readiness: tree, stats, search, and the reset.

Readiness is judged before an answer is rendered and once more when it is about to be sent, and must not have
been lost in between: an answer of 200 was right at the moment it left.
"""

from __future__ import annotations

from functools import partial

from sanic import Blueprint, HTTPResponse, Request

from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.requests import Query
from fusion.api.responses import SLICE_BYTES, json_bytes, json_response, no_content, send_large
from fusion.datastore import Datastore
from fusion.errors import PathNotFound
from fusion.events import normalise_path

# Above this many nodes an answer takes longer than the way to a thread and back, and keeps others waiting.
INLINE_NODES = 2_000
# What a node takes in JSON, about.
NODE_BYTES = 240
# The same for a search, whose cost grows with all names there are.
INLINE_NAMES = 50_000

views = Blueprint("views", url_prefix="/views/fs")


@views.get("/tree")
@guard("read")
async def tree(request: Request, datastore: Datastore) -> HTTPResponse | None:
    ready = datastore.check_ready()
    query = Query(request.query_string)
    path = normalise_path(query.get("path", b"/"))
    recursive = query.flag("recursive", True)
    max_depth = query.count("max_depth")
    only_path = query.flag("only_path", False)
    index = datastore.index
    render = partial(index.tree_json, path, recursive=recursive, max_depth=max_depth, only_path=only_path)
    try:
        stats = index.stats(path)
        nodes = stats.files + stats.directories
        if nodes <= INLINE_NODES:
            body = render()
        else:
            context = request.app.ctx
            rendering = context.renderings.share(
                (datastore.name, path, recursive, max_depth, only_path),
                # How much a limited depth leaves out is not known before.
                nodes * NODE_BYTES if recursive and max_depth is None else 0,
                lambda: index.revision,
                lambda: context.workers.view(render),
            )
            body = await rendering.body()
    except KeyError:
        shown = path.decode("utf-8", "replace")
        raise PathNotFound(f"there is no {shown} in this datastore") from None
    datastore.check_ready(ready)
    if len(body) > SLICE_BYTES:
        await send_large(request, body)
        return None
    return json_bytes(body)


@views.get("/search")
@guard("read")
async def search(request: Request, datastore: Datastore) -> HTTPResponse | None:
    ready = datastore.check_ready()
    pattern = Query(request.query_string).required("pattern")
    index = datastore.index
    if len(index) <= INLINE_NAMES:
        body = index.search_json(pattern)
    else:
        body = await request.app.ctx.workers.view(index.search_json, pattern)
    datastore.check_ready(ready)
    if len(body) > SLICE_BYTES:
        await send_large(request, body)
        return None
    return json_bytes(body)


@views.get("/stats")
@guard("read")
async def stats(request: Request, datastore: Datastore) -> HTTPResponse:
    ready = datastore.check_ready()
    document = datastore.stats()
    datastore.check_ready(ready)
    return json_response(document)


@views.delete("/reset", ignore_body=True)
@guard("admin")
async def reset(request: Request, datastore: Datastore) -> HTTPResponse:
    await completion(datastore.reset())
    return no_content()
