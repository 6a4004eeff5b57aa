"""The log: one line for each thing that happened, on standard error, as text or as JSON.

State changes are told, never rows. What a record is about goes into fields of their own (`event`), so that
nobody has to take sentences apart. Keys and headers of requests are never among them.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

# Texts of others (the name of a task, the reason of an anomaly) are cut to this length.
MOST_CHARACTERS = 500


def event(logger: logging.Logger, level: int, name: str, text: str, /, **fields: Any) -> None:
    """Log that something happened.

    name: what, in snake_case; stable. text: a sentence for people. fields: what it is about, for machines.
    """
    logger.log(level, "%s", text, extra={"event": name, "fields": fields})


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Let everything that logs in this process, and Python's warnings, go to `stream` (standard error).

    `level` is about Fusion's own: of frameworks warnings and errors are told, and all with `debug`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("fusion").setLevel(level.upper())
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a standard error that cannot be written is no reason to fail


def described(record: logging.LogRecord) -> dict[str, Any]:
    """A record as a document; the order of the keys is that in the line."""
    document = {
        "ts": timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": getattr(record, "event", "message"),
        **{name: _cut(value) for name, value in getattr(record, "fields", {}).items()},
        "message": record.getMessage(),
    }
    if record.exc_info:
        document["exception"] = logging.Formatter().formatException(record.exc_info)
    return document


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return value[: MOST_CHARACTERS - 3] + "..."
    return value


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII whatever the texts are."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(described(record), default=str)


class TextFormatter(logging.Formatter):
    """`time LEVEL logger event field=value ...: sentence`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        document = described(record)
        ts, level, name, what, message = (
            document.pop(key) for key in ("ts", "level", "logger", "event", "message")
        )
        trace = document.pop("exception", None)
        fields = "".join(f" {key}={_quoted(value)}" for key, value in document.items())
        line = f"{ts} {level.upper():<7} {name} {what}{fields}: {_one_line(message)}"
        return line if trace is None else f"{line}\n{trace}"


def _quoted(value: Any) -> str:
    """A value that ends where it seems to end."""
    text = str(value)
    is_plain = text.isprintable() and text and not set(text) & set(" \"'=:")
    return text if is_plain and text.isascii() else json.dumps(text)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
