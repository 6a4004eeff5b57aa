"""What ends a session of the agent and is mended by the next one's snapshot."""

from typing import Any


class ChangesLost(Exception):
    """The server cannot be told every change: only a new scan can. The text says why.

    `differences`: where the server is known to be wrong, as the anomaly signal tells them.
    """

    def __init__(self, reason: str, differences: list[dict[str, Any]] | None = None) -> None:
        super().__init__(reason)
        self.differences = differences or []


class RootReplaced(Exception):
    """The watched directory went away and is there again."""
