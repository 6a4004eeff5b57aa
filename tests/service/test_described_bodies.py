"""Bodies: the schemas of the description say what the store's own checks take, and nothing else."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given, settings
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

JUNK = st.sampled_from([True, 0, -1, 2**63, -(2**63) - 1, 0.5, "text", "\0", [], ["path"], {}, {"path": 1}])
# To a schema 1.0 is an integer.
NUMBERS = st.floats(-1e300, 1e300).filter(lambda number: not number.is_integer()) | st.integers(-9, 9)
TEXTS = st.sampled_from(["", "/", "/a", "b/../c", "path", "size", "\u00e4"])


@st.composite
def allowed(draw: st.DrawFn, schema: Schema) -> Any:
    """A document that a schema allows."""
    if "$ref" in schema:
        return draw(allowed(DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]))
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


@st.composite
def near(draw: st.DrawFn, schema: Schema) -> Any:
    """The same, mostly with something missing or wrong somewhere."""
    document = {"": draw(allowed(schema))}
    places: list[tuple[Any, Any]] = [(document, "")]
    for container, key in places:
        value = container[key]
        if isinstance(value, dict):
            places += [(value, name) for name in value]
        elif isinstance(value, list):
            places += [(value, number) for number in range(len(value))]
    container, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["wrong", "wrong", "null", "missing", "right"])):
        case "wrong":
            container[key] = draw(JUNK)
        case "null":
            container[key] = None
        case "missing" if key != "":
            del container[key]
    return document[""]


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


@pytest.mark.parametrize("path", BODIES)
def test_a_body_is_taken_when_its_schema_allows_it(store: Store, path: str) -> None:
    validator = Draft202012Validator(BODIES[path] | {"components": DESCRIPTION["components"]})
    seen = {True: 0, False: 0}

    @given(near(BODIES[path]))
    @settings(max_examples=800, database=None, derandomize=True, deadline=None)
    def every(body: Any) -> None:
        # The session is unknown, which is found out when nothing is wrong with the body.
        if isinstance(body, dict) and isinstance(body.get("session_id"), str):
            body["session_id"] = "nobody's"
        answer = store.http.post(path, content=json.dumps(body))
        taken = answer.status_code in (200, 404)
        if not taken:
            assert answer.status_code == 422, answer.text
            refusal = answer.json()
            assume(not BEYOND.match(refusal["detail"]))
            assume(not VALUE_OF_AN_ARRAY_ROW.fullmatch(refusal["pointer"]))
        assert validator.is_valid(looked_at(body)) == taken, answer.text
        seen[taken] += 1

    every()
    assert min(seen.values()) > 20  # both were tried
