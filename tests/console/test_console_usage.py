"""Where the bytes are: the map, and the histograms."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from console_page import ConsolePage
from playwright.sync_api import expect
from service import Store, file, until

Visit = Callable[..., ConsolePage]

KIB = 1024
ROWS = [
    file("/d/large", 600 * KIB, 1.0),
    file("/d/e/middle", 300 * KIB, 1.0),
    file("/small", 100 * KIB, 1.0),
    file("/none", 0, 1.0),
]


def tiles(page: ConsolePage) -> list[str]:
    return page.page.evaluate("[...document.querySelectorAll('a.tile')].map(tile => tile.ariaLabel)")


def test_the_map_shows_the_largest_and_goes_into_it(visit: Visit, store: Store) -> None:
    session = store.ready(*ROWS)
    page = visit(store.key, "#/map/")
    inside_d = ["large, 600 KiB, 60%", "e, 300 KiB, 30%", "middle, 300 KiB, 30%"]
    until(lambda: tiles(page) == ["d, 900 KiB, 90%", *inside_d, "small, 100 KiB, 10%"])
    expect(page.find(".lists")).to_contain_text("large")
    page.role("link", "d, 900 KiB, 90%").click(position={"x": 10, "y": 8})
    page.is_at("#/map/d")
    until(lambda: tiles(page)[0] == "large, 600 KiB, 67%")
    store.message(session, file("/d/new", 900 * KIB))
    until(lambda: tiles(page)[0] == "new, 900 KiB, 50%")
    page.role("listitem").get_by_role("link", name="new, 900 KiB, 50%").press("Enter")
    page.is_at("#/explore/d/new")


def test_the_map_of_nothing(visit: Visit, store: Store) -> None:
    store.ready(file("/none", 0))
    page = visit(store.key, "#/map/")
    expect(page.find(".map")).to_have_text("There are no bytes here.")


def test_histograms_count_files_and_bytes(visit: Visit, store: Store) -> None:
    session = store.ready(*ROWS)
    page = visit(store.key, "#/histograms/")
    rows = page.role("table", "By size").get_by_role("row")
    expect(rows.filter(has_text="64 KiB – 256 KiB")).to_contain_text("100 KiB")
    expect(rows.filter(has_text="256 KiB – 1 MiB").get_by_role("cell")).to_have_text(["2", "900 KiB"])
    expect(rows.filter(has_text="empty").get_by_role("cell")).to_have_text(["1", "0 B"])
    expect(page.role("table", "By age").get_by_role("row").nth(1)).to_contain_text("over 10 years")
    store.message(session, file("/more", 0))
    expect(rows.filter(has_text="empty").get_by_role("cell")).to_have_text(["2", "0 B"])
    page.page.evaluate("location.hash = '#/histograms/d/e'")
    expect(page.find(".histogram").first).to_contain_text("1 file, 300 KiB")


def test_tiles_fill_the_map_each_by_its_weight(visit: Visit) -> None:
    page = visit()
    for seed in range(50):
        chance = random.Random(seed)
        shape = chance.choice((0.5, 1, 3))
        weights = sorted((chance.paretovariate(shape) for _ in range(chance.randrange(1, 80))), reverse=True)
        box = {"x": 3, "y": 5, "width": chance.randrange(1, 2000), "height": chance.randrange(1, 2000)}
        boxes = page.page.evaluate(
            """([weights, box]) => import("/view/static/treemap.js")
                .then(({squarify}) => squarify(weights, box))""",
            [weights, box],
        )
        area = box["width"] * box["height"] / sum(weights)
        for weight, tile in zip(weights, boxes, strict=True):
            assert tile["width"] * tile["height"] == pytest.approx(weight * area, rel=1e-6)
            for start, length in (("x", "width"), ("y", "height")):
                assert tile[start] >= box[start] - 1e-6
                assert tile[start] + tile[length] <= box[start] + box[length] + 1e-6
        for index, one in enumerate(boxes):
            assert all(overlap(one, other) < 1e-6 for other in boxes[:index])


def overlap(one: dict[str, float], other: dict[str, float]) -> float:
    """How far two boxes reach into each other."""
    return min(
        min(one[start] + one[length], other[start] + other[length]) - max(one[start], other[start])
        for start, length in (("x", "width"), ("y", "height"))
    )
