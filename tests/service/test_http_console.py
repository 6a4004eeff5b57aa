"""The console's files: which there are, their types, tags and policy. tests/console tests what they do."""

from __future__ import annotations

import re

import pytest
from service import Store, refused

from fusion.api.assets import ASSETS, PAGE

ROUTES = {"/view": PAGE} | {f"/view/static/{name}": asset for name, asset in ASSETS.items()}
TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}

every_file = pytest.mark.parametrize("path", ROUTES)


@every_file
def test_a_file_comes_without_a_key(store: Store, path: str) -> None:
    answer = store.server.http.get(path)
    assert answer.status_code == 200
    assert answer.content == ROUTES[path].body
    assert answer.headers["content-type"] == TYPES.get(path.rpartition(".")[2], "text/html; charset=utf-8")


@every_file
def test_a_file_that_is_at_hand_is_not_sent_again(store: Store, path: str) -> None:
    tag = store.server.http.get(path).headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = store.server.http.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert store.server.http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@every_file
@pytest.mark.parametrize("is_known", [False, True])
def test_the_policy_lets_no_other_script_and_no_other_host_in(
    store: Store, path: str, is_known: bool
) -> None:
    answer = store.server.http.get(path, headers={"If-None-Match": "*"} if is_known else {})
    policy = dict(
        directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; ")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing.js",
        "index.html",
        "docs.html",
        "../index.html",
        "..%2Findex.html",
        "%2E%2E/__init__.py",
        "..%5Cindex.html",
        "style.css%00.js",
        "STYLE.CSS",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
    ],
)
def test_nothing_else_is_served(store: Store, name: str) -> None:
    request = f"GET /view/static/{name} HTTP/1.1\r\nHost: x\r\n\r\n"
    refused(store.server.raw(request.encode()), 404, "route_not_found")


def test_only_get(store: Store) -> None:
    assert refused(store.server.http.post("/view/static/main.js"), 405)


def test_the_page_names_files_that_there_are(store: Store) -> None:
    """All that any file of the console asks for, so that it works without a network."""
    for path, asset in ROUTES.items():
        text = asset.body.decode()
        named = set(re.findall(r'(?:href|src)[=:]\s*"(/view/static/[^"]+)"', text))
        named |= {f"/view/static/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}
        assert named <= set(ROUTES), path
        outside = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", text)) - {"http://www.w3.org"}
        assert not outside, path


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    text = PAGE.body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", text)


def test_names_go_in_as_text_alone() -> None:
    for name, asset in ASSETS.items():
        if name.endswith(".js"):
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", asset.body.decode()
            ), name
