"""A server with datastores that nobody has used, and a browser that notices whatever goes wrong in a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service import STUCK_SECONDS, Server, Store, config

# Playwright may be missing: then test modules are skipped, see console_page, and this one has to load.
if TYPE_CHECKING:
    from console_page import ConsolePage
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
SETTINGS = 'session_timeout_seconds = 3600\ndurability = "none"'
DATASTORES = 128


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    names = {f"store{number}": SETTINGS for number in range(DATASTORES)}
    server = Server(tmp_path_factory.mktemp("console"), config(names))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _unused() -> list[str]:
    return [f"store{number}" for number in range(DATASTORES)]


@pytest.fixture
def store(server: Server, _unused: list[str]) -> Store:
    """A datastore nobody used before."""
    return Store(server, _unused.pop(0))


# Not once for all: Playwright keeps an event loop running, which other tests of the process must not find.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    expect.set_options(timeout=STUCK_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., ConsolePage]]:
    """Open the console; keywords are those of a browser context. It must have worked without an error."""
    from console_page import ConsolePage

    opened: list[ConsolePage] = []

    def open_page(key: str | None = None, place: str = "", **options: Any) -> ConsolePage:
        opened.append(ConsolePage(browser, server.url, key, options))
        opened[-1].go(place)
        return opened[-1]

    yield open_page
    for page in opened:
        page.close()
    for page in opened:
        assert page.problems == []
