"""Token buckets: over any time nobody gets more than the rate and what was saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.api.buckets import MOST_ADDRESSES, Bucket, FailedTries, network_of

steps = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=60)


@given(st.floats(0.01, 1000), st.floats(0, 60), steps)
def test_what_is_admitted_is_bounded(
    rate: float, saved_seconds: float, steps: list[tuple[float, float]]
) -> None:
    bucket, now, taken, largest = Bucket(rate, saved_seconds, 0.0), 0.0, 0.0, 0.0
    for pause, tokens in steps:
        now += pause
        if not bucket.wait_seconds(now):
            bucket.take(tokens)
            taken, largest = taken + tokens, max(largest, tokens)
    allowed = max(1.0, rate * saved_seconds) + rate * now + largest  # the last one may make a debt
    assert taken <= allowed * (1 + 1e-9)


@given(st.floats(0.01, 1000), st.floats(0, 60), st.lists(st.floats(0, 1000), min_size=1, max_size=20))
def test_whoever_waits_as_told_is_admitted(rate: float, saved_seconds: float, takes: list[float]) -> None:
    bucket, now = Bucket(rate, saved_seconds, 0.0), 0.0
    for tokens in takes:
        for _ in range(3):  # rounding may leave a little
            now += bucket.wait_seconds(now) * (1 + 1e-9)
        assert bucket.wait_seconds(now) < 1e-6
        bucket.take(tokens)


def test_failed_tries() -> None:
    tries = FailedTries(60)
    for _ in range(60):
        assert not tries.wait_seconds("10.0.0.1", 0.0)
        tries.note("10.0.0.1", 0.0)
    assert tries.wait_seconds("10.0.0.1", 0.0) > 0
    assert not tries.wait_seconds("10.0.0.2", 0.0)
    assert not tries.wait_seconds("10.0.0.1", 1.5)


def test_no_limit_of_failed_tries() -> None:
    tries = FailedTries(0)
    for _ in range(1000):
        tries.note("::1", 0.0)
    assert not tries.wait_seconds("::1", 0.0)


def test_addresses_are_forgotten_in_time() -> None:
    tries = FailedTries(1)
    for number in range(MOST_ADDRESSES + 100):
        tries.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(tries._buckets) == MOST_ADDRESSES
    assert not tries.wait_seconds("10.0.0.1", 0.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network
