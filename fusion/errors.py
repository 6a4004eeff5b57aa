"""The errors of the product, ordered by blame: the caller's, not ready yet, ours.

Every error knows its HTTP status and its stable ``code`` as class data; ``detail`` is one sentence for a
person and ``extra`` holds the fields that go into the JSON body beside the two.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

_SURROGATE = re.compile("[\ud800-\udfff]")


class FusionError(Exception):
    """Root of all errors raised on purpose.

    ``detail`` defaults to the class's own sentence; surrogates in it (undecodable bytes of a path, say)
    become U+FFFD, so that it can always be sent.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default_detail: ClassVar[str] = "something went wrong inside the server"

    def __init__(self, detail: str | None = None, **extra: Any) -> None:
        self.detail = _SURROGATE.sub("\ufffd", self.default_detail if detail is None else detail)
        self.extra: dict[str, Any] = extra
        super().__init__(self.detail)


# The caller's fault


class BadRequest(FusionError, ValueError):
    status = 400
    code = "bad_request"
    default_detail = "the request cannot be understood"


class MalformedBody(BadRequest):
    """The body is not JSON at all."""

    code = "malformed_json"
    default_detail = "the body is not valid JSON"


class InvalidField(FusionError, ValueError):
    """A well-formed document or query with a wrong or missing field; ``pointer`` is a JSON pointer."""

    status = 422
    code = "invalid_field"
    default_detail = "a field is missing or has a wrong value"

    def __init__(self, detail: str | None = None, pointer: str = "") -> None:
        self.pointer = _SURROGATE.sub("\ufffd", pointer)
        super().__init__(detail, pointer=self.pointer)


class Unauthorized(FusionError):
    status = 401
    code = "unauthorized"
    default_detail = "send a valid API key in the X-API-Key header"


class Forbidden(FusionError):
    status = 403
    code = "forbidden"
    default_detail = "this API key lacks the scope for this route"


class NotFound(FusionError):
    status = 404
    code = "not_found"
    default_detail = "there is no such thing"


class PathNotFound(NotFound):
    code = "path_not_found"
    default_detail = "there is no such path in this datastore"


class SessionNotFound(NotFound):
    code = "session_not_found"
    default_detail = "this session is unknown, expired or ended; create a new one"


class PositionNotFound(NotFound):
    code = "position_not_found"
    default_detail = "no event with a positive index was accepted for this task yet"


class RouteNotFound(NotFound):
    code = "route_not_found"
    default_detail = "there is no such route; /openapi.json lists all of them"


class MethodNotAllowed(FusionError):
    status = 405
    code = "method_not_allowed"
    default_detail = "this route does not answer this method"


class BodyTooLarge(FusionError):
    """``limit``: bytes a body may have."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is larger than {limit} bytes; send smaller batches", limit=limit)


class SessionObsolete(FusionError):
    status = 419
    code = "session_obsolete"
    default_detail = "this session is obsolete: a newer session took its place"


# Not now, but later


class NotReady(FusionError):
    """The view of a datastore is not to be shown; ``queue`` and ``inflight`` count batches."""

    status = 503
    code = "not_ready"

    def __init__(
        self,
        state: str,
        queue: int,
        inflight: int,
        *,
        detail: str | None = None,
        retry_after_seconds: int = 1,
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"the datastore is not ready (state: {state}); try again later" if detail is None else detail,
            state=state,
            queue=queue,
            inflight=inflight,
        )


class Overloaded(FusionError):
    """The queue is full and stayed full; nothing of the request was taken."""

    status = 503
    code = "overloaded"
    default_detail = "the ingest queue is full; nothing of this batch was taken, send it again later"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail)


# Ours, or the operator's


class InternalError(FusionError):
    """Something unforeseen; the log has the rest."""


class SettingsError(FusionError, ValueError):
    """A wrong or unknown setting: one line that names the key and the allowed values."""

    code = "invalid_settings"
    default_detail = "a setting is wrong"


class DamagedFile(FusionError, ValueError):
    """A saved index that is cut short, changed, or not a saved index of this version at all."""

    code = "damaged_file"
    default_detail = "the file is no saved index, or is damaged"
