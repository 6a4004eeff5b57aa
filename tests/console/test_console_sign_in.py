"""The way in and out: keys, scopes, and where the key goes."""

from __future__ import annotations

import re
from collections.abc import Callable

from console_page import ConsolePage
from playwright.sync_api import Route, expect
from service import Store, file

Visit = Callable[..., ConsolePage]


def sign_in(page: ConsolePage, key: str) -> None:
    page.page.get_by_label("API key").fill(key)
    page.role("button", "Sign in").click()


def test_a_key_opens_the_overview_and_stays_out_of_addresses(visit: Visit, store: Store) -> None:
    store.ready(file("/d/a", 3))
    page = visit()
    sign_in(page, store.key)
    expect(page.role("heading", store.name)).to_be_visible()
    expect(page.find(".lead")).to_contain_text("Ready")
    assert page.page.evaluate("sessionStorage.getItem('fusion-key')") == store.key
    assert page.page.evaluate("JSON.stringify(localStorage)").find(store.key) < 0
    asked = [request for request in page.requests if request.url.endswith("/status")]
    assert asked and all(request.headers["x-api-key"] == store.key for request in asked)
    assert not any(store.key in request.url for request in page.requests)
    assert store.key not in page.page.url


def test_an_unknown_key_is_told_so(visit: Visit, store: Store) -> None:
    page = visit()
    page.refusals = {401}
    sign_in(page, "wrong ü")
    expect(page.role("alert")).to_have_text("The server does not know this key. Check it and sign in again.")
    assert page.page.evaluate("sessionStorage.getItem('fusion-key')") is None
    store.ready()
    sign_in(page, store.key)
    expect(page.find(".lead")).to_be_visible()


def test_a_key_that_is_taken_away_leads_back_to_the_sign_in(visit: Visit, store: Store) -> None:
    store.ready(file("/a"))
    page = visit(store.key, "#/explore/")
    expect(page.row("a")).to_be_visible()
    page.refusals = {401}

    def unauthorized(route: Route) -> None:
        route.fulfill(status=401, json={"detail": "this API key is not known", "code": "unauthorized"})

    page.page.route("**/status", unauthorized)
    expect(page.role("alert")).to_contain_text("does not know this key")
    expect(page.page.get_by_label("API key")).to_be_focused()
    page.page.unroute("**/status")
    sign_in(page, store.key)
    expect(page.row("a")).to_be_visible()  # where one was


def test_a_key_without_the_scope_is_told_which(visit: Visit, store: Store) -> None:
    page = visit()
    page.refusals = {403}
    sign_in(page, f"{store.name}-ingest")
    expect(page.role("alert")).to_contain_text("scope “read”")
    page.role("button", "Sign out").click()
    expect(page.page.get_by_label("API key")).to_be_visible()


def test_signing_out_forgets_the_key(visit: Visit, store: Store) -> None:
    store.ready()
    page = visit(store.key)
    page.role("button", "Sign out").click()
    expect(page.page.get_by_label("API key")).to_be_focused()
    assert page.page.evaluate("sessionStorage.length") == 0
    page.page.reload()
    expect(page.page.get_by_label("API key")).to_be_focused()


def test_a_server_that_cannot_be_reached_is_told_and_found_again(visit: Visit, store: Store) -> None:
    store.ready()
    page = visit(store.key)
    expect(page.find(".lead")).to_be_visible()
    page.context.set_offline(True)
    expect(page.find(".banner")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    expect(page.find(".banner")).to_be_empty()
    page.problems = [problem for problem in page.problems if "ERR_INTERNET_DISCONNECTED" not in problem]


def test_a_pause_that_the_server_asks_for_is_kept(visit: Visit, store: Store) -> None:
    store.ready(file("/a"))
    page = visit(store.key)
    expect(page.find(".lead")).to_be_visible()
    page.refusals = {429}
    answered = []

    def busy(route: Route) -> None:
        if answered:
            return route.fallback()
        answered.append(route)
        return route.fulfill(
            status=429, headers={"Retry-After": "2"}, json={"detail": "too much", "code": "too_many"}
        )

    page.page.route(re.compile("/views/fs/tree"), busy)
    page.role("link", "Explorer").click()
    expect(page.find(".banner")).to_contain_text("asks for a pause")
    expect(page.row("a")).to_be_visible()
    assert len(answered) == 1
