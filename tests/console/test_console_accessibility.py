"""Names, roles, contrast, and that the keyboard comes everywhere: of every view, in both colour schemes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from console_page import PHONE, ConsolePage
from playwright.sync_api import expect
from service import Store, file

Visit = Callable[..., ConsolePage]

ROWS = [
    file("/data/large.bin", 700_000, 1.6e9),
    file("/data/more/middle.bin", 200_000, 1.2e9),
    file("/data/more/again/small.txt", 90_000, 1.7e9),
    file("/top.txt", 50_000, 1.0e9),
]
# Of each view an address, and what is there once it is complete.
VIEWS = {
    "sign-in": ("", "#key"),
    "overview": ("#/overview", ".tiles dd"),
    "explorer": ("#/explore/data/large.bin", ".details dl"),
    "search": ("#/search?pattern=a", ".space .row"),
    "map": ("#/map/", "a.tile"),
    "histograms": ("#/histograms/", ".histogram table"),
    "waiting": ("#/explore/", ".waiting progress"),
}
CLICKABLE = "a[href], button, input, select, summary, [tabindex]"
CONTRAST = """() => {
    const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
        .getContext("2d", {willReadFrequently: true});
    const channels = colour => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].map(channel => channel / 255);
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((channel, i) => channel * a + below[i] * (1 - a));
    const behind = element => {
        if (!element) return [1, 1, 1];
        const style = getComputedStyle(element), colour = channels(style.backgroundColor);
        return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
    };
    const luminance = colour => colour.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text; text = texts.nextNode();) {
        const element = text.parentElement, style = getComputedStyle(element);
        if (!text.data.trim() || element.closest(".unseen, noscript")) continue;
        if (!element.checkVisibility({visibilityProperty: true})) continue;
        const back = behind(element), front = over(channels(style.color), back);
        const [light, dark] = [luminance(front), luminance(back)].sort((one, other) => other - one);
        const ratio = (light + 0.05) / (dark + 0.05), size = parseFloat(style.fontSize);
        if (ratio < (size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5))
            poor.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 40)} (${element.className})`);
    }
    return poor;
}"""


@pytest.fixture(params=VIEWS)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def opened(visit: Visit, store: Store, place: str, **options: Any) -> ConsolePage:
    if place == "waiting":
        session = store.open()
        store.snapshot(session, *ROWS)
    else:
        store.ready(*ROWS)
    address, complete = VIEWS[place]
    page = visit(None if place == "sign-in" else store.key, address, **options)
    expect(page.find(complete).first).to_be_visible()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_all_text_can_be_read(
    visit: Visit, store: Store, place: str, scheme: str, viewport: dict[str, int] | None
) -> None:
    options: dict[str, Any] = {"viewport": viewport, "is_mobile": True} if viewport else {}
    page = opened(visit, store, place, color_scheme=scheme, reduced_motion="reduce", **options)
    assert page.page.evaluate(CONTRAST) == []
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_whatever_can_be_used_has_a_name(visit: Visit, store: Store, place: str) -> None:
    page = opened(visit, store, place)
    tree = page.context.new_cdp_session(page.page).send("Accessibility.getFullAXTree")["nodes"]
    nameless = [
        node
        for node in tree
        if not node["ignored"]
        and any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] not in ("RootWebArea", "main")
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def test_the_page_is_sound(visit: Visit, store: Store, place: str) -> None:
    page = opened(visit, store, place)
    expect(page.role("main")).to_have_count(1)
    expect(page.role("heading", level=1)).to_have_count(1)
    ids = page.page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))
    for attribute in ("aria-describedby", "aria-labelledby", "aria-activedescendant", "for"):
        named = page.page.evaluate(
            """name => [...document.querySelectorAll(`[${name}]`)]
                .flatMap(one => one.getAttribute(name).split(" "))""",
            attribute,
        )
        assert set(named) <= set(ids), attribute
    assert page.page.title().endswith("Fusion")


def test_the_keyboard_comes_everywhere_and_is_seen(visit: Visit, store: Store, place: str) -> None:
    page = opened(visit, store, place)
    page.page.evaluate("document.activeElement.blur()")
    wanted = page.page.evaluate(
        """selector => {
            const all = [...document.querySelectorAll(selector)]
                .filter(one => one.tabIndex >= 0 && one.checkVisibility());
            all.forEach((one, number) => one.dataset.number = number);
            return all.length;
        }""",
        CLICKABLE,
    )
    reached = set()
    for _ in range(3 * wanted + 20):  # fields of dates are several stops
        page.press("Tab")
        number, outline = page.page.evaluate(
            "[document.activeElement.dataset.number, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if number is None:
            continue
        assert outline != "none", page.page.evaluate("document.activeElement.outerHTML")
        reached.add(int(number))
    assert reached == set(range(wanted))


def test_the_first_stop_leads_past_the_navigation(visit: Visit, store: Store) -> None:
    page = opened(visit, store, "histograms")
    page.press("Tab", "Enter")
    expect(page.role("main")).to_be_focused()
    page.is_at("#/histograms/")


def test_motion_stops_where_it_is_not_wanted(visit: Visit, store: Store) -> None:
    page = opened(visit, store, "waiting", reduced_motion="reduce")
    assert page.page.evaluate("document.getAnimations().length") == 0


def test_the_theme_can_be_chosen_and_stays(visit: Visit, store: Store) -> None:
    page = opened(visit, store, "overview", color_scheme="light")

    def background() -> str:
        return page.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = background()
    page.role("button", "Theme: as the system has it").click()
    assert background() == light
    page.role("button", "Theme: light").click()
    expect(page.role("button", "Theme: dark")).to_be_visible()
    assert background() != light
    page.page.reload()
    expect(page.role("button", "Theme: dark")).to_be_visible()
    assert background() != light
