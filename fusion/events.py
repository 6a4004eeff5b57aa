"""The wire format of pushes: body bytes to checked rows, or the error that says what is wrong and where.

Everything about the wire format is decided here, in full and at leisure. The engine has a strict scanner of
its own for the usual shapes; it takes nothing that :func:`parse` refuses, reads nothing differently, and
leaves to :func:`parse` whatever it does not understand.

A body is what ``orjson`` takes, and what only the standard library takes: lone surrogates (names that are not
UTF-8 are sent as surrogate escapes) and numbers beyond a double, which are refused by name rather than as
malformed. A JSON pointer tells the field at fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from fusion.errors import InvalidField, MalformedBody

MAX_PATH_BYTES = 65_535
MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)

SOURCE_TYPES = ("snapshot", "message", "anomaly")
EVENT_TYPES = ("insert", "update", "delete")

_ABSENT: Any = object()
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """One checked push. The row columns have one entry per row, in the order of the body.

    ``events`` holds (is it a delete, its index) per event and ``row_events`` the event each row belongs to.
    Paths are normalised bytes, sizes bytes, times seconds since the epoch. A delete's row has the path alone:
    its other columns are 0 and False.
    """

    session_id: str
    source_type: str
    is_snapshot_end: bool
    events: list[tuple[bool, int]] = field(default_factory=list)
    paths: list[bytes] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    modified_times: list[float] = field(default_factory=list)
    created_times: list[float] = field(default_factory=list)
    is_dir: list[bool] = field(default_factory=list)
    row_events: list[int] = field(default_factory=list)


def parse(body: bytes) -> ParsedBody:
    """Decode and check one push. Raises MalformedBody (400) or InvalidField (422)."""
    document = parse_object(body)
    session_id = require_string(document, "session_id")
    source_type = require_string(document, "source_type")
    if source_type not in SOURCE_TYPES:
        raise InvalidField(f"source_type must be one of {', '.join(SOURCE_TYPES)}", "/source_type")
    is_snapshot_end = document.get("is_snapshot_end", False)
    if not isinstance(is_snapshot_end, bool):
        raise InvalidField("is_snapshot_end must be true or false", "/is_snapshot_end")

    is_anomaly = source_type == "anomaly"
    events = document.get("events", [] if is_anomaly else _ABSENT)
    if not isinstance(events, list):
        _refuse(events, "events", "an array of objects", "")
    if is_anomaly and events:
        raise InvalidField("an anomaly signal has no events", "/events")

    parsed = ParsedBody(session_id, source_type, is_snapshot_end)
    for number, event in enumerate(events):
        _read_event(event, number, parsed)
    return parsed


def _read_event(event: Any, number: int, parsed: ParsedBody) -> None:
    pointer = f"/events/{number}"
    if not isinstance(event, dict):
        raise InvalidField("an event must be an object", pointer)
    event_type = event.get("event_type", "update")
    if event_type not in EVENT_TYPES:
        raise InvalidField(f"event_type must be one of {', '.join(EVENT_TYPES)}", f"{pointer}/event_type")
    index = event.get("index", -1)
    if type(index) is not int or not MIN_INT64 <= index <= MAX_INT64:
        raise InvalidField("index must be an integer of 64 bits", f"{pointer}/index")
    rows = event.get("rows", [])
    if not isinstance(rows, list):
        raise InvalidField("rows must be an array of objects or arrays", f"{pointer}/rows")

    for key in ("event_schema", "table"):  # say nothing that is needed, may be anything a path may be
        if not isinstance(event.get(key), str | None):
            _refuse(event[key], key, "a string", pointer)
    fields = event.get("fields")
    if fields is not None and not (
        isinstance(fields, list) and all(isinstance(name, str) for name in fields)
    ):
        _refuse(fields, "fields", "an array of strings", pointer)

    is_delete = event_type == "delete"
    parsed.events.append((is_delete, index))
    names: list[str] = []
    for row_number, row in enumerate(rows):
        row_pointer = f"{pointer}/rows/{row_number}"
        if isinstance(row, dict):
            _read_row(row, is_delete, row_pointer, parsed)
        elif isinstance(row, list):
            names = names or _names_of_values(fields, f"{pointer}/fields")
            _read_array_row(row, names, is_delete, row_pointer, parsed)
        else:
            raise InvalidField("a row must be an object or an array", row_pointer)
    parsed.row_events.extend([number] * len(rows))


def _names_of_values(fields: list[str] | None, pointer: str) -> list[str]:
    """The fields of an event that has array rows."""
    if fields is None:
        raise InvalidField("fields is missing: it names the values of rows that are arrays", pointer)
    if "path" not in fields and "file_path" not in fields:
        raise InvalidField("fields must name path or file_path for rows that are arrays", pointer)
    return fields


def _read_array_row(
    row: list[Any], names: list[str], is_delete: bool, pointer: str, parsed: ParsedBody
) -> None:
    if len(row) != len(names):
        raise InvalidField(f"the row has {len(row)} values, fields has {len(names)} names", pointer)
    try:
        _read_row(dict(zip(names, row, strict=True)), is_delete, pointer, parsed)
    except InvalidField as error:
        name = error.pointer.rpartition("/")[2]
        column = len(names) - 1 - names[::-1].index(name)  # of a name given twice the last counts
        raise InvalidField(error.detail, f"{pointer}/{column}") from None


def _read_row(row: dict[str, Any], is_delete: bool, pointer: str, parsed: ParsedBody) -> None:
    path_key = "path" if "path" in row or "file_path" not in row else "file_path"
    path = row.get(path_key, _ABSENT)
    if not isinstance(path, str):
        _refuse(path, path_key, "a string", pointer)
    path_bytes = normalise_path(path, f"{pointer}/{path_key}")

    size, modified_time, created_time, is_dir = 0, 0.0, 0.0, False
    if not is_delete:
        size = _read_size(row, pointer)
        modified_time = _read_time(row, "modified_time", pointer)
        created_time = _read_time(row, "created_time", pointer)
        is_dir = _read_is_dir(row, pointer)
        if path_bytes == b"/" and not is_dir:
            raise InvalidField("the root is a directory, not a file", f"{pointer}/{path_key}")
    parsed.paths.append(path_bytes)
    parsed.sizes.append(size)
    parsed.modified_times.append(modified_time)
    parsed.created_times.append(created_time)
    parsed.is_dir.append(is_dir)


def _read_size(row: dict[str, Any], pointer: str) -> int:
    size = row.get("size")
    if size is None:
        return 0
    if type(size) is not int or not 0 <= size <= MAX_INT64:
        raise InvalidField("size must be an integer from 0 to 2^63 - 1", f"{pointer}/size")
    return size


def _read_time(row: dict[str, Any], key: str, pointer: str) -> float:
    seconds = row.get(key)
    if seconds is None:
        return 0.0
    if type(seconds) is not float and type(seconds) is not int:
        raise InvalidField(f"{key} must be a number of seconds since the epoch", f"{pointer}/{key}")
    return float(seconds)


def _read_is_dir(row: dict[str, Any], pointer: str) -> bool:
    key = "is_dir" if "is_dir" in row else "is_directory"
    is_dir = row.get(key, False)
    if not isinstance(is_dir, bool):
        raise InvalidField(f"{key} must be true or false", f"{pointer}/{key}")
    return is_dir


def normalise_path(path: str | bytes, pointer: str = "/path") -> bytes:
    """The path as stored: absolute, POSIX-normalised bytes.

    Surrogate escapes become the bytes they stand for. Raises InvalidField, naming ``pointer``, for NUL, for
    more than MAX_PATH_BYTES and for any other surrogate.
    """
    if isinstance(path, str):
        try:
            path = path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidField("the path has a surrogate that stands for no byte", pointer) from None
    if b"\0" in path:
        raise InvalidField("the path has a NUL character", pointer)
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    normal = b"/" + b"/".join(parts)
    if max(len(path), len(normal)) > MAX_PATH_BYTES:
        raise InvalidField(f"the path is longer than {MAX_PATH_BYTES} bytes", pointer)
    return normal


def shown(path: str) -> str:
    """The path, or name, as answers have it: each byte that is not UTF-8 becomes U+FFFD."""
    return _ESCAPED_BYTE.sub("\ufffd", path)


# For every route with a JSON body


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that is the body; all its numbers are finite.

    Raises MalformedBody (400) for what is no JSON, InvalidField (422) for another document than an object and
    for numbers no double can hold. Strings may hold lone surrogates: the helpers below refuse them.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _loads_leniently(body)
    if not isinstance(document, dict):
        raise InvalidField("the body must be a JSON object", "")
    return document


def require_string(document: dict[str, Any], key: str, pointer: str = "") -> str:
    """The string at ``key`` of the object at ``pointer``; InvalidField when it is none or absent."""
    value = document.get(key, _ABSENT)
    if not isinstance(value, str):
        _refuse(value, key, "a string", pointer)
    if not value.isascii() and _SURROGATE.search(value):
        raise InvalidField(f"{key} has a lone surrogate", f"{pointer}/{key}")
    return value


def optional_string(document: dict[str, Any], key: str, pointer: str = "") -> str | None:
    """As require_string; None when absent or null."""
    return None if document.get(key) is None else require_string(document, key, pointer)


def optional_number(document: dict[str, Any], key: str, pointer: str = "") -> float | None:
    """The number at ``key``; None when absent or null. Booleans are no numbers."""
    value = document.get(key)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        _refuse(value, key, "a number", pointer)
    return float(value)


def optional_object(document: dict[str, Any], key: str, pointer: str = "") -> dict[str, Any] | None:
    """The object at ``key``; None when absent or null."""
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        _refuse(value, key, "an object", pointer)
    return value


def optional_objects(document: dict[str, Any], key: str, pointer: str = "") -> list[dict[str, Any]] | None:
    """The array of objects at ``key``; None when absent or null."""
    values = document.get(key)
    if values is None:
        return None
    if not isinstance(values, list):
        _refuse(values, key, "an array of objects", pointer)
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidField(f"{key} must be an array of objects", f"{pointer}/{key}/{number}")
    return values


def _refuse(value: Any, key: str, wanted: str, pointer: str) -> NoReturn:
    detail = f"{key} is missing" if value is _ABSENT else f"{key} must be {wanted}"
    raise InvalidField(detail, f"{pointer}/{key}")


def _loads_leniently(body: bytes) -> Any:
    """What the standard library makes of a body that orjson refuses; InvalidField for infinite numbers."""
    overflowed = False

    def read_float(literal: str) -> float:
        nonlocal overflowed
        value = float(literal)
        overflowed = overflowed or math.isinf(value)
        return value

    def read_int(literal: str) -> int | float:
        value = read_float(literal)
        return value if math.isinf(value) else int(literal)

    try:
        document = json.loads(
            body.decode("utf-8"),
            parse_float=read_float,
            parse_int=read_int,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not valid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        detail = f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise MalformedBody(detail) from None
    if overflowed and (pointer := _pointer_to_infinity(document)) is not None:
        raise InvalidField("the number is too large", pointer)
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"the body is not valid JSON: {name} is no number")


def _pointer_to_infinity(document: Any) -> str | None:
    """The JSON pointer of the first infinite number. Needs no recursion: documents may be nested deeply."""

    def members(value: Any) -> Iterator[tuple[object, Any]]:
        return iter(value.items()) if isinstance(value, dict) else enumerate(value)

    keys: list[object] = []
    open_containers: list[Iterator[tuple[object, Any]]] = [iter([("", document)])]
    while open_containers:
        for key, value in open_containers[-1]:
            if isinstance(value, float) and math.isinf(value):
                tokens = [str(token).replace("~", "~0").replace("/", "~1") for token in (*keys, key)]
                return "/".join(tokens)
            if isinstance(value, dict | list):
                keys.append(key)
                open_containers.append(members(value))
                break
        else:
            open_containers.pop()
            del keys[-1:]
    return None
