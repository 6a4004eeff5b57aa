"""Search as one types, its filters, and what it finds while the tree changes."""

from __future__ import annotations

from collections.abc import Callable

from console_page import ConsolePage
from playwright.sync_api import expect
from service import Store, file, folder, until
from test_console_explorer import push

Visit = Callable[..., ConsolePage]

ROWS = [
    file("/data/Report.csv", 2 * 1024 * 1024, 1.6e9),
    file("/data/report-old.csv", 10, 1.2e9),
    file("/else/report.txt", 30, 1.7e9),
    folder("/data/reports"),
]


def test_results_come_as_one_types(visit: Visit, store: Store) -> None:
    store.ready(*ROWS)
    page = visit(store.key)
    page.press("/")
    field = page.find("input[name=pattern]")
    expect(field).to_be_focused()
    field.press_sequentially("REPORT")
    expect(page.role("status").filter(has_text="3 matches")).to_be_visible()
    assert page.names() == ["Report.csv", "report-old.csv", "report.txt"]
    assert page.find("mark").all_text_contents() == ["Report", "report", "report"]
    field.press_sequentially(".csv")
    until(lambda: page.names() == ["Report.csv"])
    page.is_at("#/search?pattern=REPORT.csv")
    page.page.reload()
    until(lambda: page.names() == ["Report.csv"])
    field.fill("*.csv")
    until(lambda: page.names() == ["Report.csv", "report-old.csv"])
    field.fill("nothing at all")
    expect(page.find(".found")).to_have_text("Nothing matches.")


def test_filters(visit: Visit, store: Store) -> None:
    store.ready(*ROWS)
    page = visit(store.key, "#/search?pattern=report")
    every = ["Report.csv", "report-old.csv", "report.txt"]
    until(lambda: page.names() == every)

    def found(*names: str) -> None:
        until(lambda: page.names() == list(names))

    label = page.page.get_by_label
    label("Find", exact=True).select_option("directory")
    found("reports")
    label("Find", exact=True).select_option("file")
    label("Below").fill("/else")
    found("report.txt")
    label("Below").fill("")
    label("At least").fill("1")
    found("Report.csv")
    label("At least").fill("")
    label("Modified before").fill("2010-01-01")
    found("report-old.csv")
    label("Modified before").fill("")
    label("Modified after").fill("2022-01-01")
    found("report.txt")
    label("Modified after").fill("")
    label("Sort by").select_option("time")
    found("report.txt", "Report.csv", "report-old.csv")
    label("Compare").select_option("path")
    page.find("input[name=pattern]").fill("/else/")
    found("report.txt")


def test_below_something_that_is_not_there(visit: Visit, store: Store) -> None:
    store.ready(*ROWS)
    page = visit(store.key, "#/search?pattern=report&below=/nowhere")
    page.refusals = {404}
    expect(page.find(".found")).to_contain_text("/nowhere")


def test_a_match_opens_in_its_directory(visit: Visit, store: Store) -> None:
    session = store.ready(*ROWS)
    push(store, session, b"/od\xff/re\xfeport", b"/od\xff/dir/report in odd")
    page = visit(store.key, "#/search?pattern=report")
    until(lambda: len(page.names()) == 4)
    page.find("input[name=pattern]").press("ArrowDown")
    page.press("Home", "Enter")
    page.is_at("#/explore/data/Report.csv")
    expect(page.row("Report.csv")).to_have_attribute("aria-selected", "true")
    page.page.go_back()
    page.row("report in odd").dblclick()
    page.is_at("#/explore/od%FF/dir/report%20in%20odd")
    expect(page.row("report in odd")).to_have_attribute("aria-selected", "true")


def test_what_is_found_keeps_up_with_the_tree(visit: Visit, store: Store) -> None:
    session = store.ready(*ROWS)
    page = visit(store.key, "#/search?pattern=report")
    until(lambda: len(page.names()) == 3)
    page.row("report.txt").click()
    store.message(session, file("/another/report", 4))
    expect(page.row("report")).to_be_visible()
    expect(page.row("report.txt")).to_have_attribute("aria-selected", "true")
    store.delete(session, "/another")
    expect(page.row("report")).to_have_count(0)


def test_pages_of_matches_come_as_one_scrolls(visit: Visit, store: Store) -> None:
    store.ready(*(file(f"/d/match{number:04}", 1) for number in range(1000)))
    page = visit(store.key, "#/search?pattern=match")
    expect(page.find(".found")).to_have_text("1,000 matches")
    expect(page.row("match0000")).to_be_visible()
    grid = page.role("grid")

    def at_the_end() -> bool:
        grid.evaluate("grid => grid.scrollTop = grid.scrollHeight")
        return "match0999" in page.names()

    until(at_the_end)
    assert page.find(".space .row").count() < 80
