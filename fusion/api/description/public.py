"""What needs no key: health, the greeting, this description and the pages."""

from __future__ import annotations

from functools import partial

from fusion.api.description.operation import HTML, JSON, Answer, Operation, ok
from fusion.api.description.schemas import STATES, boolean, count, integer, nullable, record, string
from fusion.api.parameters import Schema

_operation = partial(Operation, group="Server", methods=("GET",))

_HEALTH: Schema = record(
    {
        "status": string(enum=["ok", "unavailable"]),
        "datastores": {
            "type": "object",
            "additionalProperties": record(
                {
                    "ok": boolean("Changes are taken, and kept as the settings say."),
                    "state": string(enum=list(STATES)),
                    "problem": nullable(string("Why it is not ok.")),
                    "durability": string(enum=["fsync", "os", "none"]),
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

LIVE = _operation(
    "live",
    path="/health/live",
    summary="Whether the server runs.",
    answers=(ok("It does.", record({"status": string(enum=["ok"])})),),
)

READY = _operation(
    "ready",
    path="/health/ready",
    summary="What each datastore is about; 503 while one does not take changes or cannot keep them.",
    answers=(ok("All of them work.", _HEALTH), Answer(503, "Not all of them work.", {JSON: _HEALTH})),
)

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

CONSOLE = _operation(
    "console",
    path="/view",
    summary="The web console.",
    answers=(Answer(200, "A page.", {HTML: {"type": "string"}}),),
)

PUBLIC_OPERATIONS = (LIVE, READY, GREETING, OPENAPI, DOCS, CONSOLE)
