"""The API's description, as /openapi.json serves it.

The order of the paths is part of the contract: a public client takes the first path that contains "session",
"events", "heartbeat" or "position".
"""

from __future__ import annotations

from typing import Any

VERSION = "1.0"

Schema = dict[str, Any]


def _string(description: str = "", **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str = "", **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def _number(description: str = "", **more: Any) -> Schema:
    return {"type": "number", "description": description, **more}


def _boolean(description: str = "", **more: Any) -> Schema:
    return {"type": "boolean", "description": description, **more}


def _array(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items, "description": description}


def _object(
    properties: dict[str, Schema], *, required: tuple[str, ...] = (), description: str = ""
) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def _parameter(name: str, schema: Schema, *, place: str = "query", required: bool = False) -> dict[str, Any]:
    described = dict(schema)
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": described.pop("description", ""),
        "schema": described,
    }


def _json(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ERROR = {"$ref": "#/components/schemas/Error"}
_ERRORS = {
    "400": "The body is not JSON, or not what its Content-Encoding says.",
    "401": "The API key is missing or unknown.",
    "403": "The API key lacks the scope.",
    "404": "There is no such thing.",
    "413": "The body is over the limit, or is compressed too much.",
    "415": "The body has another Content-Encoding than those of the Accept-Encoding header.",
    "419": "The session is obsolete: a newer one took its place.",
    "422": "A field or parameter is missing or wrong; `pointer` names it.",
    "503": "Not now: the Retry-After header says when to try again.",
    "507": "The disk is full: the Retry-After header says when to try again.",
}

_CONTENT_ENCODING = _parameter(
    "Content-Encoding",
    _string("How the body is compressed; case is ignored.", enum=["gzip", "x-gzip", "zstd", "identity"]),
    place="header",
)


def _operation(
    summary: str,
    *,
    scope: str | None = None,
    description: str = "",
    parameters: tuple[dict[str, Any], ...] = (),
    body: Schema | None = None,
    answer: dict[str, Any],
    status: str = "200",
    errors: tuple[str, ...] = (),
    others: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary}
    told = [description] if description else []
    if scope is None:
        operation["security"] = []
    else:
        told.append(f"Scope: {scope}.")
        errors = ("401", "403", *errors)
    if scope == "ingest":  # the journal may be still replayed, or damaged
        errors = ("503", *errors)
    if told:
        operation["description"] = " ".join(told)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        parameters = (*parameters, _CONTENT_ENCODING)
        errors = ("400", "413", "415", "422", *errors)
    if parameters:
        operation["parameters"] = list(parameters)
    operation["responses"] = {status: answer} | {
        error: _json(_ERRORS[error], _ERROR) for error in sorted(set(errors))
    }
    operation["responses"] |= others or {}
    return operation


_HEALTH = _object(
    {
        "status": _string(enum=["ok", "unavailable"]),
        "datastores": {
            "type": "object",
            "additionalProperties": _object(
                {
                    "ok": _boolean("Changes are taken, and kept as the settings say."),
                    "state": _string(
                        "empty, snapshot, draining, ready, stale, tripped, recovering or damaged."
                    ),
                    "problem": {"type": ["string", "null"], "description": "Why it is not ok."},
                    "durability": _string(enum=["fsync", "os", "none"]),
                    "queue": _integer("Changes waiting."),
                    "inflight": _integer("Changes being applied."),
                    "recovery": {
                        "type": ["object", "null"],
                        "description": "Records `replayed` of `records`.",
                    },
                    "journal": {
                        "type": ["object", "null"],
                        "description": "Its records, checkpoints, errors.",
                    },
                }
            ),
        },
    }
)
_SESSION_HEADER = _parameter("session-id", _string("The session."), place="header", required=True)
_OK = _json("Done.", _object({"status": _string(), "message": _string()}))
_NODE = {"$ref": "#/components/schemas/Node"}

_ROW = _object(
    {
        "path": _string("The path; `file_path` does as well."),
        "file_path": _string("The path, unless `path` is given."),
        "size": _integer("Bytes.", minimum=0, default=0),
        "modified_time": _number("Seconds since the epoch.", default=0),
        "created_time": _number("Seconds since the epoch.", default=0),
        "is_dir": _boolean("Whether it is a directory; `is_directory` does as well.", default=False),
        "is_directory": _boolean("The same as `is_dir`."),
    },
    description="A delete needs the path alone.",
)
_ARRAY_ROW = _array({}, "The values of the event's `fields`, one for each, in their order.")
_EVENT = _object(
    {
        "event_type": _string(
            "insert and update are the same.", enum=["insert", "update", "delete"], default="update"
        ),
        "index": _integer("Milliseconds since the epoch when it is a time.", default=-1),
        "rows": _array({"anyOf": [_ROW, _ARRAY_ROW]}, "Objects, arrays or both."),
        "fields": _array(_string(), "Names the values of rows that are arrays; not looked at without such."),
        "event_schema": _string("Not looked at."),
        "table": _string("Not looked at."),
    }
)
_BATCH = _object(
    {
        "session_id": _string("The session that pushes."),
        "source_type": _string("An anomaly has no events.", enum=["snapshot", "message", "anomaly"]),
        "events": _array(_EVENT, "Applied in order, all of them or none."),
        "is_snapshot_end": _boolean("What the snapshot did not carry goes.", default=False),
    },
    required=("session_id", "source_type", "events"),
)
_ANOMALY = _object(
    {
        "session_id": _string("The authoritative session."),
        "reason": _string("For people."),
        "detected_at": _number("Seconds since the epoch."),
        "differences": _array(
            _object(
                {"path": _string(), "kind": _string(enum=["missing", "stale", "extra"]), "observed": {}},
                required=("path", "kind"),
            ),
            "What the agent found, as far as it knows.",
        ),
    },
    required=("session_id",),
)
_ACTIVE_SESSION = _object(
    {
        "session_id": _string(),
        "task_id": _string(),
        "client_ip": _string(),
        "last_activity": _number("Seconds since the epoch."),
        "created_at": _number("Seconds since the epoch."),
        "allow_concurrent_push": _boolean(),
        "session_timeout_seconds": _integer(),
        "authoritative": _boolean(),
    }
)

_PATHS: dict[str, dict[str, Any]] = {
    "/ingestor-api/v1/sessions/": {
        "post": _operation(
            "Open a session.",
            scope="ingest",
            description="The newest session wins: it makes the one before it obsolete.",
            body=_object(
                {
                    "task_id": _string("What the agent works on; the same after its restart."),
                    "client_info": _object({}, description="Anything about the agent."),
                },
                required=("task_id",),
            ),
            answer=_json(
                "The session.",
                _object(
                    {
                        "session_id": _string(format="uuid"),
                        "session_timeout_seconds": _integer(),
                        "suggested_heartbeat_interval_seconds": _integer(),
                    }
                ),
            ),
        ),
        "get": _operation(
            "List the active sessions.",
            scope="ingest",
            answer=_json(
                "The sessions of the key's datastore.",
                _object(
                    {
                        "datastore_id": _string(),
                        "active_sessions": _array(_ACTIVE_SESSION),
                        "count": _integer(),
                    }
                ),
            ),
        ),
        "delete": _operation(
            "End a session.",
            scope="ingest",
            parameters=(_SESSION_HEADER,),
            answer=_OK,
            errors=("404", "422"),
        ),
    },
    "/ingestor-api/v1/sessions/heartbeat": {
        "post": _operation(
            "Keep a session alive.",
            scope="ingest",
            parameters=(_SESSION_HEADER,),
            answer=_OK,
            errors=("404", "419", "422"),
        ),
    },
    "/ingestor-api/v1/events/stats": {
        "get": _operation(
            "What comes in.",
            scope="ingest",
            answer=_json(
                "Sources and metrics of the key's datastore.",
                _object(
                    {
                        "sources": _array(_object({"id": _string(), "type": _string()})),
                        "metrics": _object(
                            {
                                "total_volume": _integer(),
                                "latency_ms": _number(),
                                "oldest_directory": _object({"path": _string(), "age_days": _number()}),
                            }
                        ),
                    }
                ),
            ),
        ),
    },
    "/ingestor-api/v1/events/position": {
        "get": _operation(
            "The highest index accepted for the session's task.",
            scope="ingest",
            parameters=(_parameter("session_id", _string("The session."), required=True),),
            answer=_json("The position.", _object({"index": _integer()})),
            errors=("404", "419", "422"),
        ),
    },
    "/ingestor-api/v1/events/": {
        "post": _operation(
            "Push a batch.",
            scope="ingest",
            description="Once answered, every row is kept and applied, and any later view shows it.",
            body=_BATCH,
            status="204",
            answer={"description": "Kept and applied."},
            errors=("404", "419", "507"),
        ),
    },
    "/ingestor-api/v1/consistency/anomaly": {
        "post": _operation(
            "Say that the view may be wrong.",
            scope="ingest",
            description="Views answer 503 until a snapshot that began later has ended.",
            body=_ANOMALY,
            answer=_json(
                "The breaker is open.",
                _object({"status": _string(), "resync_required": _boolean(), "tripped_at": _number()}),
            ),
            errors=("404", "419"),
        ),
    },
    "/ingestor-api/v1/consistency/status": {
        "get": _operation(
            "Whether the breaker is open.",
            scope="ingest",
            answer=_json(
                "The breaker; all but `tripped` is null while it is closed.",
                _object(
                    {
                        "tripped": _boolean(),
                        "tripped_at": _number(),
                        "reason": _string(),
                        "session_id": _string(),
                    }
                ),
            ),
        ),
    },
    "/views/fs/tree": {
        "get": _operation(
            "A tree, or a part of it.",
            scope="read",
            parameters=(
                _parameter("path", _string("Where to start.", default="/")),
                _parameter(
                    "recursive", _boolean("False: `children` is a list of the direct children.", default=True)
                ),
                _parameter(
                    "max_depth", _integer("Levels below `path`; wins over recursive=false.", minimum=0)
                ),
                _parameter("only_path", _boolean("Leave out size and times.", default=False)),
            ),
            answer=_json("The node at `path` with its children.", _NODE),
            errors=("404", "422", "503"),
        ),
    },
    "/views/fs/search": {
        "get": _operation(
            "Files by name.",
            scope="read",
            parameters=(
                _parameter(
                    "pattern",
                    _string(
                        "Part of a name, or with `*`, `?` or `[` a glob over all of it; case is ignored."
                    ),
                    required=True,
                ),
            ),
            answer=_json("The files.", _array(_NODE)),
            errors=("422", "503"),
        ),
    },
    "/views/fs/stats": {
        "get": _operation(
            "How much there is.",
            scope="read",
            answer=_json(
                "Counts and ages.",
                _object(
                    {
                        "total_files": _integer(),
                        "total_directories": _integer("The root counts."),
                        "last_event_latency_ms": _number(),
                        "oldest_directory": _object({"path": _string(), "timestamp": _number()}),
                    }
                ),
            ),
            errors=("503",),
        ),
    },
    "/views/fs/reset": {
        "delete": _operation(
            "Empty the tree.",
            scope="admin",
            status="204",
            answer={"description": "The tree is empty."},
            errors=("503",),
        ),
    },
    "/health/live": {
        "get": _operation(
            "Whether the server runs.", answer=_json("It does.", _object({"status": _string()}))
        ),
    },
    "/health/ready": {
        "get": _operation(
            "What each datastore is about; 503 while one does not take changes or cannot keep them.",
            answer=_json("All of them work.", _HEALTH),
            others={"503": _json("Not all of them work.", _HEALTH)},
        ),
    },
    "/": {
        "get": _operation(
            "A greeting.", answer=_json("Hello.", _object({"name": _string(), "message": _string()}))
        ),
    },
    "/openapi.json": {"get": _operation("This description.", answer=_json("OpenAPI 3.1.", _object({})))},
    "/docs": {"get": _operation("This description, for people.", answer={"description": "A page."})},
    "/view": {"get": _operation("The web console.", answer={"description": "A page."})},
}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Fusion",
        "version": VERSION,
        "description": "Metadata of file trees: agents push it, views answer queries about it. "
        "Send an API key in the X-API-Key header.",
    },
    "security": [{"api_key": []}],
    "paths": _PATHS,
    "components": {
        "securitySchemes": {"api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        "schemas": {
            "Error": _object(
                {
                    "detail": _string("One sentence."),
                    "code": _string("Stable."),
                    "pointer": _string("A JSON pointer to the field, with 422."),
                    "state": _string("The datastore's state, with 503."),
                    "limit": _integer("Bytes, with 413."),
                    "ratio": _integer("Bytes out per compressed byte, with 413."),
                },
                required=("detail", "code"),
            ),
            "Node": _object(
                {
                    "name": _string(),
                    "content_type": _string(enum=["directory", "file"]),
                    "path": _string(),
                    "size": _integer("Bytes."),
                    "modified_time": _number("Seconds since the epoch."),
                    "created_time": _number("Seconds since the epoch."),
                    "raw_name": _string("Base64 of a name that is not UTF-8."),
                    "children": {
                        "description": "Name to node, or a list with recursive=false.",
                        "oneOf": [
                            {"type": "object", "additionalProperties": _NODE},
                            {"type": "array", "items": _NODE},
                        ],
                    },
                },
                required=("name", "content_type", "path"),
            ),
        },
    },
}
