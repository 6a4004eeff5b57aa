"""The errors of the product, ordered by blame: the caller's, not ready yet, ours.

Every error knows its HTTP status and its stable ``code`` as class data; ``detail`` is one sentence for a
person and ``extra`` holds the fields that go into the JSON body beside the two.
"""

from __future__ import annotations

import math
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
    retry_after_seconds: int | None = None

    def __init__(self, detail: str | None = None, **extra: Any) -> None:
        self.detail = _SURROGATE.sub("\ufffd", self.default_detail if detail is None else detail)
        self.extra: dict[str, Any] = extra
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """The header fields that belong to the answer."""
        return {} if self.retry_after_seconds is None else {"retry-after": str(self.retry_after_seconds)}


# The caller's fault


class BadRequest(FusionError, ValueError):
    status = 400
    code = "bad_request"
    default_detail = "the request cannot be understood"


class MalformedBody(BadRequest):
    """The body is not JSON at all."""

    code = "malformed_json"
    default_detail = "the body is not valid JSON"


class MalformedEncoding(BadRequest):
    """The body is not what its Content-Encoding says."""

    code = "malformed_encoding"
    default_detail = "the body is not what its Content-Encoding says"


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


class TooManyRequests(FusionError):
    """More than this client may ask for now."""

    status = 429
    code = "too_many_requests"

    def __init__(self, detail: str, *, wait_seconds: float) -> None:
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))
        super().__init__(detail)


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


class CursorExpired(FusionError):
    """The place that a cursor names cannot be told any more."""

    status = 410
    code = "cursor_expired"
    default_detail = "this cursor has expired; start again without a cursor"


class BodyTooLarge(FusionError):
    """``limit``: bytes a body may have."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is larger than {limit} bytes; send smaller batches", limit=limit)


class AnswerTooLarge(FusionError):
    """More than one answer may have.

    `nodes` and `bytes`: what it would have had, None where that is not known; `cursor`: what to ask with, and
    a `limit`, for the same in pages.
    """

    status = 413
    code = "answer_too_large"

    def __init__(self, why: str, *, nodes: int | None, size_bytes: int | None, cursor: str | None) -> None:
        super().__init__(
            f"the answer would have {why}; ask for it in pages, with limit and cursor, or for less of it",
            nodes=nodes,
            bytes=size_bytes,
            cursor=cursor,
        )


class CompressionTooHigh(FusionError):
    """``ratio``: bytes that may come out of a compressed body for each byte of it."""

    status = 413
    code = "compression_ratio"

    def __init__(self, ratio: int) -> None:
        super().__init__(
            f"the body expands to more than {ratio} times its compressed size; send it less compressed",
            ratio=ratio,
        )


class UnsupportedEncoding(FusionError):
    status = 415
    code = "unsupported_encoding"
    default_detail = "of content encodings gzip and zstd are understood, one at a time"

    @property
    def headers(self) -> dict[str, str]:
        return {"accept-encoding": "gzip, zstd"}


class SessionObsolete(FusionError):
    status = 419
    code = "session_obsolete"
    default_detail = "this session is obsolete: a newer session took its place"


class HeaderTooLarge(FusionError):
    """``limit``: bytes that ``what`` (the header fields, or they and the request line) may have together."""

    status = 431
    code = "header_too_large"

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} larger than {limit} bytes; shorten them", limit=limit)


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


class RevisionNotReached(FusionError):
    """The datastore has not come to the revision asked for; ``revision`` is where it is."""

    status = 503
    code = "revision_not_reached"
    retry_after_seconds = 1

    def __init__(self, wanted: int, revision: int) -> None:
        super().__init__(
            f"the datastore is at revision {revision}, and did not come to {wanted} in time; ask again later",
            revision=revision,
        )


class Overloaded(FusionError):
    """The queue is full and stayed full; nothing of the request was taken."""

    status = 503
    code = "overloaded"
    default_detail = "the ingest queue is full; nothing of this batch was taken, send it again later"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail)


class DiskFull(FusionError):
    """The disk has less room than it shall keep; nothing of the request was taken."""

    status = 507
    code = "disk_full"
    default_detail = "the server's disk is full; nothing of this batch was taken, send it again later"
    retry_after_seconds = 5


class JournalFailed(FusionError):
    """The journal could not be written; nothing of the request was taken."""

    status = 503
    code = "journal_failed"
    default_detail = "the journal cannot be written; nothing of this request was taken, send it again later"
    retry_after_seconds = 1


# Ours, or the operator's


class JournalDamaged(FusionError):
    """The journal has a hole: what came after it cannot be known.

    `sequence` is the first record missing or wrong.
    """

    status = 503
    code = "journal_damaged"
    retry_after_seconds = 60

    def __init__(self, sequence: int, why: str) -> None:
        self.sequence = sequence
        super().__init__(f"journal damaged at record {sequence}: {why}", state="damaged", queue=0, inflight=0)


class SequenceConflict(FusionError):
    """Somebody else has written to the log."""

    status = 503
    code = "sequence_conflict"
    retry_after_seconds = 60
    default_detail = "another process has written to this datastore's journal"


class DamagedRecord(FusionError, ValueError):
    """A record of the journal that cannot be read."""

    code = "damaged_record"
    default_detail = "a record of the journal cannot be read"


class CannotListen(FusionError):
    """The server's address is taken, or is none of this machine's."""

    code = "cannot_listen"


class DataDirectoryInUse(FusionError):
    """Another server has the data directory."""

    code = "data_directory_in_use"


class InternalError(FusionError):
    """Something unforeseen; the log has the rest."""


class SettingsError(FusionError, ValueError):
    """A wrong or unknown setting: one line that names the key and the allowed values."""

    code = "invalid_settings"
    default_detail = "a setting is wrong"


class UnknownKey(FusionError, KeyError):
    """There is no API key of this id."""

    code = "unknown_key"


class DamagedFile(FusionError, ValueError):
    """A saved index that is cut short, changed, or not a saved index of this version at all."""

    code = "damaged_file"
    default_detail = "the file is no saved index, or is damaged"


class DamagedBatch(FusionError, ValueError):
    """A packed batch that is cut short, changed, or none of this version at all."""

    code = "damaged_batch"
    default_detail = "the bytes are no packed batch, or are damaged"
