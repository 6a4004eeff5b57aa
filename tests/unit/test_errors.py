"""Errors: status and code of each class, what is sent, and that it can be sent."""

from __future__ import annotations

import orjson
import pytest

from fusion import errors
from fusion.errors import FusionError, InvalidField

# class -> status, code
TABLE: dict[type[FusionError], tuple[int, str]] = {
    errors.FusionError: (500, "internal_error"),
    errors.BadRequest: (400, "bad_request"),
    errors.MalformedBody: (400, "malformed_json"),
    errors.MalformedEncoding: (400, "malformed_encoding"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.PathNotFound: (404, "path_not_found"),
    errors.SessionNotFound: (404, "session_not_found"),
    errors.PositionNotFound: (404, "position_not_found"),
    errors.RouteNotFound: (404, "route_not_found"),
    errors.MethodNotAllowed: (405, "method_not_allowed"),
    errors.CursorExpired: (410, "cursor_expired"),
    errors.BodyTooLarge: (413, "body_too_large"),
    errors.AnswerTooLarge: (413, "answer_too_large"),
    errors.CompressionTooHigh: (413, "compression_ratio"),
    errors.UnsupportedEncoding: (415, "unsupported_encoding"),
    errors.SessionObsolete: (419, "session_obsolete"),
    errors.InvalidField: (422, "invalid_field"),
    errors.HeaderTooLarge: (431, "header_too_large"),
    errors.TooManyRequests: (429, "too_many_requests"),
    errors.UnknownKey: (500, "unknown_key"),
    errors.InternalError: (500, "internal_error"),
    errors.SettingsError: (500, "invalid_settings"),
    errors.DamagedFile: (500, "damaged_file"),
    errors.DiskFull: (507, "disk_full"),
    errors.JournalFailed: (503, "journal_failed"),
    errors.JournalDamaged: (503, "journal_damaged"),
    errors.SequenceConflict: (503, "sequence_conflict"),
    errors.DamagedRecord: (500, "damaged_record"),
    errors.CannotListen: (500, "cannot_listen"),
    errors.DataDirectoryInUse: (500, "data_directory_in_use"),
    errors.DamagedBatch: (500, "damaged_batch"),
    errors.NotReady: (503, "not_ready"),
    errors.RevisionNotReached: (503, "revision_not_reached"),
    errors.Overloaded: (503, "overloaded"),
}


def test_table_is_complete() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, FusionError)
    }
    assert defined == set(TABLE)


@pytest.mark.parametrize("error", TABLE, ids=lambda error: error.__name__)
def test_status_and_code(error: type[FusionError]) -> None:
    assert (error.status, error.code) == TABLE[error]


def test_only_the_unforeseen_shares_its_code() -> None:
    codes = [error.code for error in TABLE if error is not FusionError]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "error",
    [
        errors.MalformedBody,
        errors.InvalidField,
        errors.SettingsError,
        errors.DamagedFile,
        errors.DamagedBatch,
    ],
)
def test_wrong_input_is_a_value_error(error: type[FusionError]) -> None:
    assert issubclass(error, ValueError)


def test_detail_defaults_to_a_sentence_of_the_class() -> None:
    error = errors.PathNotFound()
    assert error.detail == str(error) == errors.PathNotFound.default_detail
    assert error.extra == {}
    assert errors.PathNotFound("no /a here").detail == "no /a here"


def test_extra_fields_are_kept() -> None:
    assert errors.BadRequest("no", header="session-id").extra == {"header": "session-id"}


def test_invalid_field_names_its_pointer() -> None:
    error = InvalidField("size must be an integer", "/events/3/rows/17/size")
    assert error.pointer == "/events/3/rows/17/size"
    assert error.extra == {"pointer": "/events/3/rows/17/size"}
    assert InvalidField().extra == {"pointer": ""}


def test_body_too_large_names_the_limit() -> None:
    error = errors.BodyTooLarge(1024)
    assert error.extra == {"limit": 1024}
    assert "1024" in error.detail


def test_obsolete_says_so() -> None:
    assert "obsolete" in errors.SessionObsolete().detail


def test_not_ready_tells_why() -> None:
    error = errors.NotReady("draining", 3, 1)
    assert error.extra == {"state": "draining", "queue": 3, "inflight": 1}
    assert "draining" in error.detail
    assert error.retry_after_seconds == 1


def test_overloaded_tells_when_to_come_back() -> None:
    error = errors.Overloaded(retry_after_seconds=2)
    assert error.retry_after_seconds == 2
    assert error.extra == {}


def test_damage_names_the_record() -> None:
    error = errors.JournalDamaged(7, "its checksum is wrong")
    assert error.detail == "journal damaged at record 7: its checksum is wrong"
    assert (error.sequence, error.extra["state"]) == (7, "damaged")
    assert error.retry_after_seconds >= 1


def test_surrogates_never_reach_the_wire() -> None:
    error = InvalidField("no \udce4 here, nor \ud800", "/\udc80")
    assert error.detail == "no \ufffd here, nor \ufffd"
    assert error.pointer == "/\ufffd"
    orjson.dumps({"detail": error.detail, **error.extra})
