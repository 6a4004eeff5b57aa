"""What views have in common: tags, content codings, HEAD, the revision they show, limits."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from service import Server, Store, file, folder, read_answer, refused, wrong_field
from twin import Twin, cut

from fusion.api.compression import zstd

TREE, STATS = "/views/fs/tree", "/views/fs/stats"
ROWS = [folder("/d", 3.5), file("/d/a", 1, 20.25), folder("/d/e"), file("/d/e/g", 2), file("/top", 3, 17.0)]


@pytest.fixture
def twin(store: Store) -> Twin:
    twin = Twin(store)
    twin.ready(*ROWS)
    return twin


def get(twin: Twin, target: str, **headers: str) -> httpx.Response:
    return twin.store.http.get(
        target, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


# Tags

TAGGED = [
    TREE,
    f"{TREE}?path=/d",
    f"{TREE}?path=/d/a",
    f"{TREE}?path=/d&format=ndjson",
    STATS,
    f"{STATS}?path=/d",
]


@pytest.mark.parametrize("target", TAGGED)
def test_an_answer_that_is_known_is_304(twin: Twin, target: str) -> None:
    first = get(twin, target)
    tag = first.headers["etag"]
    for field in (tag, f'"x", {tag}', "*", f"W/{tag.removeprefix('W/')}"):
        again = get(twin, target, If_None_Match=field)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-length" not in again.headers
        assert again.headers["x-fusion-revision"] == first.headers["x-fusion-revision"]
    assert get(twin, target, If_None_Match='"x"').content == first.content


def test_a_tag_changes_with_its_own_subtree_alone(twin: Twin) -> None:
    def tags() -> list[str]:
        return [get(twin, f"{TREE}?path={path}").headers["etag"] for path in ("/", "/d", "/d/e")]

    before = tags()
    twin.push(file("/d/e/g", 5))
    deep = tags()
    assert all(one != other for one, other in zip(before, deep, strict=True))
    twin.push(file("/top", 4))
    top = tags()
    assert top[0] != deep[0]
    assert top[1:] == deep[1:]


def test_a_subtree_made_anew_has_another_tag(twin: Twin) -> None:
    before = get(twin, f"{TREE}?path=/d/e")
    twin.delete("/d/e")
    twin.push(folder("/d/e"), file("/d/e/g", 2))
    after = get(twin, f"{TREE}?path=/d/e")
    assert after.json() == before.json()
    assert after.headers["etag"] != before.headers["etag"]


def test_a_reset_changes_tags(twin: Twin) -> None:
    before = get(twin, TREE).headers["etag"]
    twin.store.http.delete("/views/fs/reset")
    assert get(twin, TREE, If_None_Match=before).status_code == 200


def test_datastores_share_no_tag(neighbours: list[Store]) -> None:
    for store in neighbours:
        Twin(store).ready(*ROWS)
    one, other = (store.http.get(TREE) for store in neighbours)
    assert one.content == other.content
    assert one.headers["etag"] != other.headers["etag"]


def test_a_known_answer_of_a_closed_view_is_503_all_the_same(twin: Twin) -> None:
    tag = get(twin, TREE).headers["etag"]
    twin.store.anomaly(twin.session)
    answer = get(twin, TREE, If_None_Match=tag)
    refused(answer, 503, "not_ready")
    assert answer.headers["x-fusion-state"] == "tripped"


def test_the_tag_of_all_statistics_is_weak(twin: Twin) -> None:
    assert get(twin, STATS).headers["etag"].startswith('W/"')
    assert get(twin, f"{STATS}?path=/").headers["etag"].startswith('"')


# Content codings


def big(twin: Twin) -> None:
    twin.push(*(file(f"/big/{number:05}", number, number / 4) for number in range(4000)))


@pytest.mark.parametrize(
    "target", [f"{TREE}?path=/big", f"{TREE}?path=/big&max_depth=0", "/views/fs/search?pattern=1"]
)
def test_codings_hold_the_same(twin: Twin, target: str) -> None:
    big(twin)
    plain = get(twin, target, Accept_Encoding="identity")
    assert "content-encoding" not in plain.headers
    for coding, decode in (("gzip", lambda data: zlib.decompress(data, wbits=31)), ("zstd", zstd.decompress)):
        with twin.store.http.stream("GET", target, headers={"Accept-Encoding": coding}) as answer:
            data = b"".join(answer.iter_raw())
        assert "accept-encoding" in answer.headers["vary"]
        if len(plain.content) < 1024:
            assert "content-encoding" not in answer.headers
            assert data == plain.content
            continue
        assert answer.headers["content-encoding"] == coding
        assert decode(data) == plain.content
        assert len(data) < len(plain.content) / 5
        if "etag" in plain.headers:
            assert answer.headers["etag"] == plain.headers["etag"][:-1] + f'-{coding}"'
            known = get(twin, target, Accept_Encoding=coding, If_None_Match=answer.headers["etag"])
            assert known.status_code == 304
            assert known.headers["etag"] == answer.headers["etag"]


# HEAD


@pytest.mark.parametrize(
    "target", [*TAGGED, f"{TREE}?path=/big", "/views/fs/search?pattern=a", f"{TREE}?path=/none"]
)
def test_head_is_the_head_of_get(twin: Twin, target: str) -> None:
    big(twin)
    for coding in ("identity", "zstd"):
        headers = {"Accept-Encoding": coding}
        with twin.store.http.stream("GET", target, headers=headers) as expected:
            expected.read()
        head = twin.store.http.head(target, headers=headers)
        assert head.status_code == expected.status_code
        assert head.content == b""
        of_each = {"x-request-id"}  # errors have a new one each
        of_head, of_get = (
            {name: value for name, value in answer.headers.items() if name not in of_each}
            for answer in (head, expected)
        )
        assert of_head == of_get


# Revisions


def test_a_push_tells_the_revision_that_views_show(twin: Twin) -> None:
    revision = twin.push(file("/new"))
    for target in (*TAGGED, "/views/fs/search?pattern=a", "/views/fs/du", "/views/fs/histogram"):
        answer = get(twin, target)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-fusion-revision"] == str(revision)
        assert answer.headers["x-fusion-state"] == "ready"
    assert twin.push(file("/newer")) > revision


def test_a_revision_that_is_reached_is_answered(twin: Twin) -> None:
    revision = twin.push(file("/new"))
    assert get(twin, f"{TREE}?min_revision={revision}").json()["children"]["new"]
    assert get(twin, f"{STATS}?min_revision=0").status_code == 200


def test_a_revision_to_come_is_waited_for(twin: Twin) -> None:
    revision = twin.push(file("/new"))
    client = twin.store.server.client(headers={"X-API-Key": twin.store.key})
    answers: list[httpx.Response] = []
    target = f"{TREE}?min_revision={revision + 1}"
    waiting = threading.Thread(target=lambda: answers.append(client.get(target)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    twin.push(file("/newer"))
    waiting.join()
    assert "newer" in answers[0].json()["children"]
    assert int(answers[0].headers["x-fusion-revision"]) == revision + 1


def test_a_revision_that_does_not_come_is_503(twin: Twin) -> None:
    revision = twin.push(file("/new"))
    client = twin.store.server.client(headers={"X-API-Key": twin.store.key})

    def ask(view: str) -> httpx.Response:
        return client.get(f"/views/fs/{view}?pattern=a&min_revision={revision + 1}")

    with ThreadPoolExecutor() as pool:  # each waits for seconds
        answers = list(pool.map(ask, ["tree", "stats", "search", "du", "histogram"]))
    for answer in answers:
        assert refused(answer, 503, "revision_not_reached")["revision"] == revision
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("view", ["tree", "stats", "search", "du", "histogram"])
@pytest.mark.parametrize("wrong", ["-1", "x", "1.5", "", str(2**63)])
def test_a_wrong_revision_is_422(twin: Twin, view: str, wrong: str) -> None:
    wrong_field(get(twin, f"/views/fs/{view}?pattern=a&min_revision={wrong}"), "/min_revision")


# Questions in a body


def ask(twin: Twin, document: Any) -> httpx.Response:
    return twin.store.http.post(TREE, json=document)


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("", {}),
        ("path=/d", {"path": "/d"}),
        ("path=/d", {"path": "//d/", "max_depth": None}),
        ("path=/d&recursive=false", {"path": "/d", "recursive": False}),
        ("path=/&max_depth=1&only_path=true", {"path": "/", "max_depth": 1, "only_path": True}),
        (
            "path=/d&format=ndjson&fields=path,size",
            {"path": "/d", "format": "ndjson", "fields": ["path", "size"]},
        ),
        ("path=/d&limit=1", {"path": "/d", "limit": 1}),
    ],
)
def test_a_question_in_a_body_is_the_same_question(twin: Twin, query: str, document: dict[str, Any]) -> None:
    expected, answer = get(twin, f"{TREE}?{query}"), ask(twin, document)
    assert answer.status_code == 200, answer.text
    assert answer.content == expected.content
    assert answer.headers["content-type"] == expected.headers["content-type"]


def test_a_path_longer_than_any_url(twin: Twin) -> None:
    path = "/" + "/".join(["ü" * 127] * 250)
    twin.push(file(path, 7))
    answer = ask(twin, {"path": path})
    assert answer.json() == twin.node(path)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"path": 1}, "/path"),
        ({"path": "/a\0b"}, "/path"),
        ({"recursive": "true"}, "/recursive"),
        ({"max_depth": -1}, "/max_depth"),
        ({"max_depth": True}, "/max_depth"),
        ({"limit": 0}, "/limit"),
        ({"limit": 10_001}, "/limit"),
        ({"fields": ["inode"]}, "/fields"),
        ({"format": "xml"}, "/format"),
        ({"cursor": 1}, "/cursor"),
        ({"min_revision": -1}, "/min_revision"),
        ([], ""),
    ],
)
def test_a_wrong_question_in_a_body_is_422(twin: Twin, document: Any, pointer: str) -> None:
    wrong_field(ask(twin, document), pointer)


def test_a_question_in_a_body_needs_json_and_the_scope(twin: Twin) -> None:
    refused(twin.store.http.post(TREE, content=b"{"), 400, "malformed_json")
    writer = twin.store.server.client(headers={"X-API-Key": f"{twin.store.name}-ingest"})
    refused(writer.post(TREE, json={}), 403, "forbidden")


# Limits


def test_what_is_too_large_is_413_with_its_size(start: Callable[..., Server]) -> None:
    server = start({"few": ""}, "max_answer_nodes = 3000\nmax_answer_bytes = 1000000")
    twin = Twin(Store(server, "few"))
    twin.ready(*(file(f"/wide/{number:05}", number) for number in range(2_990)))
    assert twin.found("tree") == twin.oracle.tree()
    twin.push(*(file(f"/more/{number:05}") for number in range(20)))
    for target in (TREE, f"{TREE}?format=ndjson"):
        document = refused(get(twin, target), 413, "answer_too_large")
        assert document["nodes"] == 3_013
        assert "max_answer_nodes" in document["detail"]
    twin.delete("/more", "/wide")
    top = f"/wide/{'x' * 200}"
    twin.push(*(file(f"{top}/{'y' * 240}/{'z' * 60}{number:04}") for number in range(1500)))
    document = refused(get(twin, f"{TREE}?path={top}"), 413, "answer_too_large")
    assert document["bytes"] == len(twin.oracle.tree_json(top)) > 1_000_000
    assert document["nodes"] == 1502
    assert "max_answer_bytes" in document["detail"]
    assert twin.found("tree", top, fields="size") == cut(twin.oracle.tree(top), ("size",))


def test_going_on_behind_a_413(start: Callable[..., Server]) -> None:
    server = start({"few": ""}, "max_answer_nodes = 100")
    twin = Twin(Store(server, "few"))
    twin.ready(*(file(f"/d{number % 7}/{number:05}", number) for number in range(500)))
    cursor = refused(get(twin, f"{TREE}?format=ndjson"), 413, "answer_too_large")["cursor"]
    lines: list[Any] = []
    while cursor is not None:
        answer = twin.get("tree", format="ndjson", limit=90, cursor=cursor)
        assert answer.status_code == 200, answer.text
        lines += [line for line in answer.text.split("\n") if line]
        cursor = answer.headers.get("x-fusion-cursor")
    assert len(lines) == len(twin.lines())


# Connections


def test_an_answer_in_http_1_0_has_its_length(twin: Twin) -> None:
    big(twin)
    head = f"GET {TREE} HTTP/1.0\r\nX-API-Key: {twin.store.key}\r\nAccept-Encoding: gzip\r\n\r\n"
    with twin.store.server.connect() as connection:
        connection.sendall(head.encode())
        answer = read_answer(connection)
        assert connection.recv(1) == b""
    assert answer.json() == twin.oracle.tree()
    assert "transfer-encoding" not in answer.headers


def test_a_connection_serves_on_after_a_large_answer(twin: Twin) -> None:
    big(twin)
    connection = twin.store.server.connection()
    for _ in range(3):
        for target in (TREE, f"{TREE}?path=/d", STATS):
            connection.request("GET", target, headers={"X-API-Key": twin.store.key})
            answer = connection.getresponse()
            assert answer.status == 200
            body = answer.read()
            if target == TREE:
                assert body == twin.oracle.tree_json()
