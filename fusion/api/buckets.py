"""Token buckets: how much a client may have, on average, and what it can save up."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

# The addresses remembered; those that failed longest ago are forgotten first.
MOST_ADDRESSES = 10_000
TRIES_SAVED_SECONDS = 60.0


class Bucket:
    """Tokens that come at a rate, up to a number. What is taken beyond them is a debt, and is waited for."""

    __slots__ = ("_level", "_most", "_rate", "_seen")

    def __init__(self, rate: float, saved_seconds: float, now: float) -> None:
        """rate: tokens per second. now: seconds of a monotonic clock, as everywhere here."""
        self._rate = rate
        self._most = self._level = max(1.0, rate * saved_seconds)
        self._seen = now

    def wait_seconds(self, now: float) -> float:
        """Until there is a whole token; 0 when there is."""
        self._level = min(self._most, self._level + self._rate * (now - self._seen))
        self._seen = now
        return 0.0 if self._level >= 1 else (1 - self._level) / self._rate

    def take(self, tokens: float) -> None:
        self._level -= tokens


class FailedTries:
    """Wrong keys by address, so that nobody can go on guessing, or keep the server hashing."""

    def __init__(self, per_minute: int) -> None:
        """0: no limit."""
        self._rate = per_minute / 60
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """Until the address may try again; 0: it may."""
        bucket = self._buckets.get(network_of(address)) if self._rate else None
        return 0.0 if bucket is None else bucket.wait_seconds(now)

    def note(self, address: str, now: float) -> None:
        """It has failed."""
        if not self._rate:
            return
        network = network_of(address)
        bucket = self._buckets.get(network)
        if bucket is None:
            bucket = self._buckets[network] = Bucket(self._rate, TRIES_SAVED_SECONDS, now)
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(network)
        bucket.take(1)


def network_of(address: str) -> str:
    """What one client has: an address of IPv4, 64 bits of one of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return address
