"""Parameters: how they are read, and that their schemas say what is taken."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fusion.api.openapi import OPERATIONS
from fusion.api.parameters import (
    BYTES,
    CURSOR,
    DEPTH,
    FIELDS,
    FLAG,
    NODE_FIELDS,
    NUMBER,
    PATH,
    TEXT,
    Choice,
    Integer,
    Kind,
    Parameter,
    Parameters,
)
from fusion.errors import InvalidField
from fusion.events import MAX_INT64, normalise_path

REVISION = Integer(0, MAX_INT64)
LIMIT = Integer(1, 10_000)
FORMAT = Choice("json", "ndjson")
KINDS = {
    "path": PATH,
    "bytes": BYTES,
    "text": TEXT,
    "cursor": CURSOR,
    "flag": FLAG,
    "depth": DEPTH,
    "number": NUMBER,
    "fields": FIELDS,
    "revision": REVISION,
    "limit": LIMIT,
    "format": FORMAT,
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

REFUSED = object()


def from_query(kind: Kind, value: bytes | str) -> Any:
    """What the kind makes of a value in a query, or REFUSED."""
    return result(lambda: Parameters(Parameter("p", kind)).from_query(f"p={quote(value, safe='')}"))


def from_document(kind: Kind, value: Any) -> Any:
    return result(lambda: Parameters(Parameter("p", kind)).from_document({"p": value}))


def result(read: Any) -> Any:
    try:
        return read()["p"]
    except InvalidField as error:
        assert error.pointer == "/p"
        return REFUSED


# Queries

parts = st.sampled_from(
    ["a", "b", "=", "&", "+", "%", "%2F", "%2f", "2F", "%2", "%25", "%00", "%ff", "/", ".."]
)


@given(st.lists(parts, max_size=12).map("".join))
def test_a_query_is_split_and_decoded_like_by_the_standard_library(text: str) -> None:
    decoded: dict[str, bytes] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        decoded[unquote_plus(name)] = unquote_to_bytes(value.replace("+", " "))
    for name in ("a", "b", "a+b", "ab"):
        wanted = decoded.get(name) or REFUSED
        parameters = Parameters(Parameter(name, BYTES, required=True))
        try:
            assert parameters.from_query(text) == {name: wanted}
        except InvalidField:
            assert wanted is REFUSED


@given(st.binary(max_size=8) | st.lists(st.sampled_from([b"/", b".", b"a", b"\0", b"\xff"])).map(b"".join))
def test_paths_are_normalised(path: bytes) -> None:
    try:
        wanted: Any = normalise_path(path)
    except InvalidField:
        wanted = REFUSED
    assert from_query(PATH, path) == wanted
    assert from_document(PATH, path.decode("utf-8", "surrogateescape")) == wanted


def test_paths_have_a_longest() -> None:
    longest = b"/" + b"a" * 65_534
    assert from_query(PATH, longest) == longest
    assert from_query(PATH, longest + b"a") is REFUSED


def test_defaults_are_filled_in_and_are_not_shared() -> None:
    parameters = Parameters(
        Parameter("path", PATH, b"/"), Parameter("top", LIMIT, 20), Parameter("none", TEXT)
    )
    first = parameters.from_query("")
    assert first == {"path": b"/", "top": 20, "none": None}
    first["top"] = 0
    assert parameters.from_query("unknown=1") == parameters.from_document({"unknown": 1, "top": None})
    assert parameters.from_query("top=7") == parameters.from_document({"top": 7}) == first | {"top": 7}


def test_the_last_of_a_repeated_parameter_counts() -> None:
    parameters = Parameters(Parameter("limit", LIMIT))
    assert parameters.from_query("limit=x&limit=7") == {"limit": 7}
    with pytest.raises(InvalidField):
        parameters.from_query("limit=7&limit=x")


@pytest.mark.parametrize("text", ["", "p", "p=", "q=1", "p=1&p="])
def test_what_is_required_must_be_there_and_not_empty(text: str) -> None:
    for kind in (BYTES, TEXT):
        with pytest.raises(InvalidField, match="missing or empty") as error:
            Parameters(Parameter("p", kind, required=True)).from_query(text)
        assert error.value.pointer == "/p"


@pytest.mark.parametrize("document", [{}, {"p": None}, {"p": ""}])
def test_the_same_in_a_document(document: dict[str, Any]) -> None:
    for kind in (BYTES, TEXT):
        with pytest.raises(InvalidField) as error:
            Parameters(Parameter("p", kind, required=True)).from_document(document)
        assert error.value.pointer == "/p"


def test_headers_are_taken_as_they_are() -> None:
    parameters = Parameters(Parameter("session-id", TEXT, required=True), Parameter("other", TEXT))
    assert parameters.from_headers({"session-id": "x"}) == {"session-id": "x", "other": None}
    with pytest.raises(InvalidField) as error:
        parameters.from_headers({"other": "x"})
    assert error.value.pointer == "/session-id"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FLAG, "true", True), (FLAG, "TRUE", True), (FLAG, "1", True), (FLAG, "yEs", True),
        (FLAG, "on", True),
        (FLAG, "false", False), (FLAG, "0", False), (FLAG, "No", False), (FLAG, "OFF", False),
        (FLAG, "", REFUSED), (FLAG, "2", REFUSED), (FLAG, " true", REFUSED),
        (DEPTH, "0", 0), (DEPTH, "007", 7), (DEPTH, "65534", 65_534), (DEPTH, "65536", 65_535),
        (DEPTH, "9" * 9_999, 65_535), (DEPTH, "0" * 9_999 + "1", 1),
        (DEPTH, "", REFUSED), (DEPTH, "-1", REFUSED), (DEPTH, "1.0", REFUSED), (DEPTH, "\u0661", REFUSED),
        (REVISION, "0", 0), (REVISION, str(MAX_INT64), MAX_INT64), (REVISION, str(MAX_INT64 + 1), REFUSED),
        (REVISION, "0" * 9_999 + "9", 9), (REVISION, "9" * 9_999, REFUSED), (REVISION, "-0", REFUSED),
        (LIMIT, "1", 1), (LIMIT, "10000", 10_000), (LIMIT, "0", REFUSED), (LIMIT, "10001", REFUSED),
        (NUMBER, "1", 1.0), (NUMBER, "-1.5e3", -1500.0), (NUMBER, ".5", 0.5), (NUMBER, "+2.", 2.0),
        (NUMBER, "nan", REFUSED), (NUMBER, "inf", REFUSED), (NUMBER, "1e999", REFUSED),
        (NUMBER, "1_0", REFUSED),
        (NUMBER, " 1", REFUSED), (NUMBER, "", REFUSED), (NUMBER, ".", REFUSED),
        (NUMBER, "9" * 9_999, REFUSED),
        (FORMAT, "json", "json"), (FORMAT, "JSON", REFUSED), (FORMAT, "", REFUSED),
        (FIELDS, "path", frozenset({"path"})), (FIELDS, "size,path,size", frozenset({"path", "size"})),
        (FIELDS, ",".join(NODE_FIELDS), frozenset(NODE_FIELDS)),
        (FIELDS, "", REFUSED), (FIELDS, "path,", REFUSED), (FIELDS, "children", REFUSED),
        (CURSOR, "x-1", "x-1"), (CURSOR, "", REFUSED), (TEXT, b"\xff", "\ufffd"), (BYTES, b"\xff", b"\xff"),
    ],
)  # fmt: skip
def test_what_a_query_may_say(kind: Kind, text: str, value: Any) -> None:
    assert from_query(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (FLAG, True, True), (FLAG, False, False), (FLAG, "true", REFUSED), (FLAG, 1, REFUSED),
        (DEPTH, 3, 3), (DEPTH, 10**30, 65_535), (DEPTH, "3", REFUSED), (DEPTH, True, REFUSED),
        (DEPTH, -1, REFUSED),
        (LIMIT, True, REFUSED), (LIMIT, 1, 1), (LIMIT, 10_001, REFUSED), (REVISION, MAX_INT64, MAX_INT64),
        (NUMBER, 1, 1.0), (NUMBER, -0.5, -0.5), (NUMBER, False, REFUSED), (NUMBER, "1", REFUSED),
        (NUMBER, 10**400, REFUSED), (FORMAT, "ndjson", "ndjson"), (FORMAT, 1, REFUSED), (FORMAT, [], REFUSED),
        (FIELDS, ["size", "path"], frozenset({"path", "size"})),
        (FIELDS, "size,path", frozenset({"path", "size"})),
        (FIELDS, [], REFUSED), (FIELDS, "", REFUSED), (FIELDS, [1], REFUSED), (FIELDS, [["path"]], REFUSED),
        (BYTES, "\udcff", b"\xff"), (BYTES, "\ud800", REFUSED), (TEXT, "\udcff", REFUSED), (TEXT, 1, REFUSED),
        (PATH, "/\udcff", b"/\xff"), (PATH, "\ud800", REFUSED), (PATH, 1, REFUSED), (PATH, "a/../b", b"/b"),
    ],
)  # fmt: skip
def test_what_a_document_may_say(kind: Kind, given: Any, value: Any) -> None:
    assert from_document(kind, given) == value


# Schemas

words = st.sampled_from([*NODE_FIELDS, "json", "ndjson", "children", "true", "", "1"])
integers = st.sampled_from([-1, 0, 1, 10_000, 10_001, MAX_INT64, MAX_INT64 + 1]) | st.integers()
scalars = (
    words
    | st.text(max_size=4)
    | integers
    | st.booleans()
    # To a schema 1.0 is an integer.
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.lists(words | st.integers(), max_size=3)
    | st.lists(words, max_size=3).map(",".join)
    | st.dictionaries(words, words, max_size=1)
)


@kinds
@given(scalars)
def test_a_document_may_say_what_the_schema_allows(kind: Kind, value: Any) -> None:
    accepted = from_document(kind, value) is not REFUSED
    assert Draft202012Validator(kind.schema).is_valid(value) == accepted


@kinds
@given(scalars)
def test_a_query_may_say_what_its_schema_allows(kind: Kind, value: Any) -> None:
    if not Draft202012Validator(kind.query_schema).is_valid(value):
        return
    if isinstance(value, list):
        written = ",".join(value)
    elif isinstance(value, bool):
        written = str(value).lower()
    else:
        written = str(value)
    assert from_query(kind, written) == from_document(kind, value)


def test_every_schema_is_one_and_takes_the_default() -> None:
    for operation in OPERATIONS:
        for parameter in (*operation.query, *operation.headers):
            for schema in (parameter.kind.schema, parameter.kind.query_schema):
                told = parameter.schema(schema)
                Draft202012Validator.check_schema(told)
                assert (parameter.default is None) == ("default" not in told)
                if parameter.default is not None:
                    assert Draft202012Validator(told).is_valid(told["default"])


@given(st.dictionaries(st.sampled_from(["path", "fields", "limit", "format"]), scalars | st.none()))
def test_a_documents_schema_is_that_of_its_parameters(document: dict[str, Any]) -> None:
    parameters = Parameters(
        Parameter("path", PATH, b"/"),
        Parameter("fields", FIELDS),
        Parameter("limit", LIMIT, required=True),
        Parameter("format", FORMAT, "json"),
    )
    try:
        parameters.from_document(document)
        accepted = True
    except InvalidField:
        accepted = False
    assert Draft202012Validator(parameters.document_schema()).is_valid(document) == accepted
