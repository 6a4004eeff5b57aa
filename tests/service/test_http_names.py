"""Names are bytes: any UTF-8, exactly, and what is not UTF-8 as well."""

from __future__ import annotations

import base64
import json
import os
import unicodedata
from typing import Any

import pytest
from service import Store, accepted, file, folder, wrong_field

NAMES = [
    "space name",
    'quote"and\\backslash',
    "new\nline",
    "tab\tand\rreturn",
    "".join(map(chr, range(1, 32))),
    "\x7f\x80\x9f",
    "\u00e4\u00f6\u00fc\u00df",
    "\u6587\u4ef6\u540d",
    "\U0001f600\U0001f9d1\u200d\U0001f680",
    "x" * 255,
    "\u4e2d" * 85,
    "\u2028\u2029\ufeff",
    "\ufffd",
    "\U0010ffff\uffff",
    "a+b&c=d?e#f%41;g",
    "...",
    "~",
    "NaN",
    "children",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_utf8_name_is_kept_exactly(store: Store, name: str) -> None:
    store.ready(file(f"/d/{name}", 5))
    node = store.tree(f"/d/{name}")
    assert (node["name"], node["path"]) == (name, f"/d/{name}")
    assert list(store.tree("/d")["children"]) == [name]
    assert "raw_name" not in node


@pytest.mark.parametrize("ascii_only", [True, False])
def test_escaped_and_plain_json_are_the_same_name(store: Store, ascii_only: bool) -> None:
    session = store.ready()
    for name in NAMES:
        body = {"session_id": session, "source_type": "message", "events": [{"rows": [file(f"/{name}")]}]}
        accepted(store.post(json.dumps(body, ensure_ascii=ascii_only).encode()))
    assert list(store.tree()["children"]) == NAMES


def test_there_is_no_unicode_normalisation(store: Store) -> None:
    composed = unicodedata.normalize("NFC", "e\u0301")
    decomposed = unicodedata.normalize("NFD", composed)
    store.ready(file(f"/{composed}", 1), file(f"/{decomposed}", 2))
    assert store.tree(f"/{composed}")["size"] == 1
    assert store.tree(f"/{decomposed}")["size"] == 2
    assert len(store.tree()["children"]) == 2


def test_names_differ_by_case(store: Store) -> None:
    store.ready(file("/A", 1), file("/a", 2))
    assert store.tree("/A")["size"] == 1
    assert store.tree("/a")["size"] == 2


RAW_NAMES = [
    b"\xff",
    b"caf\xe9",
    "\u6587\u4ef6".encode("gbk"),
    b"\x80\x80",
    b"a\xffb\xfe",
    b"\xed\xa0\x80",
    b"\xc3",
]


def raw_file(name: bytes, size: int = 0, directory: str = "/d") -> dict[str, Any]:
    return file(f"{directory}/{os.fsdecode(name)}", size)


def push_raw(store: Store, session: str, *rows: dict[str, Any], **event: Any) -> None:
    """As agents do: surrogate escapes, in JSON's own \\u form."""
    events = [{"rows": list(rows), **event}]
    body = {"session_id": session, "source_type": "message", "events": events}
    accepted(store.post(json.dumps(body).encode()))


@pytest.mark.parametrize("name", RAW_NAMES)
def test_a_name_that_is_not_utf8_is_stored_as_its_bytes(store: Store, name: bytes) -> None:
    push_raw(store, store.ready(), raw_file(name, 5))
    answer = store.get_tree(b"/d/" + name)
    assert answer.status_code == 200
    node = json.loads(answer.content.decode("utf-8"))
    assert base64.b64decode(node["raw_name"]) == name
    assert node["size"] == 5


@pytest.mark.parametrize("name", RAW_NAMES)
def test_each_undecodable_byte_is_shown_as_fffd(store: Store, name: bytes) -> None:
    push_raw(store, store.ready(), raw_file(name))
    shown = "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in os.fsdecode(name))
    (key, node), *others = store.tree("/d")["children"].items()
    assert not others
    assert key == node["name"] == shown
    assert node["path"] == f"/d/{shown}"


def test_raw_name_comes_with_only_path_too(store: Store) -> None:
    push_raw(store, store.ready(), raw_file(b"\xff"))
    (node,) = store.tree("/d", only_path="true")["children"].values()
    assert set(node) == {"name", "content_type", "path", "raw_name"}
    (node,) = store.tree("/d", only_path="true", recursive="false")["children"]
    assert base64.b64decode(node["raw_name"]) == b"\xff"


def test_keys_that_would_collide_get_more_fffd(store: Store) -> None:
    session = store.ready()
    push_raw(
        store, session, raw_file(b"\xff"), raw_file(b"\xfe"), raw_file("\ufffd".encode()), raw_file(b"\xfd")
    )
    children = store.tree("/d")["children"]
    assert len(children) == 4
    assert set(map(len, children)) == {1, 2, 3, 4}
    assert set("".join(children)) == {"\ufffd"}
    assert {node["name"] for node in children.values()} == {"\ufffd"}
    raw = {base64.b64decode(node["raw_name"]) for node in children.values() if "raw_name" in node}
    assert raw == {b"\xff", b"\xfe", b"\xfd"}
    assert len(store.tree("/d", recursive="false")["children"]) == 4


def test_a_directory_with_such_a_name_has_children(store: Store) -> None:
    session = store.ready()
    push_raw(store, session, file(os.fsdecode(b"/\xff/inner")), folder(os.fsdecode(b"/\xff")))
    assert store.tree(b"/\xff/inner")["path"] == "/\ufffd/inner"
    assert "raw_name" not in store.tree(b"/\xff/inner")
    assert base64.b64decode(store.tree(b"/\xff")["raw_name"]) == b"\xff"
    push_raw(store, session, {"path": os.fsdecode(b"/\xff")}, event_type="delete")
    assert store.paths() == set()


def test_escapes_that_spell_utf8_are_that_name(store: Store) -> None:
    session = store.ready()
    push_raw(store, session, file("/\udcc3\udca4", 7))
    assert store.tree("/\u00e4")["size"] == 7
    assert "raw_name" not in store.tree("/\u00e4")
    push_raw(store, session, file("/\u00e4", 8))
    assert store.tree()["children"] == {"\u00e4": store.tree("/\u00e4")}


@pytest.mark.parametrize(
    "escape", ["\\ud800", "\\udfff", "\\udc7f", "\\udd00", "\\udbff", "\\ud83dx", "\\udc00"]
)
def test_any_other_lone_surrogate_is_422(store: Store, escape: str) -> None:
    session = store.ready()
    rows = f'[{{"path":"/good"}},{{"path":"/bad{escape}"}}]'
    body = f'{{"session_id":"{session}","source_type":"message","events":[{{"rows":{rows}}}]}}'
    wrong_field(store.post(body.encode()), "/events/0/rows/1/path")
    assert store.paths() == set()


def test_a_surrogate_in_another_field_is_422(store: Store) -> None:
    answer = store.http.post("/ingestor-api/v1/sessions/", content=b'{"task_id":"\\udcff"}')
    wrong_field(answer, "/task_id")


def test_such_a_file_is_found_by_search(store: Store) -> None:
    push_raw(store, store.ready(), raw_file(b"caf\xe9.txt"))
    answer = store.http.get("/views/fs/search", params={"pattern": "caf"})
    (node,) = json.loads(answer.content.decode("utf-8"))
    assert base64.b64decode(node["raw_name"]) == b"caf\xe9.txt"
    assert node["path"] == "/d/caf\ufffd.txt"


def test_such_a_file_is_found_by_its_raw_bytes(store: Store) -> None:
    push_raw(store, store.ready(), raw_file(b"caf\xe9.txt"), raw_file(b"caf\xe8.txt"))
    (node,) = store.http.get("/views/fs/search?pattern=f%E9").json()
    assert base64.b64decode(node["raw_name"]) == b"caf\xe9.txt"


def test_the_oldest_directory_may_have_such_a_name(store: Store) -> None:
    push_raw(store, store.ready(), folder(os.fsdecode(b"/\xff"), 5.0))
    assert store.stats()["oldest_directory"] == {"path": "/\ufffd", "timestamp": 5.0}
    assert store.http.get("/ingestor-api/v1/events/stats").status_code == 200


def test_a_plus_in_the_query_is_a_space(store: Store) -> None:
    store.ready(file("/a b", 1), file("/a+b", 2))
    assert store.http.get("/views/fs/tree?path=/a+b").json()["size"] == 1
    assert store.http.get("/views/fs/tree?path=/a%2Bb").json()["size"] == 2


def test_a_percent_sign_that_escapes_nothing_is_itself(store: Store) -> None:
    store.ready(file("/100%", 1), file("/%zz", 2))
    assert store.http.get("/views/fs/tree?path=/100%").json()["size"] == 1
    assert store.http.get("/views/fs/tree?path=/%zz").json()["size"] == 2


def test_a_path_of_four_kilobytes_can_be_asked_for(store: Store) -> None:
    path = "/" + "/".join("\u4e2d" * 85 for _ in range(16))
    store.ready(file(path, 3))
    assert store.tree(path)["size"] == 3


def test_a_deep_tree_is_shown_whole(store: Store) -> None:
    path = "/d" * 500
    store.ready(file(f"{path}/f", 3))
    assert store.tree(f"{path}/f")["size"] == 3
    depth = store.get_tree().text.count('"content_type"')
    assert depth == 502
