"""Parameters of requests: of each its schema, and how it is read from a query and from a JSON document.

One description serves both: what /openapi.json says of a parameter and what is checked is the same object.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote_plus, unquote_to_bytes

from fusion.errors import InvalidField
from fusion.events import MAX_PATH_BYTES, normalise_path, require_string

Schema = dict[str, Any]

NODE_FIELDS = ("name", "content_type", "path", "size", "modified_time", "created_time")

_FLAGS = dict.fromkeys((b"true", b"1", b"yes", b"on"), True) | dict.fromkeys(
    (b"false", b"0", b"no", b"off"), False
)
# What most paths are already: no empty part, and none that begins with a dot.
_NORMAL = re.compile(rb"/|(?:/[^/.\0][^/\0]*+)++")
_NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# No bound of an integer has more digits. Python refuses to read very many.
_MOST_DIGITS = 19


class Kind(ABC):
    """What values a parameter takes. ``schema`` is that of its JSON form."""

    schema: Schema
    wanted: str

    @property
    def query_schema(self) -> Schema:
        return self.schema

    @property
    def query_style(self) -> dict[str, Any]:
        """How the query writes it, in OpenAPI's words, where that is not as usual."""
        return {}

    @abstractmethod
    def read(self, name: str, value: bytes) -> Any:
        """From the decoded bytes of a query. Raises InvalidField that points to ``name``."""

    @abstractmethod
    def read_json(self, name: str, value: Any) -> Any:
        """The same from a JSON value, which has its proper type and is not null."""

    def refuse(self, name: str) -> NoReturn:
        raise InvalidField(f"'{name}' must be {self.wanted}", f"/{name}")


class Path(Kind):
    """A path, normalised to bytes; it need not be UTF-8. In JSON other bytes are surrogate escapes."""

    # Its length is bounded in bytes, which a schema cannot say.
    schema = {"type": "string", "pattern": "^[^\\x00]*$"}
    wanted = "a string"

    def read(self, name: str, value: bytes) -> bytes:
        if _NORMAL.fullmatch(value) and len(value) <= MAX_PATH_BYTES:
            return value
        return normalise_path(value, f"/{name}")

    def read_json(self, name: str, value: Any) -> bytes:
        if not isinstance(value, str):
            self.refuse(name)
        return normalise_path(value, f"/{name}")


class Bytes(Kind):
    """Bytes that need not be UTF-8, at least one. In JSON other bytes are surrogate escapes."""

    schema = {"type": "string", "minLength": 1}
    wanted = "a string that is not empty"

    def read(self, name: str, value: bytes) -> bytes:
        return value or self.refuse(name)

    def read_json(self, name: str, value: Any) -> bytes:
        if not isinstance(value, str) or not value:
            self.refuse(name)
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidField(f"'{name}' has a surrogate that stands for no byte", f"/{name}") from None


class Text(Kind):
    """Text, at least one character. What is not UTF-8 becomes U+FFFD."""

    schema = {"type": "string", "minLength": 1}
    wanted = "a string that is not empty"

    def read(self, name: str, value: bytes) -> str:
        return value.decode("utf-8", "replace") or self.refuse(name)

    def read_json(self, name: str, value: Any) -> str:
        return require_string({name: value}, name) or self.refuse(name)


class Flag(Kind):
    schema = {"type": "boolean"}
    wanted = "one of true, false, 1, 0, yes, no, on, off"

    def read(self, name: str, value: bytes) -> bool:
        found = _FLAGS.get(value)
        if found is None:
            found = _FLAGS.get(value.lower())
            if found is None:
                self.refuse(name)
        return found

    def read_json(self, name: str, value: Any) -> bool:
        if value is not True and value is not False:
            raise InvalidField(f"'{name}' must be true or false", f"/{name}")
        return value


class Integer(Kind):
    """An integer from ``minimum``, which is not negative, to ``maximum``."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
        shown = "2^63 - 1" if maximum == 2**63 - 1 else maximum
        self.wanted = f"an integer from {minimum} to {shown}"

    def read(self, name: str, value: bytes) -> int:
        return self.read_json(name, _integer(value) if value.isdigit() else None)

    def read_json(self, name: str, value: Any) -> int:
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            self.refuse(name)
        return value


class Count(Kind):
    """An integer from 0 on, of any number of digits; all above ``most`` ask for the same as that."""

    schema = {"type": "integer", "minimum": 0}
    wanted = "an integer from 0 on"

    def __init__(self, most: int) -> None:
        self.most = most

    def read(self, name: str, value: bytes) -> int:
        return self.read_json(name, _integer(value) if value.isdigit() else None)

    def read_json(self, name: str, value: Any) -> int:
        if type(value) is not int or value < 0:
            self.refuse(name)
        return value if value < self.most else self.most


class Number(Kind):
    """A finite number."""

    schema = {"type": "number"}
    wanted = "a finite number"

    def read(self, name: str, value: bytes) -> float:
        if not _NUMBER.fullmatch(value):
            self.refuse(name)
        return self.read_json(name, float(value))

    def read_json(self, name: str, value: Any) -> float:
        if (type(value) is not float and type(value) is not int) or not abs(value) <= sys.float_info.max:
            self.refuse(name)
        return float(value)


class Choice(Kind):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.schema = {"type": "string", "enum": list(words)}
        self.wanted = f"one of {', '.join(words)}"
        self._words = {word.encode(): word for word in words}

    def read(self, name: str, value: bytes) -> str:
        return self._words.get(value) or self.refuse(name)

    def read_json(self, name: str, value: Any) -> str:
        if value not in self._words.values():
            self.refuse(name)
        return value


class Words(Kind):
    """A set of some words, at least one, separated by commas; in JSON an array of them as well."""

    def __init__(self, *words: str) -> None:
        either = "|".join(map(re.escape, words))
        self.query_array = {
            "type": "array",
            "items": {"type": "string", "enum": list(words)},
            "minItems": 1,
        }
        self.schema = {
            "anyOf": [self.query_array, {"type": "string", "pattern": f"^({either})(,({either}))*$"}]
        }
        self.wanted = f"one or more of {', '.join(words)}"
        self._words = {word.encode(): word for word in words}

    @property
    def query_schema(self) -> Schema:
        return self.query_array

    @property
    def query_style(self) -> dict[str, Any]:
        return {"style": "form", "explode": False}

    def read(self, name: str, value: bytes) -> frozenset[str]:
        try:
            return frozenset([self._words[word] for word in value.split(b",")])
        except KeyError:
            self.refuse(name)

    def read_json(self, name: str, value: Any) -> frozenset[str]:
        if isinstance(value, str):
            value = value.split(",")
        known = self._words.values()
        if not isinstance(value, list) or not value or not all(word in known for word in value):
            self.refuse(name)
        return frozenset(value)


PATH = Path()
BYTES = Bytes()
TEXT = Text()
CURSOR = Text()
FLAG = Flag()
# Paths end at 65,535 bytes, so that no tree is deeper.
DEPTH = Count(MAX_PATH_BYTES)
NUMBER = Number()
FIELDS = Words(*NODE_FIELDS)


@dataclass(frozen=True, slots=True)
class Parameter:
    """``default`` is what a handler gets when the parameter is not given."""

    name: str
    kind: Kind
    default: Any = None
    description: str = ""
    required: bool = False

    def schema(self, kind_schema: Schema) -> Schema:
        """A schema of its kind with the default in it."""
        default = self.default.decode() if isinstance(self.default, bytes) else self.default
        return kind_schema if default is None else {**kind_schema, "default": default}

    def described(self, place: str) -> dict[str, Any]:
        """OpenAPI's object for it in ``query`` or ``header``."""
        return {
            "name": self.name,
            "in": place,
            "required": self.required,
            "description": self.description,
            "schema": self.schema(self.kind.query_schema),
            **(self.kind.query_style if place == "query" else {}),
        }


class Parameters:
    """An ordered set of parameters."""

    def __init__(self, *parameters: Parameter) -> None:
        self._parameters = parameters
        self._defaults = {parameter.name: parameter.default for parameter in parameters}
        self._readers = {parameter.name: parameter.kind.read for parameter in parameters}
        self._required = [parameter.name for parameter in parameters if parameter.required]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters)

    def from_query(self, text: str) -> dict[str, Any]:
        """All values by name, defaults filled in, from a query without its ``?``.

        Of a repeated parameter the last one counts, unknown ones are ignored, ``+`` is a space. Raises
        InvalidField with the pointer ``/name``.
        """
        values = self._defaults.copy()
        given = _split(text) if text else {}
        for name in self._required:
            if not given.get(name):
                raise InvalidField(f"the query parameter '{name}' is missing or empty", f"/{name}")
        for name, value in given.items():
            read = self._readers.get(name)
            if read is not None:
                values[name] = read(name, value)
        return values

    def from_document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The same from a JSON object: values have their JSON types, null is as not given."""
        values = self._defaults.copy()
        for parameter in self._parameters:
            value = document.get(parameter.name)
            if value is not None:
                values[parameter.name] = parameter.kind.read_json(parameter.name, value)
            elif parameter.required:
                raise InvalidField(f"{parameter.name} is missing", f"/{parameter.name}")
        return values

    def from_headers(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The same from headers, whose values are taken as they are."""
        values = self._defaults.copy()
        for parameter in self._parameters:
            value = headers.get(parameter.name)
            if value is not None:
                values[parameter.name] = value
            elif parameter.required:
                raise InvalidField(f"the header '{parameter.name}' is missing", f"/{parameter.name}")
        return values

    def described(self, place: str) -> list[dict[str, Any]]:
        """OpenAPI's list of them in ``query`` or ``header``."""
        return [parameter.described(place) for parameter in self._parameters]

    def document_schema(self) -> Schema:
        """The schema of the JSON object with them."""
        properties = {
            parameter.name: {
                **_or_null(parameter.schema(parameter.kind.schema), parameter.required),
                "description": parameter.description,
            }
            for parameter in self._parameters
        }
        return {"type": "object", "properties": properties} | (
            {"required": self._required} if self._required else {}
        )


def _or_null(schema: Schema, required: bool) -> Schema:
    if required:
        return schema
    if "enum" in schema:
        return schema | {"type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}


def _split(text: str) -> dict[str, bytes]:
    """The decoded parts of a query; of a repeated one the last."""
    given: dict[str, bytes] = {}
    escaped = "%" in text or "+" in text
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if escaped:
            if "%" in name or "+" in name:
                name = unquote_plus(name)
            # What most escapes are is cheaper without the rest; no other escape can come of it.
            value = value.replace("+", " ").replace("%2F", "/")
            given[name] = unquote_to_bytes(value) if "%" in value else value.encode()
        else:
            given[name] = value.encode()
    return given


def _integer(digits: bytes) -> int:
    """The integer that digits spell, or another one that no bound allows either when there are very many."""
    if len(digits) > _MOST_DIGITS:
        digits = digits.lstrip(b"0")[: _MOST_DIGITS + 1]
    return int(digits or b"0")
