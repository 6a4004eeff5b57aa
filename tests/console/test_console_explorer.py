"""The tree in the explorer: by keyboard and mouse, with any names, of any size, while it changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from console_page import PHONE, ConsolePage
from playwright.sync_api import expect
from service import Store, accepted, file, folder, until

Visit = Callable[..., ConsolePage]

DEEP = [
    file("/one/two/three/four/five/leaf.txt", 3 * 1024, 1.7e9),
    file("/one/other.bin", 1024),
    folder("/one/empty"),
    file("/zero", 5),
]


def push(store: Store, session: str, *paths: bytes) -> None:
    """Files whose names need not be UTF-8."""
    rows = [file(path.decode("utf-8", "surrogateescape"), 7) for path in paths]
    body = {"session_id": session, "source_type": "message", "events": [{"rows": rows}]}
    accepted(store.post(json.dumps(body).encode()))


def active(page: ConsolePage) -> str | None:
    """The name in the row that the grid says is active."""
    return page.page.evaluate(
        """() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))
            ?.querySelector(".cell .name")?.textContent ?? null"""
    )


def test_the_keyboard_alone_opens_five_levels(visit: Visit, store: Store) -> None:
    store.ready(*DEEP)
    page = visit(store.key, "#/explore/")
    expect(page.row("one")).to_be_visible()
    expect(page.role("treegrid")).to_be_focused()
    until(lambda: active(page) == "one")
    for name in ("two", "three", "four", "five"):
        page.press("ArrowRight")
        until(lambda name=name: name in page.names())
        page.press("ArrowRight")
        while active(page) != name:
            page.press("ArrowDown")
    page.press("ArrowRight")
    expect(page.row("leaf.txt")).to_have_attribute("aria-level", "6")
    page.press("End")
    until(lambda: active(page) == "zero")
    page.press("Home")
    until(lambda: active(page) == "one")
    while active(page) != "leaf.txt":
        page.press("ArrowDown")
    expect(page.find(".details")).to_contain_text("/one/two/three/four/five/leaf.txt")
    expect(page.find(".details")).to_contain_text("3.0 KiB")
    page.press("ArrowLeft")
    until(lambda: active(page) == "five")
    page.press("ArrowLeft")
    expect(page.row("leaf.txt")).to_have_count(0)


def test_going_into_five_directories_and_back(visit: Visit, store: Store) -> None:
    store.ready(*DEEP)
    page = visit(store.key, "#/explore/")
    place = "#/explore"
    for name in ("one", "two", "three", "four", "five"):
        page.row(name).get_by_role("link").click()
        place += f"/{name}"
        page.is_at(place)
    expect(page.row("leaf.txt")).to_be_visible()
    page.page.reload()
    expect(page.row("leaf.txt")).to_be_visible()
    crumbs = page.role("navigation", "Place").get_by_role("link")
    assert crumbs.all_text_contents() == ["/", "one", "two", "three", "four", "five"]
    page.press("Backspace")
    page.is_at("#/explore/one/two/three/four")
    page.page.go_back()
    expect(page.row("leaf.txt")).to_be_visible()
    crumbs.first.click()
    expect(page.row("zero")).to_be_visible()


def test_enter_goes_into_a_directory(visit: Visit, store: Store) -> None:
    store.ready(*DEEP)
    page = visit(store.key, "#/explore/one")
    expect(page.row("two")).to_be_visible()
    until(lambda: active(page) == "empty")
    page.press("Enter")
    page.is_at("#/explore/one/empty")
    expect(page.find(".space")).to_contain_text("This directory is empty.")


def test_directories_show_what_is_below_them(visit: Visit, store: Store) -> None:
    store.ready(*DEEP)
    page = visit(store.key, "#/explore/one")
    expect(page.row("two").locator(".size")).to_have_text("3.0 KiB")
    expect(page.row("two").locator(".share")).to_have_text("75%")
    expect(page.row("other.bin").locator(".share")).to_have_text("25%")
    expect(page.row("empty").locator(".size")).to_have_text("0 B")


def test_columns_sort(visit: Visit, store: Store) -> None:
    store.ready(
        file("/b10", 1, 30.0), file("/b9", 3, 10.0), file("/a", 2, 20.0), file("/d/x", 2), folder("/d", 5.0)
    )
    page = visit(store.key, "#/explore/")

    def sorted_by(column: str, direction: str, *names: str) -> None:
        page.role("columnheader", column).get_by_role("button").click()
        expect(page.role("columnheader", column)).to_have_attribute("aria-sort", direction)
        until(lambda: page.names() == list(names))

    until(lambda: page.names() == ["d", "a", "b9", "b10"])
    sorted_by("Name", "descending", "b10", "b9", "a", "d")
    sorted_by("Size", "descending", "b9", "d", "a", "b10")
    sorted_by("Size", "ascending", "b10", "d", "a", "b9")
    sorted_by("Modified", "descending", "b10", "a", "b9", "d")


def test_hostile_names_are_text(visit: Visit, store: Store) -> None:
    name = '<img src=x onerror="window.hacked=1">&amp;'
    store.ready(file(f"/{name}/<b>", 1), file("/a?b#c%41+d e", 2), folder("/.x"))
    page = visit(store.key, "#/explore/")
    expect(page.row("a?b#c%41+d e")).to_be_visible()
    page.row(name).get_by_role("link").click()
    expect(page.row("<b>")).to_be_visible()
    expect(page.role("navigation", "Place")).to_contain_text(name)
    page.row("<b>").click()
    expect(page.find(".details .path")).to_have_text(f"/{name}/<b>")
    page.page.go_back()
    page.row("a?b#c%41+d e").click()
    expect(page.find(".details .path")).to_have_text("/a?b#c%41+d e")
    assert page.page.evaluate("window.hacked") is None


def test_names_that_are_not_utf8_open(visit: Visit, store: Store) -> None:
    session = store.ready(file("/plain"))
    push(store, session, b"/d\xff\xfe/e\x80/f\xfd", b"/d\xff\xfe/sound")
    page = visit(store.key, "#/explore/")
    page.row("d\ufffd\ufffd").get_by_role("link").click()
    page.is_at("#/explore/d%FF%FE")
    expect(page.row("sound")).to_be_visible()
    page.row("e\ufffd").get_by_role("link").click()
    expect(page.row("f\ufffd")).to_be_visible()
    page.page.reload()
    page.row("f\ufffd").click()
    expect(page.find(".details")).to_contain_text("7 B")


def test_an_address_of_a_file_chooses_it(visit: Visit, store: Store) -> None:
    store.ready(*(file(f"/d/f{number:04}", number) for number in range(2500)))
    page = visit(store.key, "#/explore/d/f2345")
    expect(page.row("f2345")).to_have_attribute("aria-selected", "true")
    expect(page.find(".details")).to_contain_text("/d/f2345")


def test_what_is_gone_is_told(visit: Visit, store: Store) -> None:
    session = store.ready(*DEEP)
    page = visit(store.key, "#/explore/one/two")
    page.refusals = {404}
    expect(page.row("three")).to_be_visible()
    store.delete(session, "/one/two")
    expect(page.find(".notice")).to_contain_text("There is no /one/two any more.")
    page.role("link", "Go to /one").click()
    expect(page.row("other.bin")).to_be_visible()


# Large directories

MANY = 30_000


def test_a_large_directory_loads_as_one_scrolls_and_sorts_when_asked(visit: Visit, store: Store) -> None:
    session = store.open()
    # Stored in an order that is neither that of names nor its reverse.
    for start in range(0, MANY, 10_000):
        numbers = range(start, start + 10_000)
        store.snapshot(session, *(file(f"/wide/f{number * 7919 % MANY:05}", number) for number in numbers))
    store.end(session)
    page = visit(store.key, "#/explore/wide")
    grid = page.role("treegrid")
    expect(page.row("f00000")).to_be_visible()
    expect(page.find(".notice")).to_contain_text("Large directory")
    assert int(grid.get_attribute("aria-rowcount") or 0) <= 3002
    with page.page.expect_request(re.compile("/views/fs/tree")):
        grid.evaluate("grid => grid.scrollTop = grid.scrollHeight")
    page.role("button", "Load all and sort").click()
    expect(grid).to_have_attribute("aria-rowcount", str(MANY + 1))
    page.press("End")
    expect(page.row(f"f{MANY - 1:05}")).to_be_visible()
    for part in range(11):
        grid.evaluate("(grid, part) => grid.scrollTop = grid.scrollHeight * part / 10", part)
        names = page.page.evaluate(
            """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => resolve(
                [...document.querySelectorAll(".space .cell.name .name")].map(name => name.textContent)))))"""
        )
        assert 0 < len(names) < 80
        assert sorted(names)[0] == f"f{min(int(name[1:]) for name in names):05}"
    page.role("columnheader", "Size").get_by_role("button").click()
    page.press("Home")
    until(lambda: page.names()[0] == f"f{(MANY - 1) * 7919 % MANY:05}")


# While it changes


def test_a_change_appears_by_itself_and_leaves_scroll_and_choice_alone(visit: Visit, store: Store) -> None:
    session = store.ready(*(file(f"/d/f{number:03}", 1) for number in range(300)))
    page = visit(store.key, "#/explore/d")
    grid = page.role("treegrid")
    expect(page.row("f000")).to_be_visible()
    grid.evaluate("grid => grid.scrollTop = 4000")
    page.row("f130").click()
    expect(page.find(".details")).to_contain_text("1 B")
    where = page.row("f130").bounding_box()
    store.message(session, file("/d/a-new", 5), file("/d/f130", 2048), file("/d/f130a", 9))
    expect(page.row("f130a")).to_be_visible()
    expect(page.row("f130").locator(".size")).to_have_text("2.0 KiB")
    expect(page.row("f130")).to_have_attribute("aria-selected", "true")
    expect(page.find(".details")).to_contain_text("2.0 KiB")
    assert page.row("f130").bounding_box() == where
    store.delete(session, "/d/f129", "/d/f130a")
    expect(page.row("f130a")).to_have_count(0)
    expect(page.row("f129")).to_have_count(0)
    page.press("Home")
    expect(page.row("a-new")).to_be_visible()


def test_changes_below_an_open_directory_appear(visit: Visit, store: Store) -> None:
    session = store.ready(file("/a/b/c/x", 1), file("/z", 1))
    page = visit(store.key, "#/explore/")
    page.refusals = {404}  # of what was asked for and is gone
    for name in ("a", "b", "c"):
        page.row(name).locator(".twist").click()
    expect(page.row("x")).to_be_visible()
    store.message(session, file("/a/b/c/y", 4095))
    expect(page.row("y")).to_be_visible()
    expect(page.row("a").locator(".size")).to_have_text("4.0 KiB")
    store.message(session, file("/a/b", 2))  # it is a file now
    expect(page.row("x")).to_have_count(0)
    expect(page.row("b").locator(".size")).to_have_text("2 B")


def test_pages_of_a_large_directory_keep_up(visit: Visit, store: Store) -> None:
    session = store.ready(*(file(f"/d/f{number:04}", 1) for number in range(2500)))
    page = visit(store.key, "#/explore/d")
    page.role("button", "Load all and sort").click()
    expect(page.role("treegrid")).to_have_attribute("aria-rowcount", "2501")
    store.delete(session, *(f"/d/f{number:04}" for number in range(0, 2500, 2)))
    store.message(session, file("/d/f0000x", 3))
    expect(page.row("f0000x")).to_be_visible()
    expect(page.row("f0002")).to_have_count(0)
    for index, name in ((0, "f0000x"), (-1, "f2499")):
        page.press("End" if index else "Home")
        until(lambda name=name, index=index: page.names()[index] == name)


# On a phone


def test_a_phone_shows_all_of_it(visit: Visit, store: Store) -> None:
    store.ready(*DEEP)
    page = visit(store.key, "#/explore/", viewport=PHONE, has_touch=True, is_mobile=True)
    page.row("one").get_by_role("link").tap()
    page.row("two").locator(".twist").tap()
    expect(page.row("three")).to_be_visible()
    page.row("other.bin").tap()
    expect(page.find(".details")).to_contain_text("/one/other.bin")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
