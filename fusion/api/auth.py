"""API keys: who is asking, for which datastore, and what may they do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from fusion.errors import Forbidden, Unauthorized
from fusion.settings import KeySettings


@dataclass(frozen=True, slots=True)
class Grant:
    """What one key opens: a single datastore, and the scopes there."""

    datastore: str
    scopes: frozenset[str]


class KeyRing:
    """The configured keys, known by the SHA-256 of their text alone."""

    def __init__(self, keys: Iterable[KeySettings]) -> None:
        self._grants = [
            (bytes.fromhex(key.key_sha256), Grant(key.datastore, frozenset(key.scopes))) for key in keys
        ]
        self._shown: dict[str, Grant] = {}  # known keys that were presented, so that each is hashed once

    def authorise(self, presented: str | None, scope: str) -> Grant:
        """The grant behind a key. Raises Unauthorized without a known one, Forbidden without the scope."""
        if not presented:
            raise Unauthorized()
        grant = self._shown.get(presented)
        if grant is None:
            grant = self._find(presented)
            if grant is None:
                raise Unauthorized()
            self._shown[presented] = grant
        if scope not in grant.scopes:
            raise Forbidden(f"this API key lacks the scope '{scope}', which this route needs")
        return grant

    def _find(self, presented: str) -> Grant | None:
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        found = None
        # Every key is compared, so that the time taken tells nothing about which one came close.
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found
