"""JSON Schemas: how to write them briefly, and those that several routes share."""

from __future__ import annotations

from typing import Any

from fusion.api.parameters import PATH, Schema
from fusion.events import EVENT_TYPES, MAX_INT64, MIN_INT64, SOURCE_TYPES

STATES = ("empty", "snapshot", "draining", "ready", "stale", "tripped", "recovering", "damaged")
KINDS = ("missing", "stale", "extra")


def described(schema: Schema, description: str, **more: Any) -> Schema:
    return {**schema, **more} | ({"description": description} if description else {})


def string(description: str = "", **more: Any) -> Schema:
    return described({"type": "string"}, description, **more)


def integer(description: str = "", **more: Any) -> Schema:
    return described({"type": "integer"}, description, **more)


def count(description: str = "", **more: Any) -> Schema:
    """A number of things."""
    return integer(description, minimum=0, **more)


def number(description: str = "", **more: Any) -> Schema:
    return described({"type": "number"}, description, **more)


def boolean(description: str = "", **more: Any) -> Schema:
    return described({"type": "boolean"}, description, **more)


def array(items: Schema, description: str = "", **more: Any) -> Schema:
    return described({"type": "array", "items": items}, description, **more)


def nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def record(properties: dict[str, Schema], description: str = "", *, optional: tuple[str, ...] = ()) -> Schema:
    """An object of an answer: these keys and no others, all but the optional ones always there."""
    required = [name for name in properties if name not in optional]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return described(schema | ({"required": required} if required else {}), description)


def document(
    properties: dict[str, Schema], description: str = "", *, required: tuple[str, ...] = ()
) -> Schema:
    """An object of a request; unknown keys are ignored."""
    schema: Schema = {"type": "object", "properties": properties}
    return described(schema | ({"required": list(required)} if required else {}), description)


def shared(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_NODE: dict[str, Schema] = {
    "name": string("The root's is empty."),
    "content_type": string(enum=["directory", "file"]),
    "path": string("Absolute."),
    "size": count("Bytes."),
    "modified_time": number("Seconds since the epoch."),
    "created_time": number("Seconds since the epoch."),
    "raw_name": string("Base64 of a name that is not UTF-8.", contentEncoding="base64"),
}
_SECONDS = number("Seconds since the epoch.", default=0)
_PATH_OF_ROW = described(PATH.schema, "Normalised like the parameter `path`.")

ROW = document(
    {
        "path": _PATH_OF_ROW,
        "file_path": described(PATH.schema, "The path, unless `path` is given."),
        "size": nullable(count("Bytes.", maximum=MAX_INT64, default=0)),
        "modified_time": nullable(_SECONDS),
        "created_time": nullable(_SECONDS),
        "is_dir": boolean("Whether it is a directory.", default=False),
        "is_directory": boolean("The same as `is_dir`, unless that is given."),
    },
    "What a path is now; a delete needs the path alone.",
) | {"anyOf": [{"required": ["path"]}, {"required": ["file_path"]}]}

EVENT = document(
    {
        "event_type": string("insert and update are the same.", enum=list(EVENT_TYPES), default="update"),
        "index": integer(
            "Milliseconds since the epoch when it is a time.",
            minimum=MIN_INT64,
            maximum=MAX_INT64,
            default=-1,
        ),
        "rows": array(
            {"anyOf": [shared("Row"), array({}, "The values of the event's `fields`, in their order.")]},
            "Objects, arrays or both.",
            default=[],
        ),
        "fields": nullable(
            array(string(), "Names the values of rows that are arrays, `path` or `file_path` among them.")
        ),
        "event_schema": nullable(string("Not looked at.")),
        "table": nullable(string("Not looked at.")),
    }
)

BATCH = document(
    {
        "session_id": string("The session that pushes."),
        "source_type": string("An anomaly has no events.", enum=list(SOURCE_TYPES)),
        "events": array(shared("Event"), "Applied in order, all of them or none."),
        "is_snapshot_end": boolean("What the snapshot did not carry goes.", default=False),
    },
    required=("session_id", "source_type", "events"),
)

SESSION = document(
    {
        "task_id": string("What the agent works on; the same after its restart."),
        "client_info": nullable(document({}, "Anything about the agent.")),
    },
    required=("task_id",),
)

ANOMALY = document(
    {
        "session_id": string("The authoritative session."),
        "reason": nullable(string("For people.")),
        "detected_at": nullable(number("Seconds since the epoch.")),
        "differences": nullable(
            array(
                document(
                    {"path": PATH.schema, "kind": string(enum=list(KINDS)), "observed": {}},
                    required=("path", "kind"),
                ),
                "What the agent found, as far as it knows.",
            )
        ),
    },
    required=("session_id",),
)

# Of an answer, by their names in /openapi.json.
SHARED: dict[str, Schema] = {
    "Error": {
        "type": "object",
        "properties": {
            "detail": string("One sentence for a person."),
            "code": string("Stable."),
            "pointer": string("invalid_field: a JSON pointer; `/name` for a parameter or header."),
            "state": string("not_ready, journal_damaged: the datastore's state.", enum=list(STATES)),
            "queue": count("not_ready, journal_damaged: changes waiting."),
            "inflight": count("not_ready, journal_damaged: changes being applied."),
            "limit": count("body_too_large, header_too_large: bytes."),
            "ratio": count("compression_ratio: bytes out per compressed byte."),
            "nodes": {
                "type": ["integer", "null"],
                "description": "answer_too_large: nodes the answer would have; null: not counted.",
            },
            "bytes": {
                "type": ["integer", "null"],
                "description": "answer_too_large: bytes the answer would have; null: not counted.",
            },
            "cursor": string("answer_too_large: with a `limit`, the first of its pages."),
            "revision": count("revision_not_reached: the present one."),
            "request_id": string("5xx: what the server's log calls the request."),
        },
        "required": ["detail", "code"],
        "additionalProperties": False,
    },
    "Node": record(_NODE, "A node without its children.", optional=("raw_name",)),
    "TreeNode": record(
        {
            **_NODE,
            "children": {
                "description": "Name to node; a list of the direct children with recursive=false.",
                "oneOf": [
                    {"type": "object", "additionalProperties": shared("TreeNode")},
                    array(shared("TreeNode")),
                ],
            },
        },
        "A node with its children, and with those keys alone that `fields` or `only_path` leave.",
        optional=(*_NODE, "children"),
    ),
    "Batch": BATCH,
    "Event": EVENT,
    "Row": ROW,
}
