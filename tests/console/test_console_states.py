"""The overview in every state, and views that wait for the service to be ready."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from console_page import ConsolePage
from playwright.sync_api import Route, expect
from service import Store, file, until

Visit = Callable[..., ConsolePage]


@pytest.mark.parametrize("place", ["#/explore/d", "#/search?pattern=a", "#/map/d", "#/histograms/d"])
def test_a_view_that_is_not_ready_says_why_and_comes_back(visit: Visit, store: Store, place: str) -> None:
    page = visit(store.key, place)
    expect(page.find(".waiting")).to_contain_text("No agent yet")
    session = store.open("backup")
    store.snapshot(session, file("/d/a.txt", 1024))
    expect(page.find(".waiting")).to_contain_text("Taking a snapshot")
    expect(page.find("progress")).to_be_visible()
    expect(page.find(".pill")).to_have_text("Taking a snapshot")
    assert not any("/views/" in request.url for request in page.requests)
    store.end(session)
    expect(page.find(".waiting")).to_have_count(0)
    expect(page.find("main")).to_contain_text("1.0 KiB" if place != "#/map/d" else "a.txt")
    page.is_at(place)


def test_a_tripped_breaker_closes_the_view_where_it_was(visit: Visit, store: Store) -> None:
    page_of = file("/d/a.txt", 1024)
    session = store.ready(page_of)
    page = visit(store.key, "#/explore/d")
    page.refusals = {503}  # of a request that was under way
    expect(page.row("a.txt")).to_be_visible()
    assert store.anomaly(session, reason="a <b>lost</b> event").status_code == 200
    expect(page.find(".waiting")).to_contain_text("Breaker tripped")
    page.role("link", "Overview").click()
    expect(page.find(".breaker")).to_contain_text("a <b>lost</b> event")
    page.page.go_back()
    store.snapshot(session, page_of, file("/d/b.txt", 1))
    store.end(session)
    expect(page.row("b.txt")).to_be_visible()


def test_progress_that_has_an_end_is_a_share(visit: Visit, store: Store) -> None:
    def recovering(route: Route) -> None:
        status = route.fetch().json() | {
            "state": "recovering",
            "ready": False,
            "reason": "The journal is being replayed.",
            "progress": {"phase": "recovery", "done": 250, "total": 1000},
        }
        route.fulfill(json=status)

    page = visit()
    page.page.route("**/status", recovering)
    page.page.evaluate("key => sessionStorage.setItem('fusion-key', key)", store.key)
    page.page.reload()
    expect(page.find(".lead")).to_contain_text("250 of 1,000 records replayed")
    assert page.find(".lead progress").evaluate("bar => bar.position") == 0.25
    page.page.evaluate("location.hash = '#/explore/'")
    expect(page.find(".waiting")).to_contain_text("The journal is being replayed.")


def test_the_overview_tells_what_there_is_and_who_tells_it(visit: Visit, store: Store) -> None:
    session = store.ready(file("/d/a", 1024), file("/d/b", 3072))
    page = visit(store.key)
    tile = page.find(".tiles .card")
    expect(tile.filter(has_text="Files")).to_contain_text("2")
    expect(tile.filter(has_text="Directories")).to_contain_text("2")
    expect(tile.filter(has_text="Total size")).to_contain_text("4.0 KiB")
    expect(page.find(".sessions")).to_contain_text("127.0.0.1")
    expect(page.find(".breaker")).to_contain_text("Closed")
    for chart in ("Rows ingested", "Latency of events", "Waiting batches"):
        expect(page.role("img", chart)).to_be_visible()
    store.message(session, *(file(f"/e/{number}", 1) for number in range(100)))
    expect(tile.filter(has_text="Files")).to_contain_text("102")
    expect(page.role("img", "Rows ingested: ")).to_have_accessible_name(re.compile("at most (?!0 )"))
    store.end_session(session)
    expect(page.find(".lead")).to_contain_text("Agent lost")
    expect(page.find(".sessions")).to_contain_text("No agent is connected.")


def test_nothing_is_asked_while_the_page_is_hidden(visit: Visit, store: Store) -> None:
    store.ready()
    page = visit()
    page.page.clock.install()
    page.page.evaluate("key => sessionStorage.setItem('fusion-key', key)", store.key)
    page.page.reload()
    expect(page.find(".lead")).to_be_visible()
    hide = """isHidden => {
        Object.defineProperty(document, "hidden", {get: () => isHidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.page.evaluate(hide, True)
    until(lambda: page.page.evaluate("1") and all(request.response() for request in page.requests))
    asked = len(page.requests)
    for _ in range(5):
        page.page.clock.fast_forward(60_000)
    page.page.evaluate("fetch('/health/live').then(answer => answer.text())")
    assert [urlsplit(request.url).path for request in page.requests[asked:]] == ["/health/live"]
    with page.page.expect_request("**/status"):
        page.page.evaluate(hide, False)
