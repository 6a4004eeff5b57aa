"""What watches the server and its datastores: health, the status of a datastore, metrics."""

from __future__ import annotations

from fusion.api.description.operation import JSON, OPENMETRICS, TEXT_PLAIN, Answer, Operation, ok
from fusion.api.description.schemas import (
    STATES,
    array,
    boolean,
    count,
    integer,
    nullable,
    number,
    record,
    string,
)
from fusion.api.parameters import TEXT, Parameter, Parameters, Schema
from fusion.settings import DURABILITIES, SCOPES

_STATE = string(enum=list(STATES))
_REASON = nullable(string("Why views are not shown; null when they are."))
_PROBLEM = nullable(string("Why changes are not taken, or not kept as the settings say."))
_PROGRESS = nullable(
    record(
        {
            "phase": string(enum=["recovery", "snapshot"]),
            "done": count("Records replayed, or rows of the snapshot."),
            "total": nullable(count("Null: nobody knows before the end.")),
        },
        "Of what is going on.",
    )
)
_DURABILITY = string(enum=list(DURABILITIES))
_EPOCH = "Seconds since the epoch."

_HEALTH: Schema = record(
    {
        "status": string(enum=["ok", "unavailable"]),
        "datastores": {
            "type": "object",
            "additionalProperties": record(
                {
                    "ok": boolean("Changes are taken, and kept as the settings say."),
                    "state": _STATE,
                    "reason": _REASON,
                    "problem": _PROBLEM,
                    "progress": _PROGRESS,
                    "durability": _DURABILITY,
                    "queue": count("Changes waiting."),
                    "inflight": count("Changes being applied."),
                    "recovery": nullable(
                        record({"replayed": count("Records."), "records": count()}, "While recovering.")
                    ),
                    "journal": nullable(
                        record(
                            {
                                "last_record": integer(),
                                "last_checkpoint": integer("The last record in it."),
                                "checkpoint_running": boolean(),
                                "error": nullable(string()),
                                "checkpoint_error": nullable(string()),
                            },
                            "None without one.",
                        )
                    ),
                }
            ),
        },
    }
)

_STATUS: Schema = record(
    {
        "version": string("Of the server."),
        "time": number(_EPOCH),
        "started": number(f"When the server was started. {_EPOCH}"),
        "datastore": string("Its name."),
        "scopes": array(string(enum=list(SCOPES)), "Those of the key."),
        "state": _STATE,
        "reason": _REASON,
        "ready": boolean("Views are shown."),
        "problem": _PROBLEM,
        "progress": _PROGRESS,
        "durability": _DURABILITY,
        "breaker": record({"tripped": boolean(), "reason": nullable(string())}, "The circuit breaker."),
        "revision": count("How many changes the tree has seen."),
        "nodes": count("The root among them."),
        "files": nullable(count("Null: views are not shown.")),
        "directories": nullable(count("Null: views are not shown.")),
        "bytes": nullable(integer("The sum of the files' sizes. Null: views are not shown.")),
        "bytes_per_node": number("Memory of the index by its nodes."),
        "totals": record(
            {
                "rows": count(),
                "batches": count(),
                "body_bytes": count("Of their bodies, not compressed."),
            },
            "Pushed and applied since the server was started.",
        ),
        "queue": record(
            {"batches": count("Changes waiting."), "bytes": count("Of those waiting or being applied.")}
        ),
        "inflight": count("Changes being applied."),
        "last_event_latency_ms": nullable(number("Null: no event with a time has come yet.")),
        "sessions": array(
            record(
                {
                    "task_id": string(),
                    "client_ip": string(),
                    "created_at": number(_EPOCH),
                    "last_activity": number(_EPOCH),
                    "authoritative": boolean("Snapshots are its to send."),
                    "session_timeout_seconds": count(),
                }
            ),
            "The active ones, in order of creation.",
        ),
    }
)

LIVE = Operation(
    "live",
    "Server",
    ("GET",),
    "/health/live",
    "Whether the server runs.",
    (ok("It does.", record({"status": string(enum=["ok"])})),),
)

READY = Operation(
    "ready",
    "Server",
    ("GET",),
    "/health/ready",
    "What each datastore is about; 503 while one does not take changes or cannot keep them.",
    (ok("All of them work.", _HEALTH), Answer(503, "Not all of them work.", {JSON: _HEALTH})),
)

STATUS = Operation(
    "datastore_status",
    "Server",
    ("GET",),
    "/status",
    "What the key's datastore is about: its state and why, what comes in, who feeds it.",
    (ok("As it is now, whatever the state.", _STATUS),),
    scope="read",
    description="Cheap enough to be asked each second; rates follow from two answers.",
)

METRICS = Operation(
    "metrics",
    "Server",
    ("GET",),
    "/metrics",
    "Metrics for Prometheus.",
    (Answer(200, "All of them, now.", {TEXT_PLAIN: {"type": "string"}, OPENMETRICS: {"type": "string"}}),),
    description='With `metrics = "key"` in the server\'s settings it needs a key of the scope read or admin,'
    ' and shows its datastore alone; with "off" there is no such route.',
    headers=Parameters(
        Parameter("Accept", TEXT, description="application/openmetrics-text, or Prometheus's text format.")
    ),
    errors=("unauthorized", "forbidden", "route_not_found"),
)

STATUS_OPERATIONS = (STATUS, LIVE, READY, METRICS)
