"""The `fusion` command on another log: `other_log.py NAME ARGUMENTS...`, a name of logs.py."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from logs import LOGS, BareLog

from fusion.api import app
from fusion.cli import main


class CompleteLog:
    """What logs that are only measured lack for the service: enough for one life of it."""

    def __init__(self, log: BareLog) -> None:
        self._log = log
        self.append, self.read, self.trim, self.close = log.append, log.read, log.trim, log.close
        self.lease: str | None = None

    @property
    def last_sequence(self) -> int:
        return self._log.last_sequence

    acknowledged = last_sequence

    def swap_lease(self, expected: str | None, holder: str | None) -> bool:
        self.lease = holder
        return True


def open_log(name: str, path: Path, *, sync: bool) -> CompleteLog:
    assert sync
    directory = path.with_suffix("")
    directory.mkdir()
    return CompleteLog(LOGS[name](directory))


if __name__ == "__main__":
    app.Journal = partial(app.Journal, open_log=partial(open_log, sys.argv.pop(1)))  # type: ignore[misc]
    sys.exit(main())
