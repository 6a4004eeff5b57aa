"""The wire format: what a body means, and what is refused with which status and pointer."""

from __future__ import annotations

import json
import math
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion import Batch, events
from fusion.errors import InvalidField, MalformedBody
from fusion.events import (
    MAX_INT64,
    MAX_PATH_BYTES,
    MIN_INT64,
    ParsedBody,
    normalise_path,
    parse,
    parse_object,
)

ROW = {"file_path": "/d/a", "size": 3, "modified_time": 5.25, "created_time": 4.5, "is_dir": False}


def document(*rows: Any, **event: Any) -> dict[str, Any]:
    """A push of one event with these rows."""
    return {"session_id": "s", "source_type": "message", "events": [{"rows": list(rows), **event}]}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def parsed_row(row: dict[str, Any], **event: Any) -> tuple[bytes, int, float, float, bool]:
    body = parse(encode(document(row, **event)))
    return body.paths[0], body.sizes[0], body.modified_times[0], body.created_times[0], body.is_dir[0]


def parse_raw(old: str, new: str) -> ParsedBody:
    """Parses a usual body in which some text is replaced."""
    text = encode(document(ROW)).decode()
    assert old in text
    return parse(text.replace(old, new).encode())


def refused_at(value: Any) -> str:
    """The pointer with which a document is refused."""
    with pytest.raises(InvalidField) as caught:
        parse(value if isinstance(value, bytes) else encode(value))
    return caught.value.pointer


# What a body means


def test_a_body_with_everything() -> None:
    body = parse(
        encode(
            {
                "session_id": "s-1",
                "source_type": "snapshot",
                "is_snapshot_end": True,
                "events": [
                    {
                        "event_type": "update",
                        "event_schema": "/data",
                        "table": "files",
                        "index": 1705832400123,
                        "fields": ["file_path"],
                        "rows": [ROW, {"path": "/d", "is_directory": True}],
                    },
                    {"event_type": "delete", "index": 7, "rows": [{"file_path": "/gone"}]},
                    {"event_type": "insert"},
                ],
            }
        )
    )
    assert body == ParsedBody(
        session_id="s-1",
        source_type="snapshot",
        is_snapshot_end=True,
        events=[(False, 1705832400123), (True, 7), (False, -1)],
        paths=[b"/d/a", b"/d", b"/gone"],
        sizes=[3, 0, 0],
        modified_times=[5.25, 0.0, 0.0],
        created_times=[4.5, 0.0, 0.0],
        is_dir=[False, True, False],
        row_events=[0, 0, 1],
    )


def test_defaults() -> None:
    body = parse(
        encode({"session_id": "s", "source_type": "message", "events": [{"rows": [{"path": "/a"}]}]})
    )
    assert body.is_snapshot_end is False
    assert body.events == [(False, -1)]
    assert parsed_row({"path": "/a"}) == (b"/a", 0, 0.0, 0.0, False)


def test_events_without_rows_are_kept() -> None:
    body = parse(
        encode({"session_id": "s", "source_type": "message", "events": [{"rows": [], "index": 9}, {}]})
    )
    assert body.events == [(False, 9), (False, -1)]
    assert body.paths == []


def test_null_numbers_are_zero() -> None:
    row = {"path": "/a", "size": None, "modified_time": None, "created_time": None}
    assert parsed_row(row) == (b"/a", 0, 0.0, 0.0, False)


def test_times_may_be_integers() -> None:
    row = {"path": "/a", "modified_time": 1705832400, "created_time": 2**64 - 1}
    times = parsed_row(row)[2:4]
    assert times == (1705832400.0, float(2**64 - 1))
    assert all(type(time) is float for time in times)


def test_limits_of_integers() -> None:
    assert parsed_row({"path": "/a", "size": MAX_INT64})[1] == MAX_INT64
    for index in (MIN_INT64, MAX_INT64):
        assert parse(encode(document(index=index))).events == [(False, index)]


def test_path_counts_when_file_path_is_given_too() -> None:
    assert parsed_row({"path": "/a", "file_path": "/b"})[0] == b"/a"
    assert parsed_row({"file_path": 5, "path": "/a"})[0] == b"/a"


def test_is_dir_counts_when_is_directory_is_given_too() -> None:
    assert parsed_row({"path": "/a", "is_dir": True, "is_directory": False})[4] is True
    assert parsed_row({"path": "/a", "is_directory": "yes", "is_dir": False})[4] is False


def test_of_a_repeated_key_the_last_counts() -> None:
    assert parse_raw('"size": 3', '"size": "x", "size": 4').sizes == [4]


def test_a_delete_needs_the_path_alone() -> None:
    row = {"path": "/a/", "size": "big", "modified_time": [], "created_time": False, "is_dir": None}
    assert parsed_row(row, event_type="delete") == (b"/a", 0, 0.0, 0.0, False)


def test_a_delete_of_the_root_is_no_error() -> None:
    assert parsed_row({"path": "/"}, event_type="delete")[0] == b"/"


def test_the_root_as_a_directory() -> None:
    assert parsed_row({"path": "", "is_dir": True})[0] == b"/"


def test_what_is_unknown_or_unused_is_ignored() -> None:
    push = document(
        {**ROW, "owner": {"uid": [1, None]}}, fields=None, event_schema=None, table=None, more=1.5
    )
    assert parse(encode({**push, "extra": "x"})).paths == [b"/d/a"]


def test_an_anomaly_needs_no_events() -> None:
    push = {"session_id": "s", "source_type": "anomaly"}
    assert parse(encode(push)).source_type == "anomaly"
    assert parse(encode({**push, "events": []})).events == []


def test_names_that_are_not_utf_8() -> None:
    assert parse_raw("/d/a", "/d/\\udce4\\udcff").paths == [b"/d/\xe4\xff"]


def test_surrogate_escapes_that_spell_utf_8_are_that_name() -> None:
    assert parse_raw("/d/a", "/d/\\udcc3\\udca4").paths == ["/d/ä".encode()]
    assert parse_raw("/d/a", "/d/\\ud83d\\ude00").paths == ["/d/😀".encode()]


def test_lone_surrogates_in_what_is_not_looked_at() -> None:
    assert parse_raw('"size"', '"note\\ud800": "\\udfff", "size"').sizes == [3]


# What is refused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b'{"a": "\x01"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xb2\x80"}',
        b'{"a": "\\udc80"',
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": [Infinity]}',
        b'{"a": -Infinity}',
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b'{"a": "\\udc80", "b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=repr,
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse(body)


@pytest.mark.parametrize("value", [[], None, "x", 5, True])
def test_another_document_than_an_object(value: Any) -> None:
    assert refused_at(value) == ""


@pytest.mark.parametrize("key", ["session_id", "source_type", "events"])
def test_missing_in_the_envelope(key: str) -> None:
    push = document(ROW)
    del push[key]
    assert refused_at(push) == f"/{key}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session_id", 5),
        ("session_id", None),
        ("session_id", "\udc80"),
        ("source_type", "realtime"),
        ("source_type", "Message"),
        ("source_type", None),
        ("source_type", ["message"]),
        ("is_snapshot_end", 1),
        ("is_snapshot_end", "true"),
        ("is_snapshot_end", None),
        ("events", None),
        ("events", {}),
        ("events", "x"),
    ],
)
def test_wrong_in_the_envelope(key: str, value: Any) -> None:
    assert refused_at({**document(ROW), key: value}) == f"/{key}"


@pytest.mark.parametrize("wrong", [[{}], None, {}, "x"])
def test_an_anomaly_with_events(wrong: Any) -> None:
    assert refused_at({"session_id": "s", "source_type": "anomaly", "events": wrong}) == "/events"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("event_type", "upsert"),
        ("event_type", None),
        ("event_type", 5),
        ("event_type", ["update"]),
        ("index", None),
        ("index", "5"),
        ("index", 5.0),
        ("index", True),
        ("index", MAX_INT64 + 1),
        ("index", MIN_INT64 - 1),
        ("rows", None),
        ("rows", {}),
        ("rows", "x"),
    ],
)
def test_wrong_in_an_event(key: str, value: Any) -> None:
    push = document(ROW)
    push["events"].append({key: value})
    assert refused_at(push) == f"/events/1/{key}"


@pytest.mark.parametrize("wrong", [None, [], "x", 5])
def test_events_are_objects(wrong: Any) -> None:
    assert refused_at({**document(), "events": [{}, wrong]}) == "/events/1"


@pytest.mark.parametrize("wrong", [None, True, "x", 5])
def test_rows_are_objects_or_arrays(wrong: Any) -> None:
    assert refused_at(document(ROW, wrong)) == "/events/0/rows/1"
    assert refused_at(document(ROW, list(ROW.values()), wrong, fields=list(ROW))) == "/events/0/rows/2"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", -1),
        ("size", 3.0),
        ("size", "3"),
        ("size", True),
        ("size", [3]),
        ("size", MAX_INT64 + 1),
        ("size", 2**64),
        ("size", 10**400),
        ("size", 10**4000),
        ("modified_time", "5"),
        ("modified_time", False),
        ("modified_time", {}),
        ("created_time", "5"),
        ("created_time", True),
        ("is_dir", None),
        ("is_dir", 1),
        ("is_dir", "false"),
        ("is_directory", 0),
        ("file_path", None),
        ("file_path", 5),
        ("file_path", "/a\0b"),
        ("file_path", "/" + "n" * MAX_PATH_BYTES),
        ("file_path", "n" * MAX_PATH_BYTES),
        ("file_path", "/a" * MAX_PATH_BYTES + "/.." * MAX_PATH_BYTES),
        ("file_path", "/\ud800"),
        ("file_path", "/\udc7f"),
        ("file_path", "/\udd00"),
        ("path", None),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, str) else repr(value[:20]),
)
def test_wrong_in_a_row(key: str, value: Any) -> None:
    row = {name: field for name, field in ROW.items() if (name, key) != ("is_dir", "is_directory")}
    push = document(ROW)
    push["events"].append({"rows": [ROW, {**row, key: value}]})
    assert refused_at(push) == f"/events/1/rows/1/{key}"


def test_a_row_without_a_path() -> None:
    assert refused_at(document(ROW, {"size": 5})) == "/events/0/rows/1/path"
    assert refused_at(document({}, event_type="delete")) == "/events/0/rows/0/path"


@pytest.mark.parametrize("path", ["/", "", "//", "/a/..", "."])
@pytest.mark.parametrize("key", ["path", "file_path"])
def test_the_root_as_a_file(path: str, key: str) -> None:
    assert refused_at(document({key: path})) == f"/events/0/rows/0/{key}"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, "9" * 6000])
def test_numbers_beyond_a_double_are_named(number: str) -> None:
    text = encode(document(ROW, {**ROW, "x/y": {"~": [1, [], {}, "here"]}})).decode()
    assert refused_at(text.replace('"here"', number).encode()) == "/events/0/rows/1/x~1y/~0/3"
    text = encode(document(ROW)).decode()
    assert refused_at(text.replace("5.25", number).encode()) == "/events/0/rows/0/modified_time"
    assert refused_at(number.encode()) == ""


def test_numbers_beyond_a_double_in_deep_documents() -> None:
    depth = 500
    body = b'{"a": ' + b"[" * depth + b"1e999" + b"]" * depth + b"}"
    assert refused_at(body) == "/a" + "/0" * depth


def test_the_largest_integers_a_double_can_round_are_numbers() -> None:
    number = "1" + "0" * 308
    assert parse_raw("5.25", f'{number}, "note": "\\udc80"').modified_times == [1e308]


# Rows that are arrays


def array_row(*values: Any, fields: list[str], **event: Any) -> tuple[bytes, int, float, float, bool]:
    (read,) = rows_of(parse(encode(document(list(values), fields=fields, **event))))
    return read


def rows_of(body: ParsedBody) -> list[tuple[bytes, int, float, float, bool]]:
    columns = (body.paths, body.sizes, body.modified_times, body.created_times, body.is_dir)
    return list(zip(*columns, strict=True))


def test_rows_may_be_arrays_in_the_order_of_fields() -> None:
    assert array_row(*ROW.values(), fields=list(ROW)) == (b"/d/a", 3, 5.25, 4.5, False)
    assert array_row(True, 7, "x/", fields=["is_directory", "created_time", "path"]) == (
        b"/x",
        0,
        0.0,
        7.0,
        True,
    )


def test_an_event_may_mix_arrays_and_objects() -> None:
    body = parse(
        encode(
            {
                "session_id": "s",
                "source_type": "message",
                "events": [
                    {"fields": ["path"], "rows": [["/a"], {"path": "/b", "size": 2}, ["/c"]]},
                    {"rows": [["/d", 4], ["/e", 5]], "fields": ["file_path", "size"]},
                    {"rows": [ROW]},
                ],
            }
        )
    )
    assert body.paths == [b"/a", b"/b", b"/c", b"/d", b"/e", b"/d/a"]
    assert body.sizes == [0, 2, 0, 4, 5, 3]
    assert body.row_events == [0, 0, 0, 1, 1, 2]


def test_fields_that_arrays_could_not_go_by_do_no_harm_without_arrays() -> None:
    for fields in (None, [], ["size"], ["path", "path"], ["p\ud800"]):
        assert parsed_row(ROW, fields=fields) == (b"/d/a", 3, 5.25, 4.5, False)


def test_of_a_field_named_twice_the_last_value_counts() -> None:
    assert array_row(5, "/a", fields=["path", "path"])[0] == b"/a"
    push = document(["/a", "/b", 5], fields=["path", "size", "path"])
    assert refused_at(push) == "/events/0/rows/0/2"


@pytest.mark.parametrize("fields", [{}, {"fields": None}, {"fields": []}, {"fields": ["size", "Path", ""]}])
@pytest.mark.parametrize("row", [[], ["/a"], [1, 2, 3]])
def test_arrays_need_fields_that_name_the_path(fields: dict[str, Any], row: list[Any]) -> None:
    push = document(ROW)
    push["events"].append({**fields, "rows": [ROW, row]})
    assert refused_at(push) == "/events/1/fields"
    push["events"][1]["event_type"] = "delete"
    assert refused_at(push) == "/events/1/fields"


@pytest.mark.parametrize("event_type", ["update", "delete"])
@pytest.mark.parametrize("row", [[], ["/a"], ["/a", 1, 2.0]])
def test_an_array_has_a_value_for_each_field(event_type: str, row: list[Any]) -> None:
    push = document(["/b", 1], row, fields=["path", "size"], event_type=event_type)
    assert refused_at(push) == "/events/0/rows/1"


@pytest.mark.parametrize("number", ["1e999", "1" + "0" * 400])
def test_a_number_beyond_a_double_is_named_in_an_array_too(number: str) -> None:
    body = encode(document(ROW, [*ROW.values(), "here"], fields=[*ROW, "more"])).decode()
    assert refused_at(body.replace('"here"', number).encode()) == "/events/0/rows/1/5"


any_rows = st.dictionaries(
    st.sampled_from(["path", "file_path", *list(ROW)[1:], "is_directory", "other"]),
    st.sampled_from(
        [None, True, False, 0, -1, 5, 1.5, "", "/", "/a/", "/a\0", "/\ud800", [], {}, MAX_INT64 + 1]
    ),
)


@given(st.lists(st.none() | st.text("/ad."), max_size=2), any_rows, st.sampled_from(["insert", "delete"]))
def test_an_array_is_the_object_with_the_same_values(
    paths: list[str | None], row: dict[str, Any], event_type: str
) -> None:
    row = {**row, **dict(zip(["file_path", "path"], paths, strict=False))}
    if "path" not in row and "file_path" not in row:
        row["file_path"] = "/a"
    fields = list(row)
    as_object, as_array = (
        encode(document(ROW, one, fields=fields, event_type=event_type)) for one in (row, list(row.values()))
    )
    try:
        expected = parse(as_object)
    except InvalidField as error:
        with pytest.raises(InvalidField) as caught:
            parse(as_array)
        assert caught.value.detail == error.detail
        name = error.pointer.removeprefix("/events/0/rows/1/")
        assert caught.value.pointer == f"/events/0/rows/1/{fields.index(name)}"
    else:
        assert parse(as_array) == expected


# Paths


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("", b"/"),
        ("/", b"/"),
        ("///", b"/"),
        (".", b"/"),
        ("..", b"/"),
        ("/t/", b"/t"),
        ("//d", b"/d"),
        ("d", b"/d"),
        ("rel/x", b"/rel/x"),
        ("/a//b/./c", b"/a/b/c"),
        ("/q/../b", b"/b"),
        ("/x/../d", b"/d"),
        ("/../../a", b"/a"),
        ("/a/...", b"/a/..."),
        ("/a/.b/..c", b"/a/.b/..c"),
        ("/a b\n\t", b"/a b\n\t"),
        ("/\udcff", b"/\xff"),
        (b"/\xff/../\xfe/", b"/\xfe"),
    ],
)
def test_normal_form(path: str | bytes, normal: bytes) -> None:
    assert normalise_path(path) == normal


@given(st.text(alphabet="/.aé", max_size=30))
def test_normal_form_is_that_of_posix(path: str) -> None:
    assert normalise_path(path) == posixpath.normpath("/" + path.lstrip("/")).encode()


def test_longest_path() -> None:
    longest = b"/" + b"n" * (MAX_PATH_BYTES - 1)
    assert normalise_path(longest) == normalise_path(longest[1:]) == longest
    for path in (longest + b"n", longest[1:] + b"n", longest + b"/"):
        with pytest.raises(InvalidField):
            normalise_path(path)


def test_a_refused_path_names_the_pointer_it_is_given() -> None:
    with pytest.raises(InvalidField) as caught:
        normalise_path(b"/\0", "/differences/0/path")
    assert caught.value.pointer == "/differences/0/path"


# Helpers for other bodies


def test_parse_object() -> None:
    assert parse_object(b'{"a": [1, "\\udc80"]}') == {"a": [1, "\udc80"]}
    with pytest.raises(InvalidField):
        parse_object(b'{"a": 1e999}')


def test_optional_fields_may_be_absent_or_null() -> None:
    for read in (
        events.optional_string,
        events.optional_number,
        events.optional_object,
        events.optional_objects,
    ):
        assert read({}, "a") is None
        assert read({"a": None}, "a") is None


def test_optional_fields_are_checked() -> None:
    assert events.optional_string({"a": "x"}, "a") == "x"
    assert events.optional_number({"a": 5}, "a") == 5.0
    assert events.optional_object({"a": {"b": 1}}, "a") == {"b": 1}
    assert events.optional_objects({"a": [{}]}, "a") == [{}]
    for read, value, pointer in (
        (events.optional_string, 5, "/x/a"),
        (events.optional_string, "\ud800", "/x/a"),
        (events.optional_number, "5", "/x/a"),
        (events.optional_number, True, "/x/a"),
        (events.optional_object, [], "/x/a"),
        (events.optional_objects, {}, "/x/a"),
        (events.optional_objects, [{}, 5], "/x/a/1"),
    ):
        with pytest.raises(InvalidField) as caught:
            read({"a": value}, "a", "/x")  # type: ignore[operator]
        assert caught.value.pointer == pointer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_any_document_is_read_or_refused(value: Any) -> None:
    body = encode(value)
    try:
        read = parse_object(body)
    except MalformedBody:
        assert b"Infinity" in body
    except InvalidField as error:
        assert error.pointer == "" and not isinstance(value, dict)
    else:
        assert all(math.isfinite(number) for number in read.values() if isinstance(number, float))


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("event_schema", "table") for value in (1, True, [], {}, 0.5)]
    + [("fields", value) for value in (1, "path", {}, True, [1], [None], [["path"]])],
)
def test_what_an_event_says_beside_its_rows_has_its_type_too(key: str, value: Any) -> None:
    body = encode(document(ROW, **{key: value}))
    with pytest.raises(InvalidField) as refusal:
        parse(body)
    assert refusal.value.pointer == f"/events/0/{key}"
    assert Batch.scan(body) is None
