"""The routes of agents: sessions, events, consistency. All need the scope `ingest`."""

from __future__ import annotations

from functools import partial

from fusion.api.description.operation import OF_A_DATASTORE, Answer, Operation, ok
from fusion.api.description.schemas import (
    ANOMALY,
    SESSION,
    array,
    boolean,
    count,
    integer,
    nullable,
    number,
    record,
    shared,
    string,
)
from fusion.api.description.views import REVISION
from fusion.api.parameters import TEXT, Parameter, Parameters

_SESSIONS = "/ingestor-api/v1/sessions/"
_EVENTS = "/ingestor-api/v1/events/"
_CONSISTENCY = "/ingestor-api/v1/consistency/"

_operation = partial(Operation, scope="ingest")
_SESSION_HEADER = Parameters(Parameter("session-id", TEXT, description="The session.", required=True))
_DONE = record({"status": string(enum=["ok"]), "message": string()})

OPEN_SESSION = _operation(
    "open_session",
    "Sessions",
    ("POST",),
    _SESSIONS,
    "Open a session.",
    (
        ok(
            "The session.",
            record(
                {
                    "session_id": string(format="uuid"),
                    "session_timeout_seconds": count(),
                    "suggested_heartbeat_interval_seconds": count(),
                }
            ),
        ),
    ),
    description="The newest session wins: it makes the one before it obsolete.",
    body=SESSION,
    errors=(*OF_A_DATASTORE, "disk_full"),
)

LIST_SESSIONS = _operation(
    "list_sessions",
    "Sessions",
    ("GET",),
    _SESSIONS,
    "List the active sessions.",
    (
        ok(
            "The sessions of the key's datastore.",
            record(
                {
                    "datastore_id": string("The datastore's name."),
                    "active_sessions": array(
                        record(
                            {
                                "session_id": string(format="uuid"),
                                "task_id": string(),
                                "client_ip": string(),
                                "last_activity": number("Seconds since the epoch."),
                                "created_at": number("Seconds since the epoch."),
                                "allow_concurrent_push": boolean(),
                                "session_timeout_seconds": count(),
                                "authoritative": boolean("Snapshots are its to send."),
                            }
                        )
                    ),
                    "count": count(),
                }
            ),
        ),
    ),
    errors=OF_A_DATASTORE,
)

END_SESSION = _operation(
    "end_session",
    "Sessions",
    ("DELETE",),
    _SESSIONS,
    "End a session.",
    (ok("Ended; an obsolete one was before.", _DONE),),
    headers=_SESSION_HEADER,
    errors=("session_not_found", "invalid_field", *OF_A_DATASTORE, "disk_full"),
)

HEARTBEAT = _operation(
    "heartbeat",
    "Sessions",
    ("POST",),
    f"{_SESSIONS}heartbeat",
    "Keep a session alive.",
    (ok("It lives on.", _DONE),),
    headers=_SESSION_HEADER,
    errors=("session_not_found", "session_obsolete", "invalid_field", *OF_A_DATASTORE),
)

INGEST_STATS = _operation(
    "ingest_stats",
    "Events",
    ("GET",),
    f"{_EVENTS}stats",
    "What comes in.",
    (
        ok(
            "Sources and metrics of the key's datastore.",
            record(
                {
                    "sources": array(record({"id": string("The task."), "type": string()})),
                    "metrics": record(
                        {
                            "total_volume": count("Files."),
                            "latency_ms": count(),
                            "oldest_directory": record({"path": string(), "age_days": count()}),
                        }
                    ),
                }
            ),
        ),
    ),
    errors=OF_A_DATASTORE,
)

POSITION = _operation(
    "position",
    "Events",
    ("GET",),
    f"{_EVENTS}position",
    "The highest index accepted for the session's task.",
    (ok("The position.", record({"index": integer("It never decreases.", minimum=1)})),),
    query=Parameters(Parameter("session_id", TEXT, description="The session.", required=True)),
    errors=("session_not_found", "position_not_found", "session_obsolete", "invalid_field", *OF_A_DATASTORE),
)

PUSH = _operation(
    "push",
    "Events",
    ("POST",),
    _EVENTS,
    "Push a batch.",
    (Answer(204, "Kept and applied.", headers=REVISION),),
    description="Once answered, every row is kept and applied, and any later view shows it.",
    body=shared("Batch"),
    errors=("session_not_found", "session_obsolete", *OF_A_DATASTORE, "disk_full"),
)

ANOMALY_SIGNAL = _operation(
    "anomaly",
    "Consistency",
    ("POST",),
    f"{_CONSISTENCY}anomaly",
    "Say that the view may be wrong.",
    (
        ok(
            "The breaker is open.",
            record(
                {
                    "status": string(enum=["tripped"]),
                    "resync_required": boolean(),
                    "tripped_at": number("Seconds since the epoch."),
                }
            ),
        ),
    ),
    description="Views answer 503 until a snapshot that began later has ended.",
    body=ANOMALY,
    errors=("session_not_found", "session_obsolete", *OF_A_DATASTORE, "disk_full"),
)

CONSISTENCY_STATUS = _operation(
    "status",
    "Consistency",
    ("GET",),
    f"{_CONSISTENCY}status",
    "Whether the breaker is open.",
    (
        ok(
            "The breaker; all but `tripped` is null while it is closed.",
            record(
                {
                    "tripped": boolean(),
                    "tripped_at": nullable(number("Seconds since the epoch.")),
                    "reason": nullable(string()),
                    "session_id": nullable(string()),
                }
            ),
        ),
    ),
    errors=OF_A_DATASTORE,
)

SESSION_OPERATIONS = (OPEN_SESSION, LIST_SESSIONS, END_SESSION, HEARTBEAT)
EVENT_OPERATIONS = (INGEST_STATS, POSITION, PUSH)
CONSISTENCY_OPERATIONS = (ANOMALY_SIGNAL, CONSISTENCY_STATUS)
