"""The reference of the settings says what the settings are, and the page in docs/ is the present one."""

from __future__ import annotations

import dataclasses
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from fusion.settings import TABLES, Table

ROOT = Path(__file__).parents[2]
REFERENCE = runpy.run_path(str(ROOT / "tools" / "configuration_reference.py"))["reference"]()

EVERY_SETTING = [
    pytest.param(table, key, id=f"{table.heading}{key}") for table in TABLES for key in table.settings
]


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == REFERENCE, "run python tools/configuration_reference.py"


def test_the_page_has_a_row_for_every_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", REFERENCE, re.MULTILINE)
    assert rows == [key for table in TABLES for key in table.settings]


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_every_effect_is_sentences(table: Table, key: str) -> None:
    effect = table.settings[key].effect
    assert effect[0].isupper() and effect.endswith(".") and not re.search(r"[\n|]|  ", effect)


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_names_tell_their_unit(table: Table, key: str) -> None:
    named = re.search("_(bytes|seconds|nodes)$", key)
    assert not named or table.settings[key].unit == named[1]


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_a_default_is_allowed_and_reads_back(table: Table, key: str) -> None:
    """What is shown as the default can be written into the file, and means the default there."""
    if not (text := table.default_text(key)):
        return
    default = {field.name: field.default for field in dataclasses.fields(table.defaults)}[key]
    written = tomllib.loads(f"value = {text.partition(' (')[0]}")["value"]
    assert table.settings[key].kind.read(written, key) == default


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.heading)
def test_every_default_has_a_setting(table: Table) -> None:
    made = {"id", "created"}  # of keys that `fusion keys` makes
    assert {field.name for field in dataclasses.fields(table.defaults)} - made <= set(table.settings)
