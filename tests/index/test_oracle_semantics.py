"""What a view promises about snapshots, messages and deletes, one scenario a test.

Every scenario runs on the compiled index and on the oracle, so that the oracle is held to the promises too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from bodies import AnyIndex, Feed, body, deletes, directory, file, upserts
from oracle import OracleIndex

from fusion import PathIndex


@pytest.fixture(params=[PathIndex, OracleIndex])
def index(request: pytest.FixtureRequest) -> Any:
    index = request.param()
    yield index
    index._check()


@pytest.fixture
def feed(index: AnyIndex) -> Feed:
    return Feed(index)


def size(index: AnyIndex, path: str) -> int:
    node = index.get(path)
    assert node is not None, path
    return node.size


def paths(index: AnyIndex) -> list[str]:
    """Every path but the root's, in the order of the tree."""

    def walk(node: dict[str, Any]) -> list[str]:
        below = [path for child in node.get("children", {}).values() for path in walk(child)]
        return [node["path"], *below]

    return walk(json.loads(index.tree_json()))[1:]


def counts(index: AnyIndex, path: str = "/") -> tuple[int, int, int]:
    stats = index.stats(path)
    return stats.files, stats.directories, stats.bytes


def undescribed(index: AnyIndex, path: str) -> bool:
    node = index.get(path)
    assert node is not None, path
    return node.is_dir and (node.size, node.modified_time, node.created_time) == (0, 0.0, 0.0)


# --- messages


def test_message_always_applies_in_arrival_order(index, feed):
    feed.message(file("/a", 200))
    feed.message(file("/a", 50, size=5))
    assert index.get("/a").modified_time == 50.0
    assert size(index, "/a") == 5


def test_message_always_applies_while_a_snapshot_runs(index, feed):
    feed.snapshot(file("/a", 200, size=1))
    feed.message(file("/a", 50, size=5))
    assert size(index, "/a") == 5
    feed.end()
    assert size(index, "/a") == 5


def test_is_snapshot_end_on_a_message_is_never_an_end(index, feed):
    feed.message(file("/old"))
    index.begin_snapshot()
    applied = index.apply(body("message", end=True))
    assert not applied.snapshot_ended and applied.removed == 0
    assert index.snapshot_open
    assert paths(index) == ["/old"]


def test_one_push_is_applied_in_order(index, feed):
    index.apply(body("message", upserts(file("/a", size=1)), deletes("/a"), upserts(file("/a", size=2))))
    assert size(index, "/a") == 2
    assert counts(index) == (1, 1, 2)


def test_rows_of_one_event_are_applied_in_order(index, feed):
    feed.message(file("/a", size=1), file("/a", size=3), file("/a", size=2))
    assert size(index, "/a") == 2


# --- snapshot rows against messages of the same window


def test_snapshot_row_loses_to_a_message_of_its_window_unless_strictly_newer(index, feed):
    index.begin_snapshot()
    feed.message(file("/a", 200, size=2))
    assert feed.snapshot(file("/a", 100, size=9)).ignored == 1
    assert size(index, "/a") == 2
    assert feed.snapshot(file("/a", 200, size=9)).ignored == 1
    assert size(index, "/a") == 2
    assert feed.snapshot(file("/a", 300, size=3)).ignored == 0
    assert size(index, "/a") == 3


def test_snapshot_row_replaces_what_a_message_wrote_before_the_snapshot_whatever_its_mtime(index, feed):
    feed.message(file("/a", 200, size=2))
    index.begin_snapshot()
    feed.snapshot(file("/a", 100, size=9))
    assert size(index, "/a") == 9


def test_first_snapshot_row_opens_the_window_and_earlier_messages_do_not_count(index, feed):
    feed.message(file("/a", 200, size=2), file("/b", 200, size=2))
    feed.snapshot(file("/b", 100, size=9))
    assert index.snapshot_open
    feed.snapshot(file("/a", 100, size=9))
    assert (size(index, "/a"), size(index, "/b")) == (9, 9)


def test_begin_snapshot_again_forgets_what_messages_wrote(index, feed):
    index.begin_snapshot()
    feed.message(file("/a", 200, size=2), file("/b", 200, size=2))
    index.begin_snapshot()
    feed.snapshot(file("/a", 100, size=9))
    feed.end()
    assert paths(index) == ["/a"]
    assert size(index, "/a") == 9


def test_a_message_after_an_end_belongs_to_no_window(index, feed):
    index.begin_snapshot()
    feed.end()
    feed.message(file("/a", 200, size=2))
    feed.snapshot(file("/a", 100, size=9))
    assert size(index, "/a") == 9


def test_the_last_message_of_the_window_counts(index, feed):
    index.begin_snapshot()
    feed.message(file("/a", 200, size=1))
    feed.message(file("/a", 50, size=2))
    feed.snapshot(file("/a", 100, size=3))
    assert size(index, "/a") == 3


@pytest.mark.parametrize("first", [file, directory])
@pytest.mark.parametrize("newer", [file, directory])
@pytest.mark.parametrize("last", [file, directory])
def test_the_mark_of_a_message_outlives_a_newer_snapshot_row(index, feed, first, newer, last):
    index.begin_snapshot()
    feed.message(first("/a", 100, size=1))
    assert feed.snapshot(newer("/a", 300, size=2)).ignored == 0
    assert feed.snapshot(last("/a", 100, size=3)).ignored == 1
    assert feed.snapshot(last("/a", 99, size=3)).ignored == 1
    assert feed.snapshot(last("/a", 101, size=4)).ignored == 0
    assert feed.snapshot(first("/a", 100, size=5)).ignored == 1
    assert size(index, "/a") == 4


def test_root_row_of_a_snapshot_loses_to_a_newer_message(index, feed):
    index.begin_snapshot()
    feed.message(directory("/", 200, size=2))
    assert feed.snapshot(directory("/", 200, size=9)).ignored == 1
    assert size(index, "/") == 2
    feed.snapshot(directory("/", 201, size=3))
    assert size(index, "/") == 3


# --- tombstones


def test_message_delete_hides_the_subtree_from_snapshot_rows(index, feed):
    index.begin_snapshot()
    feed.delete("/d")
    assert feed.snapshot(file("/d/f", 100)).ignored == 1
    assert "/d" not in index
    assert "/d/f" not in index


@pytest.mark.parametrize(("mtime", "there"), [(60, False), (120, False), (120.001, True), (180, True)])
def test_snapshot_row_later_than_the_delete_shows(index, feed, mtime, there):
    feed.delete("/z", index=120_000)
    feed.snapshot(file("/z", mtime))
    assert ("/z" in index) is there


@pytest.mark.parametrize("no_time", [-1, 0, -5])
def test_delete_without_an_index_counts_by_its_arrival(index, feed, no_time):
    feed.delete("/z", index=no_time, now=120.0)
    feed.snapshot(file("/z", 120.0))
    assert "/z" not in index
    feed.snapshot(file("/z", 120.5))
    assert "/z" in index


def test_arrival_is_the_wall_clock_when_nothing_else_is_said(index, feed):
    feed.delete("/z")
    feed.snapshot(file("/z", 1_700_000_000))
    assert "/z" not in index
    feed.snapshot(file("/z", 99_000_000_000))
    assert "/z" in index


def test_delete_by_call_hides_like_a_message(index, feed):
    feed.message(file("/d/f"))
    assert index.delete("/d") == 2
    feed.snapshot(file("/d/f", 100))
    assert paths(index) == []


def test_tombstone_hides_new_directories_too(index, feed):
    feed.delete("/d", index=120_000)
    feed.snapshot(directory("/d", 100), directory("/d/e", 100), file("/d/e/f", 100))
    assert paths(index) == []


def test_tombstone_does_not_hide_siblings_with_a_longer_name(index, feed):
    feed.delete("/d", index=120_000)
    feed.snapshot(file("/dd", 100), file("/d.txt", 100))
    assert paths(index) == ["/dd", "/d.txt"]


def test_later_of_two_deletes_counts(index, feed):
    feed.delete("/z", index=120_000)
    feed.delete("/z", index=60_000)
    feed.snapshot(file("/z", 100))
    assert "/z" not in index


def test_tombstone_of_an_ancestor_counts_beside_an_older_own_one(index, feed):
    feed.delete("/d/f", index=60_000)
    feed.delete("/d", index=120_000)
    feed.snapshot(file("/d/f", 100))
    assert "/d/f" not in index


def test_message_below_a_deleted_directory_brings_back_only_itself_and_its_parents(index, feed):
    feed.message(file("/d/old"), file("/d/sub/old"))
    index.begin_snapshot()
    feed.delete("/d")
    feed.message(file("/d/x"))
    feed.snapshot(file("/d/old", 100), file("/d/sub/old", 100))
    assert paths(index) == ["/d", "/d/x"]
    feed.end()
    assert paths(index) == ["/d", "/d/x"]


def test_snapshot_row_of_a_node_that_a_message_brought_back_is_not_hidden(index, feed):
    index.begin_snapshot()
    feed.delete("/d", index=500_000)
    feed.message(file("/d/x"))
    feed.snapshot(directory("/d", 100, size=7))
    assert size(index, "/d") == 7


def test_message_upsert_always_beats_a_tombstone(index, feed):
    feed.message(file("/f", 1000))
    feed.delete("/f")
    feed.message(file("/f", 1000))
    assert "/f" in index


def test_without_a_snapshot_a_message_upsert_of_a_file_removes_the_tombstone_at_its_path(index, feed):
    feed.delete("/f", index=500_000)
    feed.message(file("/f", 100))
    feed.snapshot(file("/f/g", 200))
    assert paths(index) == ["/f", "/f/g"]


def test_message_upsert_of_a_directory_leaves_its_tombstone(index, feed):
    index.begin_snapshot()
    feed.delete("/d", index=500_000)
    feed.message(directory("/d", 100))
    feed.snapshot(file("/d/old", 200))
    assert paths(index) == ["/d"]


def test_tombstone_lives_until_the_running_snapshot_has_ended(index, feed):
    index.begin_snapshot()
    feed.delete("/f", index=500_000)
    feed.end()
    feed.snapshot(file("/f", 100))
    assert "/f" in index


def test_tombstone_made_while_no_snapshot_runs_lives_until_the_next_has_ended(index, feed):
    feed.delete("/f", index=500_000)
    feed.snapshot(file("/f", 100))
    assert "/f" not in index
    feed.end()
    feed.snapshot(file("/f", 100))
    assert "/f" in index


def test_an_end_that_ends_nothing_keeps_tombstones(index, feed):
    feed.delete("/f", index=500_000)
    assert not feed.end().snapshot_ended
    feed.snapshot(file("/f", 100))
    assert "/f" not in index


def test_begin_snapshot_and_clear_keep_tombstones(index, feed):
    feed.delete("/f", index=500_000)
    index.begin_snapshot()
    index.clear()
    feed.snapshot(file("/f", 100))
    assert "/f" not in index


# --- a snapshot replaces


def test_snapshot_replaces_the_one_before(index, feed):
    feed.snapshot(file("/a"))
    feed.end()
    feed.snapshot(file("/b"))
    feed.message(file("/c"))
    applied = feed.end()
    assert paths(index) == ["/b", "/c"]
    assert applied.snapshot_ended and applied.removed == 1


def test_rows_of_a_later_snapshot_show_as_they_are_applied_and_the_rest_goes_at_its_end(index, feed):
    feed.snapshot(file("/a"), file("/keep", size=1))
    feed.end()
    feed.snapshot(file("/keep", size=2), file("/b"))
    assert paths(index) == ["/a", "/keep", "/b"]
    assert size(index, "/keep") == 2
    feed.end()
    assert paths(index) == ["/keep", "/b"]


def test_rows_and_end_in_one_push(index, feed):
    feed.snapshot(file("/a"))
    feed.end()
    applied = index.apply(body("snapshot", upserts(file("/b")), end=True))
    assert (applied.rows, applied.upserts, applied.removed, applied.snapshot_ended) == (1, 1, 1, True)
    assert not index.snapshot_open
    assert paths(index) == ["/b"]


def test_end_without_rows_empties_when_a_session_began_it_and_is_harmless_when_repeated(index, feed):
    feed.message(file("/a"))
    index.begin_snapshot()
    assert feed.end().removed == 1
    assert paths(index) == []
    feed.message(file("/b"))
    applied = feed.end()
    assert not applied.snapshot_ended and applied.removed == 0
    assert paths(index) == ["/b"]


def test_what_a_message_wrote_before_the_window_goes_with_the_rest(index, feed):
    feed.message(file("/a", 999))
    feed.snapshot(file("/b"))
    feed.end()
    assert paths(index) == ["/b"]


def test_a_row_that_lost_to_a_message_keeps_the_messages_node(index, feed):
    index.begin_snapshot()
    feed.message(file("/a", 200, size=2))
    feed.snapshot(file("/a", 100, size=9))
    feed.end()
    assert size(index, "/a") == 2


def test_parents_kept_for_their_content_become_undescribed(index, feed):
    feed.message(directory("/", 5, size=5), directory("/d", 5, size=5), file("/d/old"))
    index.begin_snapshot()
    feed.message(file("/d/new"))
    feed.end()
    assert paths(index) == ["/d", "/d/new"]
    assert undescribed(index, "/d")
    assert undescribed(index, "/")
    assert index.oldest_directory() is None


def test_parents_made_by_a_message_survive_like_touched_nodes(index, feed):
    index.begin_snapshot()
    feed.message(file("/d/e/x"))
    feed.delete("/d/e/x")
    feed.end()
    assert paths(index) == ["/d", "/d/e"]


def test_parents_that_a_message_passed_through_survive_as_if_made(index, feed):
    feed.message(directory("/d", 5, size=5), file("/d/old"))
    index.begin_snapshot()
    feed.message(file("/d/x"))
    feed.delete("/d/x")
    feed.end()
    assert paths(index) == ["/d"]
    assert undescribed(index, "/d")


def test_any_snapshot_row_describes_a_parent_that_a_message_made(index, feed):
    index.begin_snapshot()
    feed.message(file("/d/x", 500))
    feed.snapshot(directory("/d", 1, size=7))
    assert size(index, "/d") == 7
    feed.end()
    assert size(index, "/d") == 7


def test_parents_that_only_the_snapshot_made_go_when_nothing_is_below_them(index, feed):
    feed.snapshot(file("/d/f", 1))
    feed.delete("/d/f")
    feed.end()
    assert paths(index) == []


def test_a_file_of_a_message_that_became_a_parent_survives_undescribed(index, feed):
    index.begin_snapshot()
    feed.message(file("/p", 50, size=5))
    feed.snapshot(file("/p/q", 100))
    feed.delete("/p/q")
    feed.end()
    assert paths(index) == ["/p"]
    assert undescribed(index, "/p")


def test_a_refused_row_does_not_count_as_carried(index, feed):
    feed.message(directory("/p", 5, size=5), file("/p/q"))
    index.begin_snapshot()
    feed.message(file("/p/q", 200))
    assert feed.snapshot(file("/p", 100)).ignored == 1
    feed.end()
    assert paths(index) == ["/p", "/p/q"]
    assert undescribed(index, "/p")


def test_marks_hold_over_many_windows(index, feed):
    """What one window marked means nothing in any later one, however many there are."""
    feed.message(*(file(f"/old{number}") for number in range(200)))
    for number in range(200):
        index.begin_snapshot()
        feed.message(file("/a", 200, size=1), file(f"/made{number}/x", 200))
        assert feed.snapshot(file("/a", 100, size=2)).ignored == 1
        feed.snapshot(*(file(f"/old{later}") for later in range(number + 1, 200)))
        assert feed.end().removed == (1 if number == 0 else 3)
        assert len(index) == 1 + 1 + 2 + 199 - number
        assert size(index, "/a") == 1


def test_marks_do_not_come_back_after_many_windows(index, feed):
    """Windows are told apart for ever, not modulo some small number."""
    windows = 150
    for number in range(windows):
        index.begin_snapshot()
        feed.message(file(f"/written{number}", 200, size=1))
        feed.snapshot(file(f"/carried{number}", 100))
    index.begin_snapshot()
    feed.message(file("/another", 200))
    rows = [file(f"/written{number}", 100, size=2) for number in range(0, windows, 2)]
    assert feed.snapshot(*rows).ignored == 0
    assert feed.end().removed == windows + windows // 2


def test_deleting_again_what_a_message_made_leaves_no_touched_node(index, feed):
    index.begin_snapshot()
    feed.message(file("/d/x"))
    feed.delete("/d")
    feed.end()
    assert paths(index) == []


def test_clear_keeps_the_window_open(index, feed):
    feed.snapshot(file("/a"))
    index.clear()
    assert index.snapshot_open
    assert (paths(index), len(index), counts(index)) == ([], 1, (0, 1, 0))
    feed.snapshot(file("/b"))
    feed.end()
    assert paths(index) == ["/b"]


def test_a_snapshot_delete_removes_what_no_message_touched_and_hides_nothing(index, feed):
    feed.message(file("/d/old"), directory("/d", 5, size=5))
    index.begin_snapshot()
    feed.message(file("/d/new", 5), file("/d/sub/new"))
    feed.snapshot(file("/d/carried", 5), file("/d/sub/carried"))
    feed.snapshot_delete("/d")
    assert paths(index) == ["/d", "/d/new", "/d/sub", "/d/sub/new"]
    feed.snapshot(file("/d/carried", 1))
    assert "/d/carried" in index


def test_a_snapshot_delete_of_nothing_opens_the_window(index, feed):
    feed.snapshot_delete("/nothing")
    assert index.snapshot_open


def test_a_snapshot_event_without_rows_opens_no_window(index, feed):
    index.apply(body("snapshot", {"event_type": "update", "rows": []}))
    assert not index.snapshot_open


# --- type switches


def test_row_below_a_file_turns_it_into_a_directory(index, feed):
    feed.message(file("/before"), file("/p", 7, size=7), file("/after"))
    feed.message(file("/p/q"))
    assert paths(index) == ["/before", "/p", "/p/q", "/after"]
    assert undescribed(index, "/p")
    assert counts(index) == (3, 2, 0)


def test_snapshot_row_below_a_file_turns_it_into_a_directory(index, feed):
    feed.message(file("/p", 200, size=7))
    feed.snapshot(file("/p/q", 100))
    assert undescribed(index, "/p")
    assert counts(index) == (1, 2, 0)


def test_snapshot_row_below_a_file_of_a_newer_message_is_refused(index, feed):
    index.begin_snapshot()
    feed.message(file("/p", 200, size=7))
    assert feed.snapshot(file("/p/q", 200), file("/p/q/r", 100)).ignored == 2
    assert paths(index) == ["/p"]
    assert feed.snapshot(file("/p/q", 201)).ignored == 0
    assert paths(index) == ["/p", "/p/q"]


def test_file_becomes_a_directory_by_its_own_row(index, feed):
    feed.message(file("/p", 5, size=5), file("/after"))
    feed.message(directory("/p", 6, size=6))
    assert index.get("/p").is_dir
    assert size(index, "/p") == 6
    assert paths(index) == ["/p", "/after"]
    assert counts(index) == (1, 2, 0)


def test_directory_becomes_a_file_and_loses_its_content(index, feed):
    feed.message(file("/p/q", size=3), file("/p/r/s", size=4), file("/after", size=1))
    feed.message(file("/p", size=5))
    assert not index.get("/p").is_dir
    assert "/p/q" not in index
    assert "/p/r/s" not in index
    assert paths(index) == ["/p", "/after"]
    assert counts(index) == (2, 1, 6)
    assert [node.path for node in index.search("q")] == []


def test_snapshot_file_row_over_a_directory_is_refused_for_a_newer_message_below(index, feed):
    index.begin_snapshot()
    feed.message(file("/p/q/r", 200))
    assert feed.snapshot(file("/p", 200)).ignored == 1
    assert paths(index) == ["/p", "/p/q", "/p/q/r"]
    assert feed.snapshot(file("/p", 201)).ignored == 0
    assert paths(index) == ["/p"]


def test_snapshot_file_row_over_an_old_directory_replaces_it(index, feed):
    feed.message(file("/p/q", 900))
    feed.snapshot(file("/p", 1, size=3))
    assert (paths(index), size(index, "/p")) == (["/p"], 3)


# --- deletes


def test_delete_of_a_directory_removes_its_subtree(index, feed):
    feed.message(file("/d/e/f", size=3), file("/keep", size=1))
    before = counts(index)
    feed.delete("/d")
    assert [path in index for path in ("/d", "/d/e", "/d/e/f")] == [False] * 3
    assert counts(index) == (before[0] - 1, before[1] - 2, before[2] - 3)
    assert index.search("f") == []


def test_the_root_cannot_be_deleted(index, feed):
    feed.message(file("/a"))
    feed.delete("/", "", "//", "/x/..")
    feed.snapshot_delete("/")
    assert index.delete("/") == 0
    assert paths(index) == ["/a"]
    feed.snapshot(file("/b", 1))
    assert "/b" in index


def test_delete_of_nothing_changes_nothing(index, feed):
    feed.message(file("/a/b"))
    feed.delete("/x", "/a/b/c", "/a/x")
    assert index.delete("/nothing") == 0
    assert paths(index) == ["/a", "/a/b"]


# --- order, paths, parents


def test_an_update_keeps_its_place_and_a_new_child_goes_to_the_end(index, feed):
    feed.message(file("/a"), file("/b"), file("/c"))
    feed.message(file("/a", 9))
    assert paths(index) == ["/a", "/b", "/c"]
    feed.delete("/a")
    feed.message(file("/a"))
    assert paths(index) == ["/b", "/c", "/a"]


def test_paths_are_normalised_in_rows_and_deletes(index, feed):
    feed.message(directory("/t/"), file("rel/x"), file("/a//b/./c"), file("/q/../b"), file("/../../up"))
    assert paths(index) == ["/t", "/rel", "/rel/x", "/a", "/a/b", "/a/b/c", "/b", "/up"]
    feed.delete("/t/", "rel/x", "//a/./b/", "/q/../b")
    assert paths(index) == ["/rel", "/a", "/up"]


def test_parents_that_no_row_described_have_size_and_times_of_zero(index, feed):
    feed.message(file("/a/b/c", 5, size=5))
    assert undescribed(index, "/a") and undescribed(index, "/a/b") and undescribed(index, "/")
    feed.message(directory("/a", 4, size=4))
    assert size(index, "/a") == 4
    assert index.oldest_directory() == ("/a", 4.0)


def test_oldest_directory_is_the_smallest_time_among_described_directories_but_the_root(index, feed):
    assert index.oldest_directory() is None
    feed.message(directory("/", 1), file("/f", 2), file("/made/f", 2))
    assert index.oldest_directory() is None
    feed.message(directory("/x", 30), directory("/y", 20), directory("/z", 40))
    assert index.oldest_directory() == ("/y", 20.0)
    feed.delete("/y")
    assert index.oldest_directory() == ("/x", 30.0)
    feed.message(directory("/x", 50))
    assert index.oldest_directory() == ("/z", 40.0)
    feed.message(directory("/x", 30))
    feed.message(directory("/z", -1.5))
    assert index.oldest_directory() == ("/z", -1.5)
    feed.message(file("/z", 1))
    assert index.oldest_directory() == ("/x", 30.0)


def test_escapes_that_together_spell_utf8_are_that_name(index, feed):
    feed.message(file("/\udcc3\udca4", size=1))
    feed.message(file("/ä", size=2))
    assert len(index) == 2
    assert size(index, "/ä") == 2


def test_raw_names_keep_their_bytes_and_answers_stay_utf8(index, feed):
    feed.message(file("/d\udcff/f\udcfe", size=1), file("/d\udcff/f\udcfd", size=2), file("/d\udcff/f\ufffd"))
    tree = json.loads(index.tree_json("/", only_path=True).decode())
    outer = tree["children"]["d\ufffd"]
    assert outer["raw_name"] == "ZP8="
    assert outer["path"] == "/d\ufffd"
    assert "raw_name" not in tree
    assert set(outer["children"]) == {"f\ufffd", "f\ufffd\ufffd", "f\ufffd\ufffd\ufffd"}
    assert {child.get("raw_name") for child in outer["children"].values()} == {"Zv4=", "Zv0=", None}
    assert {child["name"] for child in outer["children"].values()} == {"f\ufffd"}
    assert size(index, "/d\udcff/f\udcfd") == 2
    assert index.get(b"/d\xff/f\xfd").path == "/d\udcff/f\udcfd"


def test_names_are_not_normalised_as_unicode(index, feed):
    feed.message(file("/\u00e9"), file("/e\u0301"), file("/K"), file("/\u212a"), file("/k"))
    assert len(index) == 6


# --- the shape of trees


def test_tree_shapes(index, feed):
    feed.message(file("/d/e/f", 1.5, size=3), directory("/empty", 2))
    f = {"name": "f", "content_type": "file", "path": "/d/e/f", "size": 3}
    f |= {"modified_time": 1.5, "created_time": 1.5}
    assert json.loads(index.tree_json("/d/e/f")) == f
    assert json.loads(index.tree_json("/d/e/f", recursive=False)) == f
    assert json.loads(index.tree_json("/d/e/f", max_depth=0)) == f
    assert json.loads(index.tree_json("/d/e", only_path=True))["children"] == {
        "f": {"name": "f", "content_type": "file", "path": "/d/e/f"}
    }
    listed = json.loads(index.tree_json("/", recursive=False))["children"]
    assert [child["name"] for child in listed] == ["d", "empty"]
    assert all("children" not in child for child in listed)
    assert json.loads(index.tree_json("/empty"))["children"] == {}
    assert json.loads(index.tree_json("/empty", recursive=False))["children"] == []
    assert "children" not in json.loads(index.tree_json("/", max_depth=0))
    one = json.loads(index.tree_json("/", recursive=False, max_depth=1))["children"]
    assert list(one) == ["d", "empty"]
    assert "children" not in one["d"]
    two = json.loads(index.tree_json("/", max_depth=2))["children"]
    assert list(two["d"]["children"]) == ["e"]
    assert "children" not in two["d"]["children"]["e"]
    with pytest.raises(KeyError):
        index.tree_json("/nothing")


def test_times_always_have_a_point_or_exponent(index, feed):
    feed.message(file("/a", 1705832400, size=3))
    text = index.tree_json("/a").decode()
    assert '"size":3,"modified_time":1705832400.0,"created_time":1705832400.0}' in text


# --- search


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("report", {"/Report.TXT", "/d/my report"}),
        ("REPORT", {"/Report.TXT", "/d/my report"}),
        ("*.txt", {"/Report.TXT"}),
        ("[rm]*t", {"/Report.TXT", "/d/my report"}),
        ("?rgebnis", {"/Ergebnis"}),
        ("ä", {"/Äpfel"}),
        ("äPF*", {"/Äpfel"}),
        ("stra\u1e9ee", {"/Straße"}),
        ("strasse", set()),
        ("\u212a", {"/k"}),
        ("[!r]", {"/k"}),
        ("d", set()),
        ("/d/", set()),
        ("[x", {"/[x"}),
    ],
)
def test_search_takes_the_names_of_files_and_ignores_case(index, feed, pattern, found):
    feed.message(file("/Report.TXT"), file("/d/my report"), directory("/report dir"), file("/Ergebnis"))
    feed.message(file("/Äpfel"), file("/Straße"), file("/k"), file("/[x"))
    assert {node.path for node in index.search(pattern)} == found


def test_search_with_undecodable_bytes(index, feed):
    feed.message(file("/caf\udce9"), file("/é"), file("/\udce9\udce9.txt"))
    assert {node.path for node in index.search("\udce9")} == {"/caf\udce9", "/\udce9\udce9.txt"}
    assert {node.path for node in index.search(b"??.*")} == {"/\udce9\udce9.txt"}
    assert {node.path for node in index.search("\udcc3\udca9")} == {"/é"}
    assert {node.path for node in index.search(b"\xc3\xa9")} == {"/é"}


def test_search_limit(index, feed):
    feed.message(*(file(f"/f{number}") for number in range(10)))
    assert len(index.search("f", limit=3)) == 3
    assert len(index.search("f", limit=99)) == 10
    assert index.search("f", limit=0) == []
    assert len(json.loads(index.search_json("f", limit=4))) == 4


# --- what apply tells


def test_applied_counts(index, feed):
    applied = index.apply(body("message", upserts(file("/a"), file("/b")), deletes("/a", "/none")))
    assert (applied.rows, applied.upserts, applied.deletes, applied.ignored) == (4, 2, 2, 0)
    assert (applied.removed, applied.snapshot_ended) == (0, False)
    assert applied.revision == index.revision


def test_an_empty_index_holds_its_root(index):
    assert len(index) == 1
    assert "/" in index
    assert index.get("/") is not None
    assert (index.get("/").name, index.get("/").path, index.get("/").is_dir) == ("", "/", True)
    assert counts(index) == (0, 1, 0)
    assert json.loads(index.tree_json())["children"] == {}


# Deleted and put back with an old mtime while a snapshot runs: rows of the earlier life stay away

OLD, DELETED = 400.0, 1000.0


def test_a_file_put_back_older_than_its_earlier_life_stays(index, feed):
    index.begin_snapshot()
    feed.delete("/f", index=int(DELETED * 1000))
    feed.message(file("/f", 1, size=3))
    assert feed.snapshot(file("/f", OLD, size=5)).ignored == 1
    assert index.get("/f").size == 3
    assert feed.snapshot(file("/f", DELETED + 1, size=7)).ignored == 0
    assert index.get("/f").size == 7


def test_a_file_put_back_is_no_parent_of_old_content(index, feed):
    index.begin_snapshot()
    feed.delete("/p", index=int(DELETED * 1000))
    feed.message(file("/p", 1, size=3))
    assert feed.snapshot(file("/p/z", OLD)).ignored == 1
    feed.end()
    assert index.get("/p").size == 3
    assert "/p/z" not in index


def test_a_directory_put_back_is_not_its_earlier_file(index, feed):
    index.begin_snapshot()
    feed.delete("/p", index=int(DELETED * 1000))
    feed.message(file("/p/q", 1, size=3))
    assert feed.snapshot(file("/p", OLD, size=5)).ignored == 1
    feed.end()
    assert index.get("/p").is_dir
    assert index.get("/p/q").size == 3


def test_a_child_put_back_below_a_deleted_directory_stays(index, feed):
    index.begin_snapshot()
    feed.delete("/d", index=int(DELETED * 1000))
    feed.message(file("/d/x", 1, size=3))
    assert feed.snapshot(file("/d/x", OLD, size=5)).ignored == 1
    assert index.get("/d/x").size == 3


def test_what_was_put_back_before_the_snapshot_began_is_described_by_it(index, feed):
    feed.delete("/f", index=int(DELETED * 1000))
    feed.message(file("/f", 1, size=3))
    feed.delete("/d", index=int(DELETED * 1000))
    feed.message(file("/d/x", 1, size=3))
    assert feed.snapshot(file("/f", 1, size=5), file("/d/x", 1, size=5)).ignored == 0
    feed.end()
    assert [index.get(path).size for path in ("/f", "/d/x")] == [5, 5]
