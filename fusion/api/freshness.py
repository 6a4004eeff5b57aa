"""How new an answer is: waiting for a revision, and the head fields that tell the one shown."""

from __future__ import annotations

from fusion.api.patience import Patience
from fusion.datastore import Datastore
from fusion.errors import RevisionNotReached

POLL_SECONDS = 0.005

# An answer depends on the key, and is to be asked for again each time: the tag makes that cheap.
_VIEW = (
    b"x-fusion-state: ready\r\n"
    b"vary: accept-encoding, x-api-key\r\n"
    b"cache-control: private, no-cache\r\n"
    b"x-fusion-revision: %d\r\n"
)
JSON = b"content-type: application/json\r\n" + _VIEW
NDJSON = b"content-type: application/x-ndjson\r\n" + _VIEW


async def fresh(datastore: Datastore, ready: int, min_revision: int | None, patience: Patience) -> int:
    """Wait until the index has come to that revision; returns a newer mark of `check_ready`.

    Raises NotReady, and RevisionNotReached.
    """
    while min_revision is not None and (revision := datastore.index.revision) < min_revision:
        if patience.left_seconds <= 0:
            raise RevisionNotReached(min_revision, revision)
        await patience.sleep(POLL_SECONDS)
        ready = datastore.check_ready()
    return ready
