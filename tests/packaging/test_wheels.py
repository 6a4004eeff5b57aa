"""What pyproject.toml asks of cibuildwheel, and which Pythons the rest of the project speaks of."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from installing import ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CIBUILDWHEEL: dict[str, Any] = PYPROJECT["tool"]["cibuildwheel"]


@pytest.fixture
def minors() -> list[int]:
    """The minor versions of Python 3 that wheels are built for."""
    build = re.fullmatch(r"cp31\{(\d(?:,\d)*)\}-manylinux_\{x86_64,aarch64\}", CIBUILDWHEEL["build"])
    assert build
    return [10 + int(digit) for digit in build[1].split(",")]


def test_wheels_begin_with_the_oldest_python_and_skip_none(minors: list[int]) -> None:
    oldest = re.fullmatch(r">=3\.(\d+)", PYPROJECT["project"]["requires-python"])
    assert oldest
    assert minors == list(range(int(oldest[1]), minors[-1] + 1))
    assert PYPROJECT["tool"]["mypy"]["python_version"] == f"3.{oldest[1]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{oldest[1]}"


def test_the_container_has_one_of_them(minors: list[int]) -> None:
    image = re.search(r"^FROM python:3\.(\d+)-", (ROOT / "deploy/Containerfile").read_text(), re.MULTILINE)
    assert image and int(image[1]) in minors


def test_only_options_that_are_known() -> None:
    known = {"build", "archs", "build-frontend", "test-requires", "test-command"}
    assert set(CIBUILDWHEEL) == known
    assert any(command.endswith("--version") for command in CIBUILDWHEEL["test-command"])


def test_the_workflow_publishes_what_was_built() -> None:
    workflow = (ROOT / ".github/workflows/wheels.yml").read_text()
    assert "pypa/cibuildwheel@v" in workflow and "build --sdist" in workflow
    for name in re.findall(r"paths: \[(.*)\]", workflow)[0].split(", "):
        pattern = name.strip('"')
        assert list(ROOT.glob(pattern)), f"{pattern} matches nothing"
