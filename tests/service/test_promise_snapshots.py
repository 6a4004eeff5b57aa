"""A snapshot replaces, and never undoes what came after it began."""

from __future__ import annotations

import time

import pytest
from service import Store, accepted, file, folder

# Replacing


def test_what_the_next_session_did_not_carry_goes(store: Store) -> None:
    store.ready(file("/a"), file("/d/x"))
    store.ready(file("/b"))
    assert store.paths() == {"/b"}
    assert store.counts() == (1, 1)
    assert store.search("a") == []


def test_what_a_message_touched_since_it_began_is_kept(store: Store) -> None:
    store.ready(file("/a"))
    session = store.open()
    store.message(session, file("/c/d"))
    store.snapshot(session, file("/b"))
    store.end(session)
    assert store.paths() == {"/b", "/c", "/c/d"}


def test_what_a_message_wrote_before_it_began_goes(store: Store) -> None:
    first = store.ready(file("/a"))
    store.message(first, file("/m"))
    store.ready(file("/a"))
    assert store.paths() == {"/a"}


def test_what_a_message_wrote_before_it_began_is_replaced_whatever_its_mtime(store: Store) -> None:
    first = store.ready()
    store.message(first, file("/a", 2, m=500))
    store.ready(file("/a", 9, m=100))
    assert store.tree("/a")["size"] == 9


def test_the_row_that_begins_a_later_snapshot_replaces_an_earlier_message(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a", 2, m=500))
    store.snapshot(session, file("/a", 9, m=100))
    assert store.tree("/a")["size"] == 9


def test_rows_and_end_may_come_in_one_push(store: Store) -> None:
    store.ready(file("/old"))
    session = store.open()
    store.snapshot(session, file("/new"), end=True)
    assert store.paths() == {"/new"}
    store.snapshot(session, file("/newer"), end=True)
    assert store.paths() == {"/newer"}


def test_an_end_without_rows_ends_an_empty_first_snapshot(store: Store) -> None:
    store.ready(file("/a"))
    store.end(store.open())
    assert store.paths() == set()
    assert store.state() == "ready"


def test_an_empty_first_snapshot_keeps_what_messages_touched(store: Store) -> None:
    store.ready(file("/a"))
    session = store.open()
    store.message(session, file("/b"))
    store.end(session)
    assert store.paths() == {"/b"}


def test_a_repeated_end_is_harmless(store: Store) -> None:
    session = store.ready(file("/a"))
    store.message(session, file("/b"))
    for _ in range(3):
        store.end(session)
        assert store.paths() == {"/a", "/b"}


def test_a_repeated_empty_event_and_end_is_harmless(store: Store) -> None:
    session = store.ready(file("/a"))
    accepted(store.send(session, [{"rows": []}], "snapshot", end=True))
    assert store.paths() == {"/a"}


def test_a_later_snapshot_begins_at_its_first_row(store: Store) -> None:
    session = store.ready(file("/a"))
    store.message(session, file("/before"))
    store.snapshot(session, file("/b"))
    store.message(session, file("/during"))
    store.end(session)
    assert store.paths() == {"/b", "/during"}


def test_a_later_snapshot_leaves_views_at_200_and_shows_its_rows(store: Store) -> None:
    session = store.ready(file("/a", 1))
    store.snapshot(session, file("/b"))
    assert store.paths() == {"/a", "/b"}
    store.snapshot(session, file("/a", 2))
    assert store.tree("/a")["size"] == 2
    store.snapshot(session, file("/c"))
    assert store.state() == "ready"
    store.end(session)
    assert store.paths() == {"/a", "/b", "/c"}
    store.snapshot(session, file("/c"))
    assert store.paths() == {"/a", "/b", "/c"}
    store.end(session)
    assert store.paths() == {"/c"}


def test_a_first_snapshot_begins_with_the_session(store: Store) -> None:
    session = store.open()
    store.message(session, file("/m", 2, m=200))
    store.snapshot(session, file("/m", 9, m=100))
    store.end(session)
    assert store.tree("/m")["size"] == 2


def test_a_directory_that_stays_for_what_is_below_it_is_undescribed(store: Store) -> None:
    store.ready(folder("/d", 70.5), file("/d/listed"))
    session = store.open()
    store.message(session, file("/d/live"))
    store.end(session)
    assert store.paths() == {"/d", "/d/live"}
    assert store.tree("/d")["modified_time"] == 0.0
    assert store.stats()["oldest_directory"] is None


def test_counts_are_exact_after_a_sweep(store: Store) -> None:
    store.ready(*(file(f"/{top}/{sub}/{name}") for top in "abc" for sub in "de" for name in "fg"))
    assert store.counts() == (12, 10)
    store.ready(file("/a/d/f"), folder("/empty"))
    assert store.counts() == (1, 4)
    assert store.paths() == {"/a", "/a/d", "/a/d/f", "/empty"}


# The table: a message always applies


def test_messages_apply_in_arrival_order_whatever_their_mtime(store: Store) -> None:
    session = store.open()
    store.message(session, file("/a", 2, m=200))
    store.message(session, file("/a", 5, m=50))
    store.end(session)
    assert store.tree("/a")["size"] == 5


# A snapshot row loses to a message of the same window unless strictly newer


@pytest.mark.parametrize(("mtime", "size"), [(100, 2), (199.999, 2), (200, 2), (200.001, 9), (300, 9)])
def test_a_snapshot_row_wins_over_a_message_only_if_strictly_newer(
    store: Store, mtime: float, size: int
) -> None:
    session = store.open()
    store.message(session, file("/a", 2, m=200))
    store.snapshot(session, file("/a", 9, m=mtime))
    store.end(session)
    assert store.tree("/a")["size"] == size


def test_an_older_then_a_newer_snapshot_row(store: Store) -> None:
    session = store.open()
    store.message(session, file("/a", 2, m=200))
    store.snapshot(session, file("/a", 9, m=100))
    store.snapshot(session, file("/a", 3, m=300))
    store.end(session)
    assert store.tree("/a")["size"] == 3


def test_the_same_holds_in_a_later_snapshot(store: Store) -> None:
    session = store.ready(file("/a", 1, m=1))
    store.snapshot(session, file("/begins"))
    store.message(session, file("/a", 2, m=200))
    store.snapshot(session, file("/a", 9, m=100))
    assert store.tree("/a")["size"] == 2
    store.end(session)
    assert store.tree("/a")["size"] == 2


# Tombstones


def test_a_delete_hides_the_subtree_from_older_snapshot_rows(store: Store) -> None:
    session = store.open()
    store.delete(session, "/d")
    store.snapshot(session, file("/d/f", m=100), folder("/d", m=100), file("/d/e/g", m=100))
    store.end(session)
    assert not store.has("/d")
    assert store.paths() == set()


def test_a_newer_snapshot_row_passes_a_tombstone(store: Store) -> None:
    session = store.open()
    store.delete(session, "/z")
    store.snapshot(session, file("/z", m=time.time() + 60))
    store.end(session)
    assert store.has("/z")


@pytest.mark.parametrize(("mtime", "seen"), [(999, False), (1000, False), (1000.5, True)])
def test_a_deletes_time_is_its_index_in_milliseconds(store: Store, mtime: float, seen: bool) -> None:
    session = store.open()
    store.delete(session, "/z", index=1_000_000)
    store.snapshot(session, file("/z", m=mtime), file("/other"))
    store.end(session)
    assert store.has("/z") is seen


def test_a_delete_without_an_index_has_the_time_of_its_arrival(store: Store) -> None:
    session = store.open()
    now = time.time()
    store.delete(session, "/a", "/b", index=-1)
    store.snapshot(session, file("/a", m=now - 60), file("/b", m=now + 60))
    store.end(session)
    assert store.paths() == {"/b"}


def test_a_tombstone_of_the_running_snapshot_is_gone_after_its_end(store: Store) -> None:
    session = store.open()
    store.delete(session, "/d")
    store.end(session)
    store.snapshot(session, file("/d/f", m=100))
    store.end(session)
    assert store.has("/d/f")


def test_a_tombstone_made_between_snapshots_lives_through_the_next(store: Store) -> None:
    session = store.ready(file("/d/f"))
    store.delete(session, "/d")
    store.snapshot(session, file("/d/f", m=100), file("/other"))
    store.end(session)
    assert not store.has("/d")
    store.snapshot(session, file("/d/f", m=100), file("/other"))
    store.end(session)
    assert store.has("/d/f")


def test_a_tombstone_holds_against_the_next_session_too(store: Store) -> None:
    first = store.ready(file("/d/f"))
    store.delete(first, "/d")
    store.ready(file("/d/f", m=100))
    assert not store.has("/d")


# A message below a deleted directory


def test_a_message_below_a_deleted_directory_brings_back_that_path_alone(store: Store) -> None:
    session = store.open()
    store.snapshot(session, file("/d/old", m=100))
    store.delete(session, "/d")
    store.message(session, file("/d/x"))
    store.snapshot(session, file("/d/old", m=100), file("/d/other", m=100))
    store.end(session)
    assert store.paths() == {"/d", "/d/x"}


def test_a_message_below_a_deleted_directory_of_a_ready_tree(store: Store) -> None:
    session = store.ready(file("/d/old"), file("/d/e/f"))
    store.delete(session, "/d")
    store.message(session, file("/d/x"))
    assert store.paths() == {"/d", "/d/x"}


# A row below a path that is a file


@pytest.mark.parametrize("source", ["message", "snapshot"])
def test_a_row_below_a_file_turns_it_into_a_directory(store: Store, source: str) -> None:
    session = store.open()
    accepted(store.send(session, [{"rows": [file("/p", 7)]}], source))
    accepted(store.send(session, [{"rows": [file("/p/q", 1)]}], source))
    store.end(session)
    node = store.tree("/p")
    assert node["content_type"] == "directory"
    assert list(node["children"]) == ["q"]
    assert store.counts() == (1, 2)


# A message upsert beats a tombstone


def test_a_message_upsert_always_beats_a_tombstone(store: Store) -> None:
    session = store.open()
    store.message(session, file("/f", m=1000))
    store.delete(session, "/f")
    store.message(session, file("/f", m=1000))
    store.end(session)
    assert store.has("/f")


# Type switch


def test_a_file_becomes_a_directory(store: Store) -> None:
    session = store.ready(file("/p", 7))
    store.message(session, folder("/p", 5.0))
    assert store.tree("/p")["content_type"] == "directory"
    assert store.tree("/p")["children"] == {}
    assert store.counts() == (0, 2)


def test_a_directory_becomes_a_file(store: Store) -> None:
    session = store.ready(folder("/p"), file("/p/q"), file("/p/r/s"))
    assert store.counts() == (2, 3)
    store.message(session, file("/p", 4))
    assert store.tree("/p")["content_type"] == "file"
    assert not store.has("/p/q")
    assert store.counts() == (1, 1)
    assert store.search("q") == []


# Deletes


def test_deleting_a_directory_removes_its_subtree(store: Store) -> None:
    session = store.ready(folder("/d"), folder("/d/e"), file("/d/e/f"), file("/keep"))
    files, directories = store.counts()
    store.delete(session, "/d")
    for path in ("/d", "/d/e", "/d/e/f"):
        assert not store.has(path)
    assert store.counts() == (files - 1, directories - 2)
    assert store.search("f") == []


def test_the_root_cannot_be_deleted(store: Store) -> None:
    session = store.ready(file("/a"))
    for path in ("/", "", "/a/.."):
        store.delete(session, path)
    assert store.paths() == {"/a"}
    store.snapshot(session, file("/b", m=1), end=True)
    assert store.paths() == {"/b"}


def test_one_push_applies_in_order(store: Store) -> None:
    session = store.ready()
    events = [
        {"event_type": "insert", "rows": [file("/a", 1)]},
        {"event_type": "delete", "rows": [{"path": "/a"}]},
        {"event_type": "insert", "rows": [file("/a", 2)]},
    ]
    accepted(store.send(session, events))
    assert store.tree("/a")["size"] == 2


def test_rows_of_one_event_apply_in_order(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a", 1), file("/a", 2), file("/a/b", 3), file("/a", 4))
    assert store.tree("/a")["size"] == 4
    assert store.counts() == (1, 1)
