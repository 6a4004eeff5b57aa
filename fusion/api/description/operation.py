"""What can be said of a route, and how OpenAPI says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fusion.api.description.schemas import Schema, shared, string
from fusion.api.parameters import Choice, Parameter, Parameters

JSON = "application/json"
NDJSON = "application/x-ndjson"
HTML = "text/html"
TEXT_PLAIN = "text/plain"
OPENMETRICS = "application/openmetrics-text"

# code: (status, what it says)
ERRORS: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON."),
    "malformed_encoding": (400, "The body is not what its Content-Encoding says."),
    "unauthorized": (401, "The API key is missing or unknown."),
    "forbidden": (403, "The API key lacks the scope."),
    "route_not_found": (404, "There is no such route."),
    "path_not_found": (404, "There is no such path."),
    "session_not_found": (404, "The session is unknown, expired or ended."),
    "position_not_found": (404, "Nothing with a positive index was accepted for the task yet."),
    "cursor_expired": (410, "The cursor is too old; begin again without one."),
    "answer_too_large": (413, "The answer would be too large: ask for less, or in pages."),
    "body_too_large": (413, "The body is over the limit."),
    "compression_ratio": (413, "The body is compressed too much."),
    "unsupported_encoding": (415, "The body's Content-Encoding is none of those in Accept-Encoding."),
    "too_many_requests": (429, "The API key, or the address, has asked for too much; wait for Retry-After."),
    "session_obsolete": (419, "The session is obsolete: a newer one took its place."),
    "invalid_field": (422, "A field or parameter is missing or wrong; `pointer` names it."),
    "not_ready": (503, "The datastore cannot answer yet."),
    "revision_not_reached": (503, "The tree has not come to `min_revision` in time."),
    "overloaded": (503, "There is no room for the request now."),
    "interrupted": (503, "The server is stopping, or took too long."),
    "journal_failed": (503, "The journal cannot be written."),
    "journal_damaged": (503, "The journal is damaged."),
    "sequence_conflict": (503, "Another process has written to the journal."),
    "disk_full": (507, "The disk is full."),
}

OF_A_KEY = ("unauthorized", "forbidden", "too_many_requests")
OF_A_BODY = (
    "malformed_json",
    "malformed_encoding",
    "body_too_large",
    "compression_ratio",
    "unsupported_encoding",
    "invalid_field",
)
OF_A_DATASTORE = (
    "not_ready",
    "overloaded",
    "interrupted",
    "journal_failed",
    "journal_damaged",
    "sequence_conflict",
)

Headers = dict[str, dict[str, Any]]


def header(description: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "required": required, "schema": schema}


_RETRY_AFTER = {
    "Retry-After": header("Whole seconds.", {"type": "integer", "minimum": 1}, required=True),
}
_REQUEST_ID: Headers = {
    "X-Request-ID": header(
        "That of the request, or a new one. Other answers have it when the request had one.",
        string(maxLength=128),
        required=True,
    )
}
_HEADERS_OF_ERRORS: dict[int, Headers] = {
    415: {"Accept-Encoding": header("What is understood.", string(), required=True)},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
    507: _RETRY_AFTER,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """``content``: the schema for each media type; none for an answer without a body."""

    status: int
    description: str
    content: dict[str, Schema] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)

    def described(self, *, head: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"description": self.description}
        if self.headers:
            told["headers"] = self.headers
        if self.content and not head:
            told["content"] = {media_type: {"schema": schema} for media_type, schema in self.content.items()}
        return told


_CONTENT_ENCODING = Parameter(
    "Content-Encoding",
    Choice("gzip", "x-gzip", "zstd", "identity"),
    description="How the body is compressed; case is ignored.",
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route, for one method or for GET and HEAD.

    name: of the handler.
    group: a heading for people.
    scope: None for a route without a key.
    body: the schema of a JSON body, which may be compressed.
    errors: codes, beside those that come with a scope and a body.
    error_headers: headers of errors by their status.
    """

    name: str
    group: str
    methods: tuple[str, ...]
    path: str
    summary: str
    answers: tuple[Answer, ...]
    scope: str | None = None
    description: str = ""
    query: Parameters = field(default_factory=Parameters)
    headers: Parameters = field(default_factory=Parameters)
    body: Schema | None = None
    errors: tuple[str, ...] = ()
    error_headers: dict[int, Headers] = field(default_factory=dict)

    def described(self, method: str) -> dict[str, Any]:
        """OpenAPI's operation object for one of the methods."""
        head = method == "HEAD"
        told: dict[str, Any] = {
            "operationId": f"{self.name}_head" if head else self.name,
            "tags": [self.group],
            "summary": self.summary,
        }
        sentences = [self.description, f"Scope: {self.scope}." if self.scope else ""]
        if description := " ".join(filter(None, sentences)):
            told["description"] = description
        if self.scope is None:
            told["security"] = []
        parameters = self.query.described("query") + self.headers.described("header")
        if self.body is not None:
            parameters.append(_CONTENT_ENCODING.described("header"))
            told["requestBody"] = {"required": True, "content": {JSON: {"schema": self.body}}}
        if parameters:
            told["parameters"] = parameters
        answers = [*self.answers, *self._error_answers()]
        told["responses"] = {str(answer.status): answer.described(head=head) for answer in answers}
        return told

    def _error_answers(self) -> list[Answer]:
        codes = {*self.errors, *(OF_A_KEY if self.scope else ()), *(OF_A_BODY if self.body else ())}
        by_status: dict[int, list[str]] = {}
        for code, (status, _) in ERRORS.items():
            if code in codes:
                by_status.setdefault(status, []).append(code)
        return [
            _error(status, codes, self.error_headers.get(status, {})) for status, codes in by_status.items()
        ]


def ok(description: str, schema: Schema, headers: Headers | None = None) -> Answer:
    """200 with a JSON document."""
    return Answer(200, description, {JSON: schema}, headers or {})


def _error(status: int, codes: list[str], headers: Headers) -> Answer:
    """The answer for the errors of one status."""
    told = " ".join(ERRORS[code][1] for code in codes)
    schema = {"allOf": [shared("Error"), {"properties": {"code": {"enum": codes}}}]}
    return Answer(status, told, {JSON: schema}, _REQUEST_ID | _HEADERS_OF_ERRORS.get(status, {}) | headers)
