"""The dashboard, the alert rules and the page about metrics name what a scrape really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily

from fusion.api.metrics import registry_of
from fusion.api.traffic import BOUNDS, Traffic
from fusion.clock import ServingClock
from fusion.counters import Durations
from fusion.datastore import Datastore
from fusion.journal import Journal
from fusion.readiness import State
from fusion.settings import DatastoreSettings

PROJECT = Path(__file__).parents[2]
DASHBOARD = PROJECT / "deploy/grafana/fusion.json"
ALERTS = PROJECT / "deploy/prometheus/alerts.yml"
PAGE = PROJECT / "docs/observability.md"

NAME = re.compile(r"\b(?:fusion|process|python)_[a-z_]+\b")
LABEL = re.compile(r"([a-z]+)\s*(?:=~|!=|!~|=)\s*\"")


@pytest.fixture
def families(tmp_path: Path) -> Iterator[dict[str, Metric]]:
    """What a scrape has, by name, of a datastore that has seen something."""
    journal = Journal(tmp_path / "one", checkpoint_bytes=1 << 20, min_free_bytes=0)
    datastore = Datastore("one", DatastoreSettings(), clock=ServingClock(), journal=journal)
    datastore.recover()
    traffic = Traffic()
    traffic._durations["views/fs/tree", "GET", 200] = Durations(BOUNDS)
    context = SimpleNamespace(traffic=traffic, streams=SimpleNamespace(running=0))
    yield {family.name: family for family in registry_of(context, [datastore]).collect()}
    journal.close()


def sample_names(families: dict[str, Metric]) -> set[str]:
    return {sample.name for family in families.values() for sample in family.samples} | {
        "fusion_last_event_latency_seconds"  # not there before the first event with a time
    }


def expressions(found: Any) -> Iterator[str]:
    """Everything in a document that asks Prometheus."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key in ("expr", "definition") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(found, list):
        for value in found:
            yield from expressions(value)


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.suffix == ".yml" else json.loads(path.read_text())


@pytest.mark.parametrize("path", [DASHBOARD, ALERTS], ids=lambda path: path.name)
def test_every_metric_named_is_one_of_a_scrape(families: dict[str, Metric], path: Path) -> None:
    asked = list(expressions(document(path)))
    assert len(asked) > 10
    for expression in asked:
        names = set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))
        unknown = names - sample_names(families)
        assert not unknown and (names or expression.startswith("up{")), expression


@pytest.mark.parametrize("path", [DASHBOARD, ALERTS], ids=lambda path: path.name)
def test_every_label_named_is_one_of_a_scrape(families: dict[str, Metric], path: Path) -> None:
    labels = {
        label for family in families.values() for sample in family.samples for label in sample.labels
    } | {
        "job",
        "instance",
    }
    for expression in expressions(document(path)):
        assert set(LABEL.findall(expression)) <= labels, expression


def test_the_dashboard_shows_every_metric_of_a_datastore(families: dict[str, Metric]) -> None:
    shown = " ".join(expressions(document(DASHBOARD)))
    for name in families:
        assert not name.startswith("fusion_") or name in shown, name


def test_the_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    panels = document(DASHBOARD)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    rules = [rule for group in document(ALERTS)["groups"] for rule in group["rules"]]
    page = PAGE.read_text()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        assert f"`{rule['alert']}`" in page, rule["alert"]


def test_promtool_accepts_the_alerts() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of the package prometheus, is not installed")
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# The page


def kind(family: Metric) -> str:
    return {CounterMetricFamily: "counter", HistogramMetricFamily: "histogram", InfoMetricFamily: "info"}.get(
        type(family), "gauge"
    )


def exposed(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(kind(family), "")


def test_the_page_lists_every_metric_as_the_code_has_it(families: dict[str, Metric]) -> None:
    rows = re.findall(r"^\| `(fusion_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    ours = [family for name, family in families.items() if name.startswith("fusion_")]
    expected = {exposed(family): (kind(family), family.documentation) for family in ours}
    assert {name: (kind, text) for name, kind, _, text in rows} == expected
    for name, _, labels, _ in rows:
        [family] = [family for family in ours if exposed(family) == name]
        found = {label for sample in family.samples for label in sample.labels} - {"le", "version", "python"}
        if family.samples:
            assert set(re.findall(r"`(\w+)`", labels)) == found, name


def test_the_page_lists_every_event_of_the_log() -> None:
    sources = "\n".join(path.read_text() for path in (PROJECT / "fusion").rglob("*.py"))
    told = re.compile(r"(?:tell|event)\(\s*(?:log,\s*)?(?:logging\.[A-Z]+|level),\s*\"([a-z_]+)\"", re.DOTALL)
    events = set(told.findall(sources)) | {"request_failed"}
    assert {"state_changed", "journal_failed", "listening", "request_refused"} <= events
    listed = set(
        re.findall(
            r"^\| `(?!fusion_)([a-z_]+)` \| (?:debug|info|warning|error)", PAGE.read_text(), re.MULTILINE
        )
    )
    assert listed == events


def test_the_page_names_every_state() -> None:
    page = PAGE.read_text()
    assert all(f"`{state.value}`" in page for state in State)
