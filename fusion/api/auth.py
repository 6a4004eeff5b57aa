"""API keys: who is asking, for which datastore, and what may they do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from math import inf
from typing import Protocol

from fusion.api.buckets import Bucket, FailedTries
from fusion.errors import Forbidden, TooManyRequests, Unauthorized
from fusion.keys import id_of
from fusion.settings import KeySettings, ServerSettings, sha256_of

# What a key can save up of its rates.
SAVED_SECONDS = 5.0
# Compared with where there is no key to compare with.
_NOBODY = "0" * 64


class Peer(Protocol):
    """The other end of a connection."""

    @property
    def client_ip(self) -> str: ...


class Grant:
    """What one key opens: a single datastore, and the scopes there."""

    __slots__ = (
        "_bytes",
        "_requests",
        "datastore",
        "expires",
        "id",
        "is_limited",
        "key_sha256",
        "last_used",
        "scopes",
    )

    def __init__(self, key: KeySettings, server: ServerSettings) -> None:
        self.id = key.id
        self.datastore = key.datastore
        self.scopes = frozenset(key.scopes)
        self.key_sha256 = key.key_sha256
        self.expires = key.expires.timestamp() if key.expires is not None else inf
        self.last_used = 0.0  # seconds since the epoch
        self._requests = bucket(key.requests_per_second, server.key_requests_per_second)
        self._bytes = bucket(key.bytes_per_second, server.key_bytes_per_second)
        self.is_limited = self._requests is not None or self._bytes is not None

    def admit(self) -> None:
        """One more request. Raises TooManyRequests."""
        now = time.monotonic()
        for limit, what in ((self._bytes, "bytes"), (self._requests, "requests")):
            if limit is not None and (wait_seconds := limit.wait_seconds(now)):
                raise TooManyRequests(
                    f"this API key has had its {what} for now; ask again later", wait_seconds=wait_seconds
                )
        if self._requests is not None:
            self._requests.take(1)

    def charge(self, size_bytes: int) -> None:
        """So much has come or gone."""
        if self._bytes is not None:
            self._bytes.take(size_bytes)

    def go_on_from(self, other: Grant) -> None:
        """The same key, as it was known before."""
        self.last_used = other.last_used
        self._requests = other._requests if self._requests is not None else None
        self._bytes = other._bytes if self._bytes is not None else None


def bucket(own: int | None, common: int) -> Bucket | None:
    """For a rate; None for none."""
    rate = common if own is None else own
    return Bucket(rate, SAVED_SECONDS, time.monotonic()) if rate else None


class KeyRing:
    """The configured keys and those made since, known by the SHA-256 of their text alone."""

    def __init__(self, configured: Iterable[KeySettings], server: ServerSettings) -> None:
        self._server = server
        self._configured = [Grant(key, server) for key in configured]
        self._made: dict[str, Grant] = {}  # by the id of their key
        self._shown: dict[str, Grant] = {}  # known keys that were presented, so that each is hashed once
        self._failed = FailedTries(server.failed_tries_per_minute)

    def install(self, made: Iterable[KeySettings]) -> None:
        """These keys beside the configured ones, and no others from now on."""
        before, self._made = self._made, {}
        for key in made:
            assert key.id is not None
            grant = self._made[key.id] = Grant(key, self._server)
            if (known := before.get(key.id)) is not None and known.key_sha256 == key.key_sha256:
                grant.go_on_from(known)
        # Who was let in before stays so, however many wrong keys come from the same address.
        shown = ((text, self._anew(grant)) for text, grant in self._shown.items())
        self._shown = {text: grant for text, grant in shown if grant is not None}

    def _anew(self, grant: Grant) -> Grant | None:
        """What the grant's key opens now."""
        if grant.id is None:
            return grant
        made = self._made.get(grant.id)
        return made if made is not None and made.key_sha256 == grant.key_sha256 else None

    def last_used(self) -> dict[str, float]:
        """When those made since the start were used, by id: seconds since the epoch."""
        return {identity: grant.last_used for identity, grant in self._made.items() if grant.last_used}

    def authorise(self, presented: str | None, scope: str, peer: Peer | None = None) -> Grant:
        """The grant behind a key.

        Raises Unauthorized without a known one, Forbidden without the scope, and TooManyRequests when the
        key has none left, or the peer has presented too many that are wrong.
        """
        if not presented:
            raise Unauthorized()
        now = time.time()
        grant = self._shown.get(presented)
        if grant is None:
            grant = self._first_seen(presented, now, peer.client_ip if peer is not None else "")
        if now >= grant.expires:
            self._shown.pop(presented, None)
            raise Unauthorized()
        grant.last_used = now
        if scope not in grant.scopes:
            raise Forbidden(f"this API key lacks the scope '{scope}', which this route needs")
        if grant.is_limited:
            grant.admit()
        return grant

    def known(self, presented: str) -> Grant:
        """The grant of a key that was authorised just now."""
        return self._shown[presented]

    def _first_seen(self, presented: str, now: float, address: str) -> Grant:
        monotonic = time.monotonic()
        if wait_seconds := self._failed.wait_seconds(address, monotonic):
            raise TooManyRequests(
                "too many wrong API keys came from this address; try again later", wait_seconds=wait_seconds
            )
        grant = self._find(presented)
        if grant is None or now >= grant.expires:
            self._failed.note(address, monotonic)
            raise Unauthorized()
        self._shown[presented] = grant
        return grant

    def _find(self, presented: str) -> Grant | None:
        digest = sha256_of(presented)
        made = self._made.get(id_of(presented) or "")
        # As many comparisons whatever was presented, so that the time taken tells nothing about which key
        # came close, or which id there is.
        is_made = hmac.compare_digest(made.key_sha256 if made is not None else _NOBODY, digest)
        found = made if is_made else None
        for grant in self._configured:
            if hmac.compare_digest(grant.key_sha256, digest):
                found = grant
        return found
