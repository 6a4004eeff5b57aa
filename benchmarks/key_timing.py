"""Whether the time of a refusal tells how wrong a key was: python benchmarks/key_timing.py URL KEY [ROUNDS]

KEY is one that the server knows, `fus_<id>_<secret>`. Made of it are keys that are wrong in the id, in the
first byte of the secret and in its last, and sent in random order over one connection. All have to get the
same answer. Printed is, for each two kinds, how often the one takes longer than the other (0.5: neither) and
how likely so much or more would be by chance (Mann and Whitney). Chance alone gives less than 0.01 in one of
a hundred comparisons: repeat it.
"""

from __future__ import annotations

import itertools
import math
import random
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

ROUNDS = 20_000
# The server's caches and the processor's clock are not what is asked for.
WARM_UP_ROUNDS = 500

Times = NDArray[np.float64]


class Difference(NamedTuple):
    """How often the second kind takes longer than the first, and the probability of that by chance."""

    share: float
    chance: float


def wrong_keys(key: str) -> dict[str, str]:
    """Keys of the same length that are wrong in one byte, by where it is."""
    prefix, identity, secret = key.split("_", 2)
    return {
        "id": "_".join((prefix, identity[:-1] + other(identity[-1]), secret)),
        "first byte": "_".join((prefix, identity, other(secret[0]) + secret[1:])),
        "last byte": "_".join((prefix, identity, secret[:-1] + other(secret[-1]))),
    }


def other(character: str) -> str:
    return "1" if character == "0" else "0"


def times(host: str, port: int, keys: Mapping[str, str], rounds: int, seed: int = 0) -> dict[str, Times]:
    """Seconds until each answer, by the kind of key. Raises AssertionError where the answers differ."""
    order = random.Random(seed)
    requests = {
        kind: (
            f"GET /views/fs/stats HTTP/1.1\r\nHost: {host}\r\nX-Request-ID: same\r\nX-API-Key: {key}\r\n\r\n"
        ).encode()
        for kind, key in keys.items()
    }
    found: dict[str, list[float]] = {kind: [] for kind in keys}
    answers: set[bytes] = set()
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(WARM_UP_ROUNDS + rounds):
            for kind in order.sample(list(keys), len(keys)):
                began = time.perf_counter()
                connection.sendall(requests[kind])
                answer = connection.recv(65_536)
                took = time.perf_counter() - began
                answers.add(answer)
                if number >= WARM_UP_ROUNDS:
                    found[kind].append(took)
    assert len(answers) == 1, f"the answers differ: {sorted(answers)[:2]}"
    assert answers.pop().startswith(b"HTTP/1.1 401 "), "a key that should be wrong is not"
    return {kind: np.array(values) for kind, values in found.items()}


def compare(one: Times, two: Times) -> Difference:
    """The rank test of Mann and Whitney, by its normal approximation; equal times share their ranks."""
    _, places, counts = np.unique(np.concatenate((one, two)), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    n, m = len(one), len(two)
    above = float(ranks[n:].sum()) - m * (m + 1) / 2
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    z = (above - n * m / 2) / math.sqrt(variance) if variance else 0.0
    return Difference(above / (n * m), math.erfc(abs(z) / math.sqrt(2)))


def main(arguments: Sequence[str]) -> None:
    url, key, *more = arguments
    address = urlsplit(url)
    assert address.hostname and address.port, "the URL must have a host and a port"
    measured = times(address.hostname, address.port, wrong_keys(key), int(more[0]) if more else ROUNDS)
    for kind, took in measured.items():
        low, middle, high = np.percentile(took, (10, 50, 90)) * 1e6
        print(f"{kind:10}  {middle:7.1f} µs in the middle, {low:.1f} to {high:.1f} µs for four in five")
    for one, two in itertools.combinations(measured, 2):
        found = compare(measured[one], measured[two])
        print(
            f"{two} longer than {one}: {found.share:.4f} of the time, by chance with p = {found.chance:.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
