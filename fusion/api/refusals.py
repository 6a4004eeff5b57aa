"""The log's lines about requests that were refused for our own reasons."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sanic import Request

from fusion.api.request_ids import request_id
from fusion.errors import FusionError, InternalError
from fusion.logs import event

log = logging.getLogger("fusion.api")

# Who is refused comes again, and again: of one kind there is a line, and then none for so long.
QUIET_SECONDS = 1.0
# What the state of a datastore says already, which has lines of its own.
_KNOWN = ("not_ready", "journal_damaged", "revision_not_reached")


class RefusalLog:
    """Tells of 5xx answers: of each failure of ours, and of refusals now and then, with their number."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told_at: dict[tuple[str, str | None], float] = {}
        self._untold: dict[tuple[str, str | None], int] = {}

    def add(
        self, request: Request, failure: FusionError, exception: BaseException, datastore: str | None
    ) -> None:
        """A request is answered with a failure of 5xx. The path is told without its query."""
        fields = {
            "datastore": datastore,
            "request_id": request_id(request),
            "method": request.method,
            "path": request.path,
            "status": failure.status,
            "code": failure.code,
        }
        if isinstance(failure, InternalError):
            log.error(
                "a request failed",
                exc_info=exception,
                extra={"event": "request_failed", "fields": fields},
            )
            return
        key, now = (failure.code, datastore), self._monotonic()
        if now - self._told_at.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            self._untold[key] = self._untold.get(key, 0) + 1
            return
        self._told_at[key] = now
        level = logging.DEBUG if failure.code in _KNOWN else logging.WARNING
        event(log, level, "request_refused", failure.detail, **fields, untold=self._untold.pop(key, 0))
