"""The tree: found, judged, and sent whole or piece by piece."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

from sanic import Request
from sanic.response import BaseHTTPResponse

from fusion.api.answers import Answer
from fusion.api.conditions import asked_again, entity_tag
from fusion.api.description.views import TREE
from fusion.api.freshness import JSON, NDJSON, fresh
from fusion.api.limits import NODE_BYTES, Size
from fusion.api.patience import Patience
from fusion.api.questions import LONGEST, remembering
from fusion.api.sending import accepted, compressed, cursor_field, send, tag_field
from fusion.api.streaming import PIECE_BYTES
from fusion.datastore import Datastore
from fusion.errors import InvalidField, PathNotFound

# What is made at once, in 1 ms or less; anything larger is made piece by piece.
INLINE_NODES = 2_000
INLINE_BYTES = 1 << 21
# A smaller one is made in less time than it takes to remember it.
LEAST_REMEMBERED_BYTES = 4_096
# The cursor of the first page.
START = "start"


# What `only_path` leaves of a node.
ALWAYS = frozenset({"name", "content_type", "path"})


class Question(NamedTuple):
    path: bytes
    shape: dict[str, Any]  # what nodes and which fields of them
    format: Literal["json", "ndjson"]
    limit: int | None
    start: str  # the cursor with which the answer begins
    min_revision: int | None
    key: str | None  # what its answer is remembered by

    @classmethod
    def of(cls, asked: dict[str, Any], key: str | None = None) -> Question:
        """Of checked parameters. Raises InvalidField where they do not go together."""
        if asked["only_path"] and asked["fields"] and not asked["fields"] & ALWAYS:
            raise InvalidField("'only_path' leaves nothing of these fields", "/fields")
        return cls(
            asked["path"],
            {name: asked[name] for name in ("recursive", "max_depth", "only_path", "fields")},
            asked["format"],
            asked["limit"],
            asked["cursor"] or START,
            asked["min_revision"],
            key,
        )

    @property
    def is_page(self) -> bool:
        return self.limit is not None or self.start != START


question_of_query = remembering(
    lambda text: Question.of(TREE.query.from_query(text), text if len(text) <= LONGEST else None)
)


async def answer_tree(
    request: Request, datastore: Datastore, ready: int, asked: Question, patience: Patience | None = None
) -> BaseHTTPResponse:
    """The answer to a question; `ready` is the mark of a check of readiness."""
    if asked.min_revision is not None:
        ready = await fresh(datastore, ready, asked.min_revision, patience or Patience())
    index, path = datastore.index, asked.path
    revision = index.revision
    try:
        files, directories, _, version = index.stats(path)
    except KeyError:
        raise path_not_found(path) from None
    tag = entity_tag(index.instance, version)
    if known := asked_again(request, tag):
        return Answer(b"", JSON % revision + tag_field(known), 304)
    nodes = files + directories
    if (
        nodes <= INLINE_NODES
        and asked.format == "json"
        and not asked.is_page
        and nodes * (NODE_BYTES + 3 * index.longest_path) <= INLINE_BYTES
    ):
        return await whole_tree(request, datastore, ready, asked, nodes, JSON % revision, tag)
    cursor = None if asked.start == START else asked.start
    open_pieces = partial(
        index.tree_chunks,
        path,
        **asked.shape,
        format=asked.format,
        limit=asked.limit,
        cursor=cursor,
        _piece_bytes=PIECE_BYTES,
    )
    pieces = open_pieces()
    datastore.check_ready(ready)
    kind = NDJSON if asked.format == "ndjson" else JSON
    return await send(
        request,
        index,
        open_pieces,
        pieces,
        kind % pieces.revision + cursor_field(pieces.cursor),
        tag=entity_tag(index.instance, pieces.version),
        most_nodes=nodes,
        start=asked.start,
    )


async def whole_tree(
    request: Request, datastore: Datastore, ready: int, asked: Question, nodes: int, fields: bytes, tag: str
) -> Answer:
    """A tree that is made at once, or was for somebody before, and has not changed since."""
    context = request.app.ctx
    coding = accepted(request)
    key = (datastore.name, asked.key, coding and coding.name)
    body = context.remembered.get(key, tag)
    if body is None:
        body = datastore.index.tree_json(asked.path, **asked.shape)
        if nodes > context.limits.nodes or len(body) > context.limits.bytes:
            context.limits.check(Size(nodes, len(body), 0), START)
        is_remembered = len(body) >= LEAST_REMEMBERED_BYTES and asked.key is not None
        body, coding = await compressed(context.workers, body, coding)
        if is_remembered:
            context.remembered.put(key, tag, body)
    if not datastore.is_unbroken(ready):
        datastore.check_ready(ready)
    return Answer(body, fields + tag_field(tag, coding))


def path_not_found(path: bytes) -> PathNotFound:
    return PathNotFound(f"there is no {path.decode('utf-8', 'replace')} in this datastore")
