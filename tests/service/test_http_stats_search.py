"""GET /views/fs/stats, GET /views/fs/search, DELETE /views/fs/reset."""

from __future__ import annotations

import time

import pytest
from service import Store, file, folder, refused, wrong_field

# Stats


def test_totals_count_the_root(store: Store) -> None:
    session = store.ready()
    assert store.counts() == (0, 1)
    store.message(session, file("/a/b/c"), file("/d"))
    assert store.counts() == (2, 3)
    store.delete(session, "/a")
    assert store.counts() == (1, 1)


def test_stats_tell_the_state(store: Store) -> None:
    store.ready()
    assert store.stats()["state"] == "ready"


def test_latency_is_now_minus_the_last_index(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=int(time.time() * 1000) - 60_000)
    assert store.stats()["last_event_latency_ms"] >= 60_000


def test_latency_is_never_negative(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=int(time.time() * 1000) + 60_000)
    assert store.stats()["last_event_latency_ms"] == 0


def test_latency_takes_no_event_without_a_positive_index(store: Store) -> None:
    session = store.ready()
    store.message(session, file("/a"), index=int(time.time() * 1000) + 60_000)
    before = store.stats()["last_event_latency_ms"]
    store.message(session, file("/b"))
    store.message(session, file("/c"), index=0)
    assert store.stats()["last_event_latency_ms"] == before == 0


def test_the_oldest_directory_has_the_smallest_modified_time(store: Store) -> None:
    session = store.ready(
        folder("/", 1.0), folder("/new", 30.0), folder("/old", 20.5), file("/ancient", m=2.0)
    )
    assert store.stats()["oldest_directory"] == {"path": "/old", "timestamp": 20.5}
    store.message(session, folder("/new", 10.0))
    assert store.stats()["oldest_directory"] == {"path": "/new", "timestamp": 10.0}
    store.delete(session, "/new", "/old")
    assert store.stats()["oldest_directory"] is None


def test_only_described_directories_are_oldest(store: Store) -> None:
    store.ready(folder("/a/b", 50.0))
    assert store.stats()["oldest_directory"] == {"path": "/a/b", "timestamp": 50.0}


def test_no_directory_but_the_root_is_null(store: Store) -> None:
    store.ready(folder("/", 5.0), file("/f", m=1.0))
    assert store.stats()["oldest_directory"] is None


# Search


@pytest.fixture
def named(store: Store) -> Store:
    names = ["Report.TXT", "report.txt.bak", "notes.md", "\u00c4rger.txt", "\u212aelvin", "[x]", "a*b"]
    store.ready(folder("/report-directory"), *(file(f"/report-directory/{name}", 4) for name in names))
    return store


def found(store: Store, pattern: str) -> list[str]:
    return [path.removeprefix("/report-directory/") for path in store.search(pattern)]


def test_search_finds_names_that_contain_the_pattern(named: Store) -> None:
    assert found(named, "ort.t") == ["Report.TXT", "report.txt.bak"]


def test_search_ignores_case(named: Store) -> None:
    assert found(named, "REPORT") == ["Report.TXT", "report.txt.bak"]
    assert found(named, "NOTES.MD") == ["notes.md"]


def test_search_ignores_case_beyond_ascii(named: Store) -> None:
    assert found(named, "\u00e4RGER") == ["\u00c4rger.txt"]
    assert found(named, "kelvin") == ["\u212aelvin"]


def test_search_looks_at_names_and_not_at_paths(named: Store) -> None:
    assert found(named, "directory") == []
    assert found(named, "/") == []


def test_search_answers_files_alone(named: Store) -> None:
    assert all("directory" not in path for path in found(named, "report"))


def test_search_answers_nodes(named: Store) -> None:
    (node,) = named.http.get("/views/fs/search?pattern=notes").json()
    assert node == named.tree("/report-directory/notes.md")
    assert "children" not in node


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["Report.TXT", "\u00c4rger.txt"]),
        ("report*", ["Report.TXT", "report.txt.bak"]),
        ("*NOTES*", ["notes.md"]),
        ("notes.?d", ["notes.md"]),
        ("?RGER.TXT", ["\u00c4rger.txt"]),
        ("\u00e4*", ["\u00c4rger.txt"]),
        ("[a\u00e4]*", ["a*b", "\u00c4rger.txt"]),
        ("[!a-z[]*", ["\u00c4rger.txt"]),
        ("notes", ["notes.md"]),
        ("note[s].md", ["notes.md"]),
        ("notes?", []),
        ("[[]x]", ["[x]"]),
        ("a[*]b", ["a*b"]),
    ],
)
def test_a_pattern_with_a_wildcard_is_a_glob_over_the_whole_name(
    named: Store, pattern: str, names: list[str]
) -> None:
    assert found(named, pattern) == sorted(names)


@pytest.mark.parametrize("query", ["", "?pattern=", "?pattern", "?other=x"])
def test_a_missing_or_empty_pattern_is_422(named: Store, query: str) -> None:
    wrong_field(named.http.get(f"/views/fs/search{query}"), "/pattern")


def test_nothing_found_is_an_empty_list(named: Store) -> None:
    assert found(named, "nowhere") == []


def test_search_follows_changes(store: Store) -> None:
    session = store.ready(file("/old"))
    store.delete(session, "/old")
    store.message(session, file("/older"))
    assert store.search("old") == ["/older"]


# Reset


def test_reset_empties_the_tree_and_leaves_readiness(store: Store) -> None:
    session = store.ready(folder("/d"), file("/d/a"))
    answer = store.http.delete("/views/fs/reset")
    assert (answer.status_code, answer.content) == (204, b"")
    assert store.state() == "ready"
    assert store.paths() == set()
    assert store.counts() == (0, 1)
    assert store.search("a") == []
    store.message(session, file("/b"))
    assert store.paths() == {"/b"}


def test_reset_is_gated(store: Store) -> None:
    refused(store.http.delete("/views/fs/reset"), 503, "not_ready")
    session = store.open()
    store.snapshot(session, file("/a"))
    refused(store.http.delete("/views/fs/reset"), 503, "not_ready")
    store.end(session)
    assert store.paths() == {"/a"}


@pytest.mark.parametrize(
    "path", ["tree", "stats", "search?pattern=a", "search", "tree?max_depth=x", "tree?path=/x"]
)
def test_views_answer_503_until_ready(store: Store, path: str) -> None:
    answer = store.http.get(f"/views/fs/{path}")
    document = refused(answer, 503, "not_ready")
    assert set(document) == {"detail", "code", "state", "queue", "inflight"}
    assert document["state"] == "empty"
    assert document["queue"] == document["inflight"] == 0
    assert int(answer.headers["retry-after"]) >= 1
