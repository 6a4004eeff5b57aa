"""One visitor of the console: a page in a browser context of its own, and what went wrong in it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
# What Chromium writes about any answer that is an error.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


class ConsolePage:
    """`refusals`: the statuses that a test means to see, beside 2xx and 304."""

    def __init__(self, browser: Browser, url: str, key: str | None, options: dict[str, Any]) -> None:
        self.url = url
        self.problems: list[str] = []
        self.refusals: set[int] = set()
        self.requests: list[Request] = []
        self.context = browser.new_context(**{"locale": "en-US", "viewport": DESKTOP, **options})
        if key is not None:
            # Once: a page that signs out and is loaded again stays signed out.
            self.context.add_init_script(
                f"localStorage.given ??= sessionStorage.setItem('fusion-key', {key!r}) ?? 1"
            )
        self.page: Page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._on_request)

    def go(self, place: str = "") -> None:
        """Open an address of the console, such as `#/explore/usr`."""
        self.page.goto(f"{self.url}/view{place}")

    def find(self, selector: str, **options: Any) -> Locator:
        return self.page.locator(selector, **options)

    def role(self, role: Any, name: str | re.Pattern[str] | None = None, **options: Any) -> Locator:
        return self.page.get_by_role(role, name=name, **options)

    def row(self, name: str) -> Locator:
        """The row of a grid whose name is this."""
        exactly = re.compile(f"^{re.escape(name)}$")
        return self.page.locator(".space .row").filter(has=self.page.locator(".cell .name", has_text=exactly))

    def names(self) -> list[str]:
        """The names in the grid's rows that are in the document, from the top."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll(".space .row")]
                .sort((one, other) => one.ariaRowIndex - other.ariaRowIndex)
                .map(row => (row.querySelector(".cell .name") ?? row).textContent)"""
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def is_at(self, place: str) -> None:
        expect(self.page).to_have_url(f"{self.url}/view{place}")

    def close(self) -> None:
        self.page.unroute_all(behavior="ignoreErrors")  # requests may be under way
        self.context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        refused = REFUSED.match(message.text)
        if message.type in ("error", "warning") and not (refused and int(refused[1]) in self.refusals):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.problems.append(f"a request to another host: {request.url}")
