"""Who may write: sessions and their leases."""

from __future__ import annotations

import pytest

from fusion.errors import SessionNotFound, SessionObsolete
from fusion.sessions import REMEMBERED_OBSOLETE, Session, Sessions

TIMEOUT = 30


def session(session_id: str, task_id: str = "task", *, now: float = 0.0, timeout: int = TIMEOUT) -> Session:
    return Session(session_id, task_id, "10.0.0.1", timeout, created_at=now, last_activity=now, seen=now)


def opened(sessions: Sessions, session_id: str, task_id: str = "task", now: float = 0.0) -> Session:
    new = session(session_id, task_id, now=now)
    sessions.open(new)
    return new


def active(sessions: Sessions) -> list[str]:
    return [session.session_id for session in sessions.active()]


@pytest.fixture
def exclusive() -> Sessions:
    return Sessions(allow_concurrent=False)


@pytest.fixture
def concurrent() -> Sessions:
    return Sessions(allow_concurrent=True)


def test_there_is_nobody_at_first(exclusive: Sessions) -> None:
    assert exclusive.authoritative is None
    assert active(exclusive) == []
    with pytest.raises(SessionNotFound):
        exclusive.find("a")


# The newest wins


def test_the_newest_session_is_authoritative(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    assert exclusive.authoritative == "a"
    opened(exclusive, "b", "other")
    assert exclusive.authoritative == "b"
    assert active(exclusive) == ["b"]


def test_in_an_exclusive_datastore_the_one_before_it_is_obsolete(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    opened(exclusive, "b", "other")
    for ask in (exclusive.find, exclusive.admit):
        with pytest.raises(SessionObsolete):
            ask("a")
    assert exclusive.find("b").session_id == "b"


def test_in_a_concurrent_datastore_other_tasks_stay_active(concurrent: Sessions) -> None:
    opened(concurrent, "a", "one")
    opened(concurrent, "b", "two")
    assert active(concurrent) == ["a", "b"]
    assert concurrent.authoritative == "b"
    assert concurrent.admit("a").task_id == "one"


def test_in_a_concurrent_datastore_the_same_task_replaces_its_predecessor(concurrent: Sessions) -> None:
    opened(concurrent, "a", "one")
    opened(concurrent, "b", "two")
    opened(concurrent, "c", "one")
    assert active(concurrent) == ["b", "c"]
    with pytest.raises(SessionObsolete):
        concurrent.find("a")


def test_the_newest_obsolete_ids_are_remembered() -> None:
    sessions = Sessions(allow_concurrent=False, remembered=3)
    for number in range(5):
        opened(sessions, f"s{number}")
    for remembered in ("s1", "s2", "s3"):
        with pytest.raises(SessionObsolete):
            sessions.find(remembered)
    with pytest.raises(SessionNotFound):
        sessions.find("s0")


def test_ten_thousand_obsolete_ids_are_remembered(exclusive: Sessions) -> None:
    for number in range(REMEMBERED_OBSOLETE + 2):
        opened(exclusive, f"s{number}")
    with pytest.raises(SessionNotFound):
        exclusive.find("s0")
    for number in (1, 2, REMEMBERED_OBSOLETE):
        with pytest.raises(SessionObsolete):
            exclusive.find(f"s{number}")
    assert REMEMBERED_OBSOLETE == 10_000


# The end


def test_when_the_authoritative_session_ends_nobody_inherits(concurrent: Sessions) -> None:
    opened(concurrent, "a", "one")
    opened(concurrent, "b", "two")
    concurrent.end("b")
    assert concurrent.authoritative is None
    assert active(concurrent) == ["a"]
    with pytest.raises(SessionNotFound):
        concurrent.find("b")


def test_the_end_of_another_session_leaves_the_authoritative_one(concurrent: Sessions) -> None:
    opened(concurrent, "a", "one")
    opened(concurrent, "b", "two")
    concurrent.end("a")
    assert concurrent.authoritative == "b"


def test_an_ended_session_cannot_end_again(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    exclusive.end("a")
    with pytest.raises(SessionNotFound):
        exclusive.end("a")


def test_ending_an_obsolete_session_has_no_effect(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    opened(exclusive, "b")
    exclusive.end("a")
    with pytest.raises(SessionObsolete):
        exclusive.find("a")
    assert exclusive.authoritative == "b"


# Leases


def test_a_session_expires_when_silent_for_longer_than_its_timeout(exclusive: Sessions) -> None:
    opened(exclusive, "a", now=5.0)
    assert exclusive.sweep(5.0 + TIMEOUT) == []
    assert exclusive.admit("a")
    assert exclusive.sweep(5.5 + TIMEOUT) == ["a"]
    assert active(exclusive) == []
    with pytest.raises(SessionNotFound):
        exclusive.admit("a")


def test_the_log_lets_an_expired_session_write_until_it_says_so(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    exclusive.sweep(TIMEOUT + 1)
    assert exclusive.find("a").expired
    assert exclusive.authoritative == "a"
    exclusive.expire("a")
    assert exclusive.authoritative is None
    with pytest.raises(SessionNotFound):
        exclusive.find("a")


def test_expiry_is_told_once(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    assert exclusive.sweep(TIMEOUT + 1) == ["a"]
    assert exclusive.sweep(TIMEOUT + 2) == []


def test_a_sign_of_life_starts_the_time_anew(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    for now in range(20, 400, 20):
        assert exclusive.sweep(now) == []
        exclusive.touch(exclusive.admit("a"), now, at=1e9 + now)
    assert exclusive.admit("a").last_activity == 1e9 + 380
    assert exclusive.sweep(380 + TIMEOUT + 1) == ["a"]


def test_each_session_expires_for_itself(concurrent: Sessions) -> None:
    opened(concurrent, "a", "one", now=0)
    opened(concurrent, "b", "two", now=10)
    opened(concurrent, "c", "three", now=20)
    concurrent.sweep(15)
    concurrent.touch(concurrent.admit("a"), 15, at=0)
    assert concurrent.sweep(41) == ["b"]
    assert concurrent.sweep(46) == ["a"]
    assert active(concurrent) == ["c"]
    assert concurrent.sweep(51) == ["c"]


def test_timeouts_may_differ(concurrent: Sessions) -> None:
    concurrent.open(session("slow", "one", timeout=100))
    concurrent.open(session("quick", "two", timeout=5))
    assert concurrent.sweep(6) == ["quick"]
    assert concurrent.sweep(99) == []
    assert concurrent.sweep(101) == ["slow"]


def test_who_waits_for_an_answer_is_not_silent(exclusive: Sessions) -> None:
    waiting = opened(exclusive, "a")
    waiting.pushes += 1
    assert exclusive.sweep(TIMEOUT * 10) == []
    waiting.pushes -= 1
    exclusive.touch(waiting, TIMEOUT * 10 + 1, at=0)
    assert exclusive.sweep(TIMEOUT * 11) == []
    assert exclusive.sweep(TIMEOUT * 11 + 2) == ["a"]


def test_an_expired_session_does_not_become_obsolete(exclusive: Sessions) -> None:
    opened(exclusive, "a")
    exclusive.sweep(TIMEOUT + 1)
    opened(exclusive, "b", now=TIMEOUT + 1)
    with pytest.raises(SessionNotFound):
        exclusive.admit("a")
    exclusive.expire("a")
    assert exclusive.authoritative == "b"


def test_expiry_holds_when_a_newer_session_came_first_in_the_log(exclusive: Sessions) -> None:
    """As a replay sees it, where nobody judges leases."""
    opened(exclusive, "a")
    opened(exclusive, "b")
    exclusive.expire("a")
    with pytest.raises(SessionNotFound):
        exclusive.find("a")
    assert exclusive.authoritative == "b"
