"""The key ring: who gets in, for how long and how often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from fusion.api import auth
from fusion.api.auth import KeyRing
from fusion.errors import Forbidden, TooManyRequests, Unauthorized
from fusion.keys import new_key
from fusion.settings import KeySettings, ServerSettings, sha256_of

PEER = SimpleNamespace(client_ip="192.0.2.1")
OTHER = SimpleNamespace(client_ip="192.0.2.2")


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    offset = 0.0
    begin = datetime(2026, 1, 31, tzinfo=UTC).timestamp()
    monkeypatch.setattr(auth.time, "time", lambda: begin + offset)
    monkeypatch.setattr(auth.time, "monotonic", lambda: offset)

    def wait(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    return wait


def ring(*configured: KeySettings, **server: int) -> KeyRing:
    return KeyRing(configured, ServerSettings(**server))  # type: ignore[arg-type]


def test_configured_and_made_keys_stand_side_by_side() -> None:
    keys = ring(KeySettings(sha256_of("plain"), "one", ("read",)))
    text, made = new_key("two", ("ingest",))
    assert keys.authorise("plain", "read").datastore == "one"
    with pytest.raises(Unauthorized):
        keys.authorise(text, "ingest")
    keys.install([made])
    assert keys.authorise(text, "ingest").datastore == "two"
    assert keys.authorise("plain", "read").datastore == "one"
    with pytest.raises(Forbidden):
        keys.authorise(text, "read")
    keys.install([])
    with pytest.raises(Unauthorized):
        keys.authorise(text, "ingest")
    assert keys.authorise("plain", "read").datastore == "one"


@pytest.mark.parametrize("place", [4, 11, 13, 55])
def test_every_character_counts(place: int) -> None:
    text, made = new_key("one", ("read",))
    keys = ring()
    keys.install([made])
    wrong = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
    with pytest.raises(Unauthorized) as refusal:
        keys.authorise(wrong, "read")
    assert text not in str(refusal.value) and wrong not in str(refusal.value)
    assert keys.authorise(text, "read")


def test_a_key_expires(wait: Callable[[float], None]) -> None:
    expires = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=60)
    text, made = new_key("one", ("read",), expires=expires)
    keys = ring()
    keys.install([made])
    assert keys.authorise(text, "read")
    wait(59)
    assert keys.authorise(text, "read")
    wait(1)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            keys.authorise(text, "read")


def test_use_is_known_and_outlives_a_reload(wait: Callable[[float], None]) -> None:
    (text, made), (_, unused) = new_key("one", ("read",)), new_key("one", ("read",))
    keys = ring(KeySettings(sha256_of("plain"), "one", ("read",)))
    keys.install([made, unused])
    wait(5)
    keys.authorise(text, "read")
    keys.authorise("plain", "read")
    used = {made.id: datetime(2026, 1, 31, tzinfo=UTC).timestamp() + 5}
    assert keys.last_used() == used
    keys.install([unused, made])
    assert keys.last_used() == used


def test_a_rate_of_requests(wait: Callable[[float], None]) -> None:
    text, made = new_key("one", ("read",), requests_per_second=2)
    keys = ring()
    keys.install([made])
    for _ in range(10):  # what five seconds saved
        keys.authorise(text, "read").charge(1 << 40)
    with pytest.raises(TooManyRequests) as refusal:
        keys.authorise(text, "read")
    assert refusal.value.headers == {"retry-after": "1"}
    keys.install([made])  # a reload gives nothing back
    with pytest.raises(TooManyRequests):
        keys.authorise(text, "read")
    wait(1)
    assert keys.authorise(text, "read") and keys.authorise(text, "read")
    with pytest.raises(TooManyRequests):
        keys.authorise(text, "read")


def test_a_rate_of_bytes(wait: Callable[[float], None]) -> None:
    keys = ring(KeySettings(sha256_of("plain"), "one", ("read",)), key_bytes_per_second=1000)
    keys.authorise("plain", "read").charge(25_000)
    with pytest.raises(TooManyRequests) as refusal:
        keys.authorise("plain", "read")
    assert refusal.value.headers == {"retry-after": "21"}
    wait(20.1)
    assert keys.authorise("plain", "read")


def test_a_limit_of_its_own_wins(wait: Callable[[float], None]) -> None:
    keys = ring(
        KeySettings(sha256_of("plain"), "one", ("read",), requests_per_second=0), key_requests_per_second=1
    )
    grant = keys.authorise("plain", "read")
    assert not grant.is_limited
    for _ in range(100):
        keys.authorise("plain", "read")


def test_wrong_keys_of_one_address(wait: Callable[[float], None]) -> None:
    keys = ring(
        KeySettings(sha256_of("plain"), "one", ("read",)),
        KeySettings(sha256_of("later"), "one", ("read",)),
        failed_tries_per_minute=60,
    )
    keys.authorise("plain", "read", PEER)
    for number in range(60):
        with pytest.raises(Unauthorized):
            keys.authorise(f"wrong {number}", "read", PEER)
    for wrong in ("wrong", "later"):  # right or wrong: nobody learns which
        with pytest.raises(TooManyRequests):
            keys.authorise(wrong, "read", PEER)
    assert keys.authorise("plain", "read", PEER)  # who was let in before stays so
    keys.install([])
    assert keys.authorise("plain", "read", PEER)
    assert keys.authorise("later", "read", OTHER)
    with pytest.raises(Unauthorized):
        keys.authorise(None, "read", PEER)
    wait(2)
    with pytest.raises(Unauthorized):
        keys.authorise("wrong", "read", PEER)
