"""GET /views/fs/tree: parameters, nodes, order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from service import Store, file, folder, refused, wrong_field

TREE = [
    folder("/d", 10.5),
    file("/d/a", 1, 20.25),
    folder("/d/e"),
    folder("/d/e/f"),
    file("/d/e/f/g", 2),
    file("/top", 3, 1705832400.0),
]


@pytest.fixture
def stored(store: Store) -> Store:
    store.ready(*TREE)
    return store


# Where to start


@pytest.mark.parametrize("path", ["/d", "/d/", "//d", "d", "/x/../d", "/./d/.", "/d/e/..", "///d//", "/../d"])
def test_the_path_is_normalised(stored: Store, path: str) -> None:
    node = stored.tree(path)
    assert (node["path"], node["name"]) == ("/d", "d")


@pytest.mark.parametrize("query", ["", "?path=", "?path=/", "?path=.", "?path=/d/..", "?path"])
def test_an_empty_path_is_the_root(stored: Store, query: str) -> None:
    node = stored.http.get(f"/views/fs/tree{query}").json()
    assert (node["path"], node["name"]) == ("/", "")


@pytest.mark.parametrize("path", ["/none", "/d/none", "/top/x", "/d/a/x", "/dd"])
def test_an_unknown_path_is_404(stored: Store, path: str) -> None:
    refused(stored.get_tree(path), 404, "path_not_found")


def test_a_path_with_nul_is_422(stored: Store) -> None:
    wrong_field(stored.get_tree(b"/a\0b"), "/path")


def test_a_file_answers_its_node(stored: Store) -> None:
    assert stored.tree("/top") == {
        "name": "top",
        "content_type": "file",
        "path": "/top",
        "size": 3,
        "modified_time": 1705832400.0,
        "created_time": 1705832400.0,
    }


# recursive, max_depth, only_path


def test_children_are_an_object_by_name(stored: Store) -> None:
    root = stored.tree()
    assert list(root["children"]) == ["d", "top"]
    assert root["children"]["d"]["children"]["e"]["children"]["f"]["children"]["g"]["path"] == "/d/e/f/g"


def test_recursive_false_lists_the_direct_children(stored: Store) -> None:
    children = stored.tree("/d", recursive="false")["children"]
    assert [child["name"] for child in children] == ["a", "e"]
    assert all("children" not in child for child in children)


def test_recursive_false_of_an_empty_directory_and_of_a_file(store: Store) -> None:
    store.ready(folder("/empty"), file("/f"))
    assert store.tree("/empty", recursive="false")["children"] == []
    assert "children" not in store.tree("/f", recursive="false")


def test_max_depth_is_relative_to_the_path(stored: Store) -> None:
    assert set(stored.tree("/d", max_depth=1)["children"]) == {"a", "e"}
    assert set(stored.tree("/d", max_depth=2)["children"]["e"]["children"]) == {"f"}


def test_children_are_absent_at_the_depth_limit_and_on_files(stored: Store) -> None:
    children = stored.tree("/d", max_depth=1)["children"]
    assert "children" not in children["e"]
    assert "children" not in children["a"]


def test_max_depth_0_is_the_node_alone(stored: Store) -> None:
    assert "children" not in stored.tree("/d", max_depth=0)
    assert "children" not in stored.tree("/", max_depth=0, recursive="false")


def test_max_depth_wins_over_recursive_false(stored: Store) -> None:
    node = stored.tree("/d", max_depth=2, recursive="false")
    assert isinstance(node["children"], dict)
    assert set(node["children"]["e"]["children"]) == {"f"}


def test_a_huge_max_depth_is_everything(stored: Store) -> None:
    for depth in (65_535, 2**31, 2**64, 10**30, "0" * 50 + "9"):
        assert stored.tree("/", max_depth=depth) == stored.tree("/")


def test_an_empty_directory_has_empty_children(store: Store) -> None:
    store.ready(folder("/empty"))
    assert store.tree("/empty")["children"] == {}


def test_an_empty_tree_is_the_root_alone(store: Store) -> None:
    store.ready()
    assert store.tree() == {
        "name": "",
        "content_type": "directory",
        "path": "/",
        "size": 0,
        "modified_time": 0.0,
        "created_time": 0.0,
        "children": {},
    }


def test_only_path_leaves_out_size_and_times_everywhere(stored: Store) -> None:
    def check(node: dict[str, Any]) -> None:
        assert set(node) <= {"name", "content_type", "path", "children"}
        for child in node.get("children", {}).values():
            check(child)

    check(stored.tree("/", only_path="true"))
    for child in stored.tree("/", only_path="true", recursive="false")["children"]:
        assert set(child) == {"name", "content_type", "path"}


@pytest.mark.parametrize("yes", ["true", "TRUE", "True", "1", "yes", "Yes", "on", "ON"])
def test_words_for_true(stored: Store, yes: str) -> None:
    assert "size" not in stored.tree("/d", only_path=yes)
    assert isinstance(stored.tree("/d", recursive=yes)["children"], dict)


@pytest.mark.parametrize("no", ["false", "FALSE", "0", "no", "No", "off", "oFF"])
def test_words_for_false(stored: Store, no: str) -> None:
    assert "size" in stored.tree("/d", only_path=no)
    assert isinstance(stored.tree("/d", recursive=no)["children"], list)


@pytest.mark.parametrize("parameter", ["recursive", "only_path"])
@pytest.mark.parametrize("value", ["maybe", "", "2", "-1", "null", "truee", " true", "tru\u00e9"])
def test_other_booleans_are_422(stored: Store, parameter: str, value: str) -> None:
    wrong_field(stored.get_tree("/d", **{parameter: value}), f"/{parameter}")


@pytest.mark.parametrize("value", ["-1", "1.0", "one", "", "1e3", " 1", "+1", "0x1", "\u0661", "null"])
def test_other_depths_are_422(stored: Store, value: str) -> None:
    wrong_field(stored.get_tree("/d", max_depth=value), "/max_depth")


def test_unknown_parameters_are_ignored(stored: Store) -> None:
    assert stored.tree("/d", colour="red") == stored.tree("/d")


# Nodes


def test_a_node_has_these_keys_and_no_others(stored: Store) -> None:
    keys = ["name", "content_type", "path", "size", "modified_time", "created_time"]
    root = stored.tree()
    assert list(root) == [*keys, "children"]
    assert list(root["children"]["d"]) == [*keys, "children"]
    assert list(root["children"]["top"]) == keys
    assert root["children"]["d"]["content_type"] == "directory"
    assert root["children"]["top"]["content_type"] == "file"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("1705832400", "1705832400.0"),
        ("1705832400.25", "1705832400.25"),
        ("1795461842.9020936", "1795461842.9020936"),
        ("0.1", "0.1"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("-1.5", "-1.5"),
        ("1e22", "1e+22"),
        ("12345678901234567890", "1.2345678901234567e+19"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("null", "0.0"),
    ],
)
def test_times_are_the_shortest_form_of_the_same_double(store: Store, sent: str, shown: str) -> None:
    session = store.ready()
    row = f'{{"path":"/f","size":1,"modified_time":{sent},"created_time":{sent},"is_dir":false}}'
    body = f'{{"session_id":"{session}","source_type":"message","events":[{{"rows":[{row}]}}]}}'
    assert store.post(body.encode()).status_code == 204
    text = store.get_tree("/f").text
    literal = text.split('"modified_time":')[1].split(",")[0].strip()
    assert literal == text.split('"created_time":')[1].split("}")[0].strip()
    assert "." in literal or "e" in literal
    assert json.loads(literal) == json.loads(shown)
    assert len(literal) <= len(shown)


def test_modified_and_created_time_are_kept_apart(store: Store) -> None:
    store.ready(file("/f", created_time=1.5, m=0) | {"modified_time": 2.5})
    node = store.tree("/f")
    assert (node["modified_time"], node["created_time"]) == (2.5, 1.5)


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**53 + 1, 2**63 - 1])
def test_sizes_are_exact_integers(store: Store, size: int) -> None:
    store.ready(file("/f", size))
    assert store.tree("/f")["size"] == size


def test_parents_that_no_row_described_have_zeros(store: Store) -> None:
    store.ready(file("/a/b/c", 7, 8.0))
    node = store.tree("/a")
    assert (node["size"], node["modified_time"], node["created_time"]) == (0, 0.0, 0.0)
    assert node["content_type"] == "directory"
    assert node["children"]["b"]["size"] == 0


def test_a_described_directory_keeps_its_size(store: Store) -> None:
    store.ready(folder("/d", size=4096))
    assert store.tree("/d")["size"] == 4096


# Order


def test_children_come_in_insertion_order(store: Store) -> None:
    names = ["z", "a", "m", "0", "k"]
    store.ready(*(file(f"/{name}") for name in names))
    assert list(store.tree()["children"]) == names
    assert [child["name"] for child in store.tree(recursive="false")["children"]] == names


def test_an_update_keeps_its_place(store: Store) -> None:
    session = store.ready(file("/c"), file("/a"), file("/b"))
    store.message(session, file("/c", 9))
    assert list(store.tree()["children"]) == ["c", "a", "b"]


def test_a_recreated_child_goes_to_the_end(store: Store) -> None:
    session = store.ready(file("/c"), file("/a"), file("/b"))
    store.delete(session, "/c")
    store.message(session, file("/c"))
    assert list(store.tree()["children"]) == ["a", "b", "c"]


# Large answers


def test_a_tree_of_many_megabytes_comes_whole(store: Store) -> None:
    rows = [file(f"/d{number % 100}/{'x' * 200}{number}", number, 1.5) for number in range(20_000)]
    session = store.open()
    for start in range(0, len(rows), 1_000):
        store.snapshot(session, *rows[start : start + 1_000])
    store.end(session)
    answer = store.get_tree()
    assert len(answer.content) > 8_000_000
    assert answer.headers["transfer-encoding"] == "chunked"
    found = {
        node["path"]: node["size"]
        for directory in answer.json()["children"].values()
        for node in directory["children"].values()
    }
    assert found == {row["path"]: row["size"] for row in rows}
    refused(store.get_tree("/d0/none"), 404)
