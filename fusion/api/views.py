"""The views, gated by readiness: tree, statistics, search, usage, histograms, and the reset.

Readiness is judged before a question is looked at and once more when its answer is about to be sent, and must
not have been lost in between: an answer of 200 was right at the moment it left. A streamed answer shows one
instant between the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from sanic import Blueprint, Request
from sanic.response import BaseHTTPResponse

from fusion._index import PathIndex, Stats
from fusion.api.answers import Answer
from fusion.api.conditions import asked_again, entity_tag
from fusion.api.description.views import DU, HISTOGRAM, SEARCH, STATS, TREE
from fusion.api.documents import histogram_document, kind, sums_document, usage_document
from fusion.api.freshness import JSON, fresh
from fusion.api.guard import guard
from fusion.api.offload import completion
from fusion.api.patience import Patience
from fusion.api.questions import remembering
from fusion.api.requests import read_decoded
from fusion.api.sending import cursor_field, send, tag_field, whole
from fusion.api.tree import START, Question, answer_tree, path_not_found, question_of_query
from fusion.datastore import Datastore
from fusion.events import parse_object

# Below this many nodes a search of names takes hardly longer than the way to a thread and back.
INLINE_NAMES = 50_000
READ = ["GET", "HEAD"]

views = Blueprint("views", url_prefix="/views/fs")


@views.route("/tree", methods=READ)
@guard("read")
async def tree(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    ready = datastore.check_ready()
    return await answer_tree(request, datastore, ready, question_of_query(request.query_string))


@views.post("/tree", stream=True)
@guard("read", takes_body=True)
async def tree_of_document(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    """The same for paths that are too long for a URL."""
    ready = datastore.check_ready()
    asked = Question.of(TREE.query.from_document(await read_decoded(request, parse_object)))
    return await answer_tree(request, datastore, ready, asked, request.ctx.patience)


@views.route("/stats", methods=READ)
@guard("read")
async def stats(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    ready = datastore.check_ready()
    asked = stats_of_query(request.query_string)
    if asked["min_revision"] is not None:
        ready = await fresh(datastore, ready, asked["min_revision"], Patience())
    index, path = datastore.index, asked["path"]
    revision = index.revision
    try:
        found = index.stats(path or b"/")
    except KeyError:
        raise path_not_found(path) from None
    tag = entity_tag(index.instance, found.version)
    # Without a path there are figures that change while the tree does not: the tag is a weak one.
    fields = JSON % revision + tag_field(tag, weak=path is None)
    if asked_again(request, tag):
        return Answer(b"", fields, 304)
    body = all_stats(request, datastore) if path is None else orjson.dumps(path_stats(path, found))
    if not datastore.is_unbroken(ready):
        datastore.check_ready(ready)
    return Answer(body, fields)


stats_of_query = remembering(STATS.query.from_query)


def all_stats(request: Request, datastore: Datastore) -> bytes:
    remembered, mark = request.app.ctx.remembered, datastore.stats_mark()
    body = remembered.get(datastore.name, mark)
    if body is None:
        body = orjson.dumps(datastore.stats())
        remembered.put(datastore.name, mark, body)
    return body


def path_stats(path: bytes, stats: Stats) -> dict[str, Any]:
    return sums_document(path, stats) | {
        "content_type": kind(stats.directories > 0),
        "newest_change": stats.version,
    }


@views.route("/search", methods=READ)
@guard("read")
async def search(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    ready = datastore.check_ready()
    asked = SEARCH.query.from_query(request.query_string)
    ready = await fresh(datastore, ready, asked.pop("min_revision"), Patience())
    context, index, path = request.app.ctx, datastore.index, asked["path"]
    tag = tag_of(index, path)
    if known := asked_again(request, tag):
        return Answer(b"", JSON % index.revision + tag_field(known), 304)
    start = asked["cursor"] or START
    asked["cursor"] = None if start == START else start
    find = partial(index.find_chunks, asked.pop("pattern"), **asked, max_seconds=context.limits.seconds)
    is_quick = asked["match"] == "name" and (asked["sort"] is None or asked["limit"] is not None)
    try:
        if is_quick and len(index) <= INLINE_NAMES:
            pieces = find()
        else:
            pieces = await context.workers.view(find)
    except KeyError:  # it went meanwhile
        raise path_not_found(path) from None
    except TimeoutError:
        raise context.limits.too_slow(start) from None
    datastore.check_ready(ready)
    fields = b"%bx-total-count: %d\r\n" % (JSON % pieces.revision, pieces.total)
    most_nodes = pieces.total if asked["limit"] is None else asked["limit"]
    return await send(
        request,
        index,
        find,
        pieces,
        fields + cursor_field(pieces.cursor),
        tag=tag,
        most_nodes=most_nodes,
        start=start,
    )


@views.route("/du", methods=READ)
@guard("read")
async def usage(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    ready = datastore.check_ready()
    asked = DU.query.from_query(request.query_string)
    return await summary(
        request, datastore, ready, asked, partial(usage_document, top=asked["top"]), is_lasting=True
    )


@views.route("/histogram", methods=READ)
@guard("read")
async def histogram(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    ready = datastore.check_ready()
    asked = HISTOGRAM.query.from_query(request.query_string)
    work = partial(histogram_document, by=asked["by"], now=time.time())
    return await summary(request, datastore, ready, asked, work, is_lasting=asked["by"] == "size")


@views.delete("/reset", ignore_body=True)
@guard("admin")
async def reset(request: Request, datastore: Datastore) -> BaseHTTPResponse:
    await completion(datastore.reset())
    fields = b"x-fusion-revision: %d\r\nx-fusion-state: %b\r\n"
    return Answer(b"", fields % (datastore.index.revision, datastore.state.encode()), 204)


async def summary(
    request: Request,
    datastore: Datastore,
    ready: int,
    asked: dict[str, Any],
    work: Callable[[PathIndex, bytes], dict[str, Any]],
    *,
    is_lasting: bool,
) -> BaseHTTPResponse:
    """What `work` finds out in a thread, as JSON. `is_lasting`: it changes with the tree alone."""
    ready = await fresh(datastore, ready, asked["min_revision"], Patience())
    index, path = datastore.index, asked["path"]
    revision = index.revision
    tag = tag_of(index, path)
    if is_lasting and (known := asked_again(request, tag)):
        return Answer(b"", JSON % revision + tag_field(known), 304)
    try:
        document = await request.app.ctx.workers.view(work, index, path)
    except KeyError:  # it went meanwhile
        raise path_not_found(path) from None
    datastore.check_ready(ready)
    return await whole(request, orjson.dumps(document), JSON % revision, tag if is_lasting else None)


def tag_of(index: PathIndex, path: bytes) -> str:
    """Raises PathNotFound."""
    try:
        return entity_tag(index.instance, index.stats(path).version)
    except KeyError:
        raise path_not_found(path) from None
