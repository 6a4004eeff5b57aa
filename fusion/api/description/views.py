"""The views, and the reset of the tree."""

from __future__ import annotations

from functools import partial

from fusion.api.description.operation import (
    JSON,
    NDJSON,
    OF_A_DATASTORE,
    Answer,
    Headers,
    Operation,
    header,
    ok,
)
from fusion.api.description.schemas import STATES, array, count, nullable, number, record, shared, string
from fusion.api.parameters import (
    BYTES,
    CURSOR,
    DEPTH,
    FIELDS,
    FLAG,
    NUMBER,
    PATH,
    TEXT,
    Choice,
    Integer,
    Parameter,
    Parameters,
)
from fusion.events import MAX_INT64

_FS = "/views/fs/"
_READ = ("GET", "HEAD")

REVISION = {
    "X-Fusion-Revision": header("How many changes the tree has seen.", {"type": "integer"}, required=True)
}
STATE = {"X-Fusion-State": header("The datastore's state.", string(enum=list(STATES)), required=True)}
_VERSION: Headers = {
    "ETag": header("The version of the answer, for If-None-Match.", string()),
    "Vary": header("Request headers that the answer depends on.", string()),
}
_CODING: Headers = {"Content-Encoding": header("How the answer is compressed.", string())}
_NEXT: Headers = {
    "X-Fusion-Cursor": header("The cursor of the next page; not there on the last one.", string())
}
_NOT_MODIFIED = Answer(304, "It is what If-None-Match names.", headers=REVISION | STATE | _VERSION)

_CONDITIONAL = Parameters(
    Parameter("If-None-Match", TEXT, description="ETags of answers at hand: one of these is not sent again."),
    Parameter("Accept-Encoding", TEXT, description="How the answer may be compressed."),
)
_PATH = Parameter("path", PATH, b"/", "Where to start. Normalised; its bytes need not be UTF-8.")
_CURSOR = Parameter(
    "cursor", CURSOR, description="What X-Fusion-Cursor said with the page before; `start`: the first page."
)
_MIN_REVISION = Parameter(
    "min_revision",
    Integer(0, MAX_INT64),
    description="Answer at this revision or a later one.",
)
_SIZE = Integer(0, MAX_INT64)

_view = partial(
    Operation,
    group="Views",
    scope="read",
    error_headers=dict.fromkeys((400, 404, 410, 413, 415, 422, 503, 507), REVISION | STATE),
)


def _limit(description: str) -> Parameter:
    return Parameter("limit", Integer(1, 10_000), description=description)


TREE = _view(
    "tree",
    methods=_READ,
    path=f"{_FS}tree",
    summary="A tree, or a part of it.",
    query=Parameters(
        _PATH,
        Parameter("recursive", FLAG, True, "False: `children` is a list of the direct children."),
        Parameter("max_depth", DEPTH, description="Levels below `path`; wins over recursive=false."),
        Parameter("only_path", FLAG, False, "Leave out size and times."),
        Parameter("fields", FIELDS, description="The keys of nodes, beside `children`."),
        Parameter("format", Choice("json", "ndjson"), "json", "One document, or one node a line."),
        _limit("A page of so many children of `path`, or lines."),
        _CURSOR,
        _MIN_REVISION,
    ),
    headers=_CONDITIONAL,
    answers=(
        Answer(
            200,
            "The node at `path` with its children.",
            {JSON: shared("TreeNode"), NDJSON: string("A node a line, without children.")},
            REVISION | STATE | _VERSION | _CODING | _NEXT,
        ),
        _NOT_MODIFIED,
    ),
    errors=(
        "path_not_found",
        "cursor_expired",
        "answer_too_large",
        "invalid_field",
        "revision_not_reached",
        *OF_A_DATASTORE,
    ),
)

TREE_BY_BODY = _view(
    "tree_by_body",
    methods=("POST",),
    path=TREE.path,
    summary="The same, with the parameters as a JSON object.",
    description="For paths too long for a URL. Names that are not UTF-8 are written with surrogate escapes.",
    headers=TREE.headers,
    body=TREE.query.document_schema(),
    answers=TREE.answers,
    errors=TREE.errors,
)

SEARCH = _view(
    "search",
    methods=_READ,
    path=f"{_FS}search",
    summary="Nodes by name, size and time.",
    query=Parameters(
        Parameter(
            "pattern",
            BYTES,
            description="Part of a name, or with `*`, `?` or `[` a glob over all of it; case is ignored.",
            required=True,
        ),
        Parameter("match", Choice("name", "path"), "name", "What the pattern is compared with."),
        Parameter("path", PATH, b"/", "Look below this one."),
        Parameter("type", Choice("file", "directory", "any"), "file", "What to find."),
        Parameter("min_size", _SIZE, description="Bytes, at least."),
        Parameter("max_size", _SIZE, description="Bytes, at most."),
        Parameter("modified_after", NUMBER, description="Seconds since the epoch."),
        Parameter("modified_before", NUMBER, description="Seconds since the epoch."),
        Parameter("sort", Choice("name", "path", "size", "modified_time"), description="By what."),
        Parameter("order", Choice("asc", "desc"), "asc", "Which way."),
        _limit("At most so many nodes, in pages."),
        _CURSOR,
        _MIN_REVISION,
    ),
    headers=_CONDITIONAL,
    answers=(
        ok(
            "The nodes.",
            array(shared("Node")),
            REVISION
            | STATE
            | _VERSION
            | _CODING
            | _NEXT
            | {"X-Total-Count": header("How many there are on all pages.", count())},
        ),
        _NOT_MODIFIED,
    ),
    errors=(
        "path_not_found",
        "cursor_expired",
        "answer_too_large",
        "invalid_field",
        "revision_not_reached",
        *OF_A_DATASTORE,
    ),
)

_TOTALS = {
    "total_files": count(),
    "total_directories": count("The root counts."),
    "total_bytes": count(),
    "last_event_latency_ms": number("Of the last event with a positive index, when it was applied."),
    "oldest_directory": nullable(
        record(
            {"path": string(), "timestamp": number("Seconds since the epoch.")},
            "Of all but the root that rows described.",
        )
    ),
    "state": string(enum=list(STATES)),
    "queue": count("Changes waiting."),
    "inflight": count("Changes being applied."),
    "revision": count("How many changes the tree has seen."),
    "nodes": count("Files and directories."),
    "bytes_per_node": number("Of memory."),
    "sessions": count("Active ones."),
}

_SUMS = {
    "path": string(),
    "files": count("At or below it."),
    "directories": count("The same; itself counts."),
    "bytes": count("Sum of the files' sizes."),
}

STATS = _view(
    "stats",
    methods=_READ,
    path=f"{_FS}stats",
    summary="How much there is.",
    query=Parameters(
        Parameter("path", PATH, description="Of this part alone; without it of all, and of the datastore."),
        _MIN_REVISION,
    ),
    headers=_CONDITIONAL,
    answers=(
        ok(
            "Without `path` totals, with it those at and below it.",
            {
                "oneOf": [
                    record(_TOTALS, "All."),
                    record(
                        {
                            **_SUMS,
                            "content_type": string(enum=["directory", "file"]),
                            "newest_change": count("The revision of the newest change at or below it."),
                        },
                        "One path.",
                    ),
                ]
            },
            REVISION | STATE | _VERSION | _CODING,
        ),
        _NOT_MODIFIED,
    ),
    errors=("path_not_found", "invalid_field", "revision_not_reached", *OF_A_DATASTORE),
)

DU = _view(
    "du",
    methods=_READ,
    path=f"{_FS}du",
    summary="What takes the most room.",
    query=Parameters(
        _PATH, Parameter("top", Integer(1, 1000), 20, "So many children, and files."), _MIN_REVISION
    ),
    headers=_CONDITIONAL,
    answers=(
        ok(
            "Totals at and below `path`, the largest children of it and the largest files below it.",
            record(
                {
                    **_SUMS,
                    "largest_children": array(
                        record(
                            {
                                **_SUMS,
                                "name": string(),
                                "content_type": string(enum=["directory", "file"]),
                                "raw_name": string(
                                    "Base64 of a name that is not UTF-8.", contentEncoding="base64"
                                ),
                            },
                            optional=("raw_name",),
                        )
                    ),
                    "largest_files": array(shared("Node")),
                }
            ),
            REVISION | STATE | _VERSION | _CODING,
        ),
        _NOT_MODIFIED,
    ),
    errors=("path_not_found", "invalid_field", "revision_not_reached", *OF_A_DATASTORE),
)

HISTOGRAM = _view(
    "histogram",
    methods=_READ,
    path=f"{_FS}histogram",
    summary="How large, or how old, the files are.",
    query=Parameters(
        _PATH, Parameter("by", Choice("size", "age"), "size", "Bytes, or seconds."), _MIN_REVISION
    ),
    headers=_CONDITIONAL,
    answers=(
        ok(
            "Files at and below `path`, by classes.",
            record(
                {
                    "path": string(),
                    "by": string(enum=["size", "age"]),
                    "files": count(),
                    "bytes": count(),
                    "buckets": array(
                        record(
                            {
                                "from": nullable(number("Included.")),
                                "to": nullable(number("Not included.")),
                                "files": count(),
                                "bytes": count(),
                            }
                        )
                    ),
                }
            ),
            REVISION | STATE | _VERSION | _CODING,
        ),
        _NOT_MODIFIED,
    ),
    errors=("path_not_found", "invalid_field", "revision_not_reached", *OF_A_DATASTORE),
)

RESET = _view(
    "reset",
    methods=("DELETE",),
    path=f"{_FS}reset",
    summary="Empty the tree.",
    scope="admin",
    answers=(Answer(204, "The tree is empty.", headers=REVISION | STATE),),
    errors=(*OF_A_DATASTORE, "disk_full"),
)

VIEW_OPERATIONS = (TREE, TREE_BY_BODY, SEARCH, STATS, DU, HISTOGRAM, RESET)
