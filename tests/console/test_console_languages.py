"""English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable

from console_page import ConsolePage
from playwright.sync_api import expect
from service import Store, file

Visit = Callable[..., ConsolePage]


def test_both_languages_say_everything_with_the_same_values(visit: Visit) -> None:
    texts = visit().page.evaluate("import('/view/static/i18n.js').then(({TEXTS}) => TEXTS)")

    def values(text: str | dict[str, str]) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text if isinstance(text, str) else text["other"]))

    assert list(texts["en"]) == list(texts["zh"])
    for name, text in texts["en"].items():
        assert values(text) == values(texts["zh"][name]), name


def test_the_browser_chooses_and_the_person_changes_it(visit: Visit, store: Store) -> None:
    store.ready(file("/d/a", 1))
    page = visit(locale="zh-CN")
    page.page.get_by_label("API 密钥").fill(store.key)
    page.press("Enter")
    expect(page.find(".lead")).to_contain_text("就绪")
    assert page.page.evaluate("document.documentElement.lang") == "zh-CN"
    page.page.evaluate("location.hash = '#/explore/d'")
    expect(page.role("columnheader", "名称")).to_be_visible()
    page.role("button", "Switch to English").click()
    expect(page.role("columnheader", "Name")).to_be_visible()
    expect(page.row("a")).to_be_visible()
    page.page.reload()
    expect(page.role("columnheader", "Name")).to_be_visible()
