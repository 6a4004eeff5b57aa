"""What the console looks like: every view on a desktop and a phone, light and dark, in both languages.

The pictures go to build/screenshots; some of them are those in docs/images.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console_page import PHONE, ConsolePage
from playwright.sync_api import Route, expect
from service import Store, file, folder

Visit = Callable[..., ConsolePage]

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
NOW = 1_780_000_000.0
DAY = 86_400.0
# Directories of a research group: the number of files in each, and their typical size.
PLACES = {
    "/projects/genomes/reads/2024": (420, 2e8, "sample-{:04}.fastq.gz"),
    "/projects/genomes/reads/2025": (610, 2e8, "sample-{:04}.fastq.gz"),
    "/projects/genomes/alignments": (240, 5e8, "sample-{:04}.bam"),
    "/projects/genomes/variants": (240, 2e7, "sample-{:04}.vcf.gz"),
    "/projects/climate/model-runs/era5": (730, 1e8, "t2m-{:04}.nc"),
    "/projects/climate/model-runs/cmip6": (310, 2e8, "tas-{:04}.nc"),
    "/projects/climate/figures": (90, 8e5, "figure-{:02}.pdf"),
    "/projects/telescope/night-logs": (365, 4e5, "night-{:03}.log"),
    "/projects/telescope/raw": (800, 6e7, "exposure-{:05}.fits"),
    "/projects/telescope/mosaics": (24, 1.5e9, "mosaic-{:02}.fits"),
    "/shared/models/language": (12, 6e9, "checkpoint-{:03}.safetensors"),
    "/shared/models/vision": (30, 8e8, "epoch-{:03}.pt"),
    "/shared/datasets/images": (16, 2.5e9, "train-{:03}.tar"),
    "/shared/datasets/speech": (700, 3e7, "speaker-{:04}.flac"),
    "/shared/文档": (40, 2e6, "报告-{:02}.docx"),
    "/home/ada/notebooks": (60, 4e8, "analysis-{:02}.ipynb"),
    "/home/ada/scratch": (90, 3e8, "core.{:05}"),
    "/home/grace/src/compiler": (300, 1e4, "pass_{:03}.c"),
    "/home/grace/virtual-machines": (5, 8e9, "disk-{}.qcow2"),
    "/home/grace/mail": (900, 5e4, "{:05}.eml"),
    "/backup/weekly": (52, 3e9, "week-{:02}.tar.zst"),
    "/backup/databases": (120, 5e8, "dump-{:03}.sql.zst"),
}
LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 1},
    "phone-dark-chinese": {
        "viewport": PHONE,
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "dark",
        "locale": "zh-CN",
    },
    "chinese": {"locale": "zh-CN"},
}
VIEWS = {
    "overview": ("#/overview", ".sessions td"),
    "explorer": ("#/explore/", ".space .row"),
    "search": ("#/search?pattern=sample&sort=size", ".space .row"),
    "map": ("#/map/", "a.tile.depth2"),
    "histograms": ("#/histograms/", ".histogram table"),
}


def tree() -> list[dict[str, Any]]:
    chance = random.Random(1)
    rows = []
    for place, (count, size, name) in PLACES.items():
        times = [NOW - DAY * chance.lognormvariate(5, 1.6) for _ in range(count)]
        above = place
        while above:
            rows.append(folder(above, max(times)))
            above = above.rpartition("/")[0]
        for number, modified in enumerate(times):
            weight = math.exp(chance.gauss(0, 0.9))
            rows.append(file(f"{place}/{name.format(number)}", int(size * weight), modified))
    return rows


@pytest.fixture
def busy() -> Callable[[ConsolePage], None]:
    """Let a page see a minute of a datastore that is busy, at once."""

    def live(page: ConsolePage) -> None:
        chance = random.Random(7)
        answers = iter(range(10**6))
        rows = 184_200

        def told(route: Route) -> None:
            nonlocal rows
            second = next(answers)
            rows += int(900 + 500 * math.sin(second / 9) + chance.randrange(300) + 1500 * (second % 31 == 17))
            status = route.fetch().json()
            status["datastore"] = "research"
            status["time"] = NOW + second
            status["started"] = NOW - 3 * DAY
            status["totals"] = {"rows": rows, "batches": rows // 700, "body_bytes": rows * 148}
            status["queue"] = {"batches": max(0, chance.randrange(-9, 4)), "bytes": 0}
            status["last_event_latency_ms"] = 9 + 4 * math.sin(second / 5) + chance.random() * 6
            for session in status["sessions"]:
                session |= {
                    "task_id": "watch /srv/data",
                    "created_at": NOW - 3 * DAY,
                    "last_activity": NOW + second - 2,
                }
            route.fulfill(json=status)

        page.page.route("**/status", told)
        page.page.clock.install()
        page.page.reload()
        expect(page.find(".tiles dd").first).to_be_visible()
        for _ in range(58):
            with page.page.expect_response("**/status"):
                page.page.clock.run_for(1000)

    return live


@pytest.fixture(scope="module")
def research(server: Any, _unused: list[str]) -> Iterator[Store]:
    store = Store(server, _unused.pop(0))
    store.ready(*tree())
    yield store


@pytest.mark.parametrize("look", LOOKS)
def test_pictures(visit: Visit, research: Store, busy: Callable[[ConsolePage], None], look: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = visit(None, **LOOKS[look])
    expect(page.find("#key")).to_be_visible()
    page.page.screenshot(path=PICTURES / f"sign-in-{look}.png")
    page.page.evaluate("key => sessionStorage.setItem('fusion-key', key)", research.key)
    busy(page)
    for name, (address, complete) in VIEWS.items():
        page.page.evaluate("address => location.hash = address", address)
        expect(page.find(complete).first).to_be_visible()
        if name == "explorer":
            for directory in ("projects", "genomes", "reads"):
                page.row(directory).locator(".twist").click()
            expect(page.row("2025").locator(".size")).to_contain_text("iB")
            expect(page.find(".details")).to_contain_text("reads")
            page.page.mouse.move(0, 0)
        page.page.screenshot(path=PICTURES / f"{name}-{look}.png")


@pytest.mark.parametrize("look", ["light", "phone-dark-chinese"])
def test_a_picture_of_waiting(visit: Visit, store: Store, look: str) -> None:
    session = store.open("watch /srv/data")
    store.snapshot(session, *tree()[:3000])
    page = visit(store.key, "#/explore/projects", **LOOKS[look])
    expect(page.find(".waiting progress")).to_be_visible()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.page.screenshot(path=PICTURES / f"waiting-{look}.png")
