"""Bodies: the schemas of the description say what the store's own checks take, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from service import Store

from fusion.api.openapi import DESCRIPTION

Schema = dict[str, Any]

# What a schema cannot say, or not in few words.
BEYOND = re.compile(
    "the root is a directory, not a file|an anomaly signal has no events"
    "|fields is missing: it names|fields must name path|the row has [0-9]+ values"
)
VALUE_OF_AN_ARRAY_ROW = re.compile("/events/[0-9]+/rows/[0-9]+/[0-9]+")

JUNK = [None, True, 0, -1, 2**63, -(2**63) - 1, 0.5, "text", "a\0", [], ["path"], {}, {"path": 1}]
# To a schema 1.0 is an integer.
NUMBERS = st.floats(-1e300, 1e300).filter(lambda number: not number.is_integer()) | st.integers(-9, 9)
TEXTS = st.sampled_from(["/", "/a", "b/../c", "path", "size", "\u00e4"])


def resolved(schema: Schema) -> Schema:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DESCRIPTION["components"]["schemas"][name] if name else schema


@st.composite
def allowed(draw: st.DrawFn, schema: Schema) -> Any:
    """A document that a schema allows."""
    schema = resolved(schema)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "type" not in schema:
        return draw(allowed(draw(st.sampled_from(schema.get("anyOf", [{"enum": [1, "x", None]}])))))
    kind = schema["type"]
    if isinstance(kind, list):
        kind = draw(st.sampled_from(kind))
    match kind:
        case "null":
            return None
        case "boolean":
            return draw(st.booleans())
        case "integer":
            return draw(st.integers(schema.get("minimum", -9), schema.get("maximum", 9)))
        case "number":
            return draw(NUMBERS)
        case "string":
            return draw(TEXTS)
        case "array":
            return [draw(allowed(schema["items"])) for _ in range(draw(st.integers(0, 2)))]
    required = {"required": schema.get("required", [])}
    must = draw(st.sampled_from(schema.get("anyOf", [required])))["required"]
    return {
        name: draw(allowed(member))
        for name, member in schema["properties"].items()
        if name in must or draw(st.booleans())
    }


# A document of each kind with everything in it.
FULL: dict[str, Any] = {
    "/ingestor-api/v1/sessions/": {"task_id": "t", "client_info": {"version": 1}},
    "/ingestor-api/v1/events/": {
        "session_id": "s",
        "source_type": "message",
        "is_snapshot_end": False,
        "events": [
            {
                "event_type": "insert",
                "index": 5,
                "event_schema": "/data",
                "table": "files",
                "fields": ["path", "size"],
                "rows": [
                    {"path": "/a", "size": 1, "modified_time": 1.5, "created_time": 1.5, "is_dir": False},
                    {"file_path": "/b", "is_directory": True},
                    ["/c", 3],
                ],
            },
            {"event_type": "delete", "rows": [{"path": "/a"}]},
        ],
    },
    "/ingestor-api/v1/consistency/anomaly": {
        "session_id": "s",
        "reason": "lost",
        "detected_at": 1.5,
        "differences": [{"path": "/a", "kind": "stale", "observed": None}],
    },
}


def spoilt(document: Any) -> Iterator[Any]:
    """The document with each of its parts missing, and each in turn something else."""
    yield from JUNK
    if not isinstance(document, dict | list):
        return
    for key in document if isinstance(document, dict) else range(len(document)):
        without = document.copy()
        del without[key]
        yield without
        for member in spoilt(document[key]):
            changed = document.copy()
            changed[key] = member
            yield changed


def looked_at(body: Any) -> Any:
    """A batch without what is not looked at: the description is stricter than the store there."""
    body = deepcopy(body)
    if not isinstance(body, dict):
        return body
    if body.get("source_type") == "anomaly":
        body.setdefault("events", [])
    events = body.get("events")
    for event in events if isinstance(events, list) else ():
        rows = event.get("rows") if isinstance(event, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                for first, second in (("path", "file_path"), ("is_dir", "is_directory")):
                    if first in row:
                        row.pop(second, None)
                if event.get("event_type") == "delete":
                    for name in set(row) - {"path", "file_path"}:
                        del row[name]
    return body


BODIES = {
    path: operation["post"]["requestBody"]["content"]["application/json"]["schema"]
    for path, operation in DESCRIPTION["paths"].items()
    if path.startswith("/ingestor-api/") and "requestBody" in operation.get("post", {})
}
VALIDATORS = {
    path: Draft202012Validator(schema | {"components": DESCRIPTION["components"]})
    for path, schema in BODIES.items()
}

each = pytest.mark.parametrize("path", BODIES)


def is_taken(store: Store, path: str, body: Any) -> bool:
    """Whether a body is found right: by the store as by the schema, or the test fails."""
    # The session is unknown, which is found out when nothing is wrong with the body.
    if isinstance(body, dict) and isinstance(body.get("session_id"), str):
        body = body | {"session_id": "nobody's"}
    answer = store.http.post(path, content=json.dumps(body))
    taken = answer.status_code in (200, 404)
    if not taken:
        assert answer.status_code == 422, answer.text
        refusal = answer.json()
        if BEYOND.match(refusal["detail"]) or VALUE_OF_AN_ARRAY_ROW.fullmatch(refusal["pointer"]):
            return False
    assert VALIDATORS[path].is_valid(looked_at(body)) == taken, (body, answer.text)
    return taken


@each
def test_a_body_that_the_schema_allows_is_taken(store: Store, path: str) -> None:
    taken = []

    @given(allowed(BODIES[path]))
    @settings(max_examples=150, database=None, derandomize=True, deadline=None)
    def every(body: Any) -> None:
        taken.append(is_taken(store, path, body))

    every()
    assert sum(taken) > 9


@each
def test_a_body_with_anything_wrong_in_it_is_refused(store: Store, path: str) -> None:
    assert is_taken(store, path, FULL[path])
    taken = [is_taken(store, path, body) for body in spoilt(FULL[path])]
    assert not all(taken)


def test_the_full_documents_have_every_field() -> None:
    for path, body in FULL.items():
        assert set(body) == set(resolved(BODIES[path])["properties"])
    event, row = (DESCRIPTION["components"]["schemas"][name]["properties"] for name in ("Event", "Row"))
    events = FULL["/ingestor-api/v1/events/"]["events"]
    assert set(events[0]) == set(event)
    assert set(events[0]["rows"][0]) | set(events[0]["rows"][1]) == set(row)
