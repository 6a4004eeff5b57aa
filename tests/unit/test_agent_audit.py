"""Audits: what differs from what was told, and what only seems to."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion.agent.audit import DOUBT_SECONDS, QUIET_SECONDS, Audit, Findings
from fusion.agent.scan import describe


class World:
    """A directory, an audit of it, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self.pending: set[str] = set()
        self.audit = Audit(str(root), clock=lambda: self.now, limit=5)

    def tell(self, *names: str, with_content: bool = False) -> None:
        for name in names:
            path = str(self.root / name)
            self.audit.told(path, describe(path), with_content=with_content)

    def examine(self, after: float = 0.0) -> Findings:
        self.now += after
        return self.audit.examine(lambda path: path in self.pending)

    def path(self, name: str) -> str:
        return str(self.root / name)


@pytest.fixture
def world(tmp_path: Path) -> World:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "f").write_text("some")
    (root / "d/g").write_text("more")
    for path in (root / "d", root):
        os.utime(path, (1, 1))
    return World(root)


def test_what_was_told_right_is_forgotten(world: World) -> None:
    world.tell("f", "d", "d/g", "never", "")
    assert world.examine(QUIET_SECONDS) == Findings()
    (world.root / "f").unlink()
    assert world.examine(QUIET_SECONDS) == Findings()


def test_it_waits_for_quiet(world: World) -> None:
    world.tell("f")
    (world.root / "f").write_text("changed unheard")
    assert world.examine(QUIET_SECONDS - 0.1) == Findings()
    world.tell("f")
    assert world.examine(QUIET_SECONDS - 0.1) == Findings()
    assert world.examine(0.2) == Findings()


def test_a_file_whose_figures_changed_is_told_again(world: World) -> None:
    world.tell("f")
    (world.root / "f").write_text("changed unheard")
    assert world.examine(QUIET_SECONDS) == Findings(stale=[world.path("f")])
    assert world.examine(QUIET_SECONDS) == Findings()


LOSSES: dict[str, tuple[str, Callable[[Path], Any], str, str]] = {
    "appeared": ("new", lambda root: (root / "new").touch(), "new", "missing"),
    "vanished": ("f", lambda root: (root / "f").unlink(), "f", "extra"),
    "another kind": ("f", lambda root: [(root / "f").unlink(), (root / "f").mkdir()], "f", "stale"),
    "in a directory": ("d", lambda root: (root / "d/new").touch(), "d", "stale"),
    "in the root": ("", lambda root: (root / "f").unlink(), "", "stale"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_entries_that_came_or_went_unheard_of_are_found_at_the_second_look(world: World, loss: str) -> None:
    told, change, name, kind = LOSSES[loss]
    world.tell(told)
    change(world.root)
    assert world.examine(QUIET_SECONDS) == Findings()
    assert world.examine(DOUBT_SECONDS / 2) == Findings()
    path = world.path(name)
    found = {"path": path, "kind": kind, "observed": describe(path)}
    assert world.examine(DOUBT_SECONDS / 2) == Findings(lost=[found])
    assert world.examine(QUIET_SECONDS + DOUBT_SECONDS) == Findings()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_change_that_is_told_before_the_second_look_is_none(world: World, loss: str) -> None:
    told, change, _, _ = LOSSES[loss]
    world.tell(told)
    change(world.root)
    assert world.examine(QUIET_SECONDS) == Findings()
    world.tell(told)
    assert world.examine(DOUBT_SECONDS) == Findings()
    assert world.examine(QUIET_SECONDS) == Findings()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("look", [1, 2])
def test_a_change_that_will_be_told_is_none(world: World, loss: str, look: int) -> None:
    told, change, name, _ = LOSSES[loss]
    world.tell(told)
    change(world.root)
    if look == 2:
        assert world.examine(QUIET_SECONDS) == Findings()
    world.pending = {world.path(name)}
    assert world.examine(QUIET_SECONDS) == Findings()
    world.pending = set()
    assert world.examine(QUIET_SECONDS + DOUBT_SECONDS) == Findings()


def test_what_goes_on_changing_is_not_judged(world: World) -> None:
    world.tell("d")
    for number in range(3):
        os.utime(world.root / "d", (number + 2, number + 2))
        assert world.examine(QUIET_SECONDS) == Findings()
    assert world.examine(DOUBT_SECONDS).lost


@pytest.mark.parametrize("with_content", [False, True])
def test_a_directory_told_later_speaks_for_all_below(world: World, with_content: bool) -> None:
    world.tell("d/g")
    (world.root / "d/g").unlink()
    if not with_content:
        (world.root / "d").rmdir()
    world.tell("d", with_content=with_content)
    assert world.examine(QUIET_SECONDS) == Findings()
    assert world.examine(DOUBT_SECONDS) == Findings()


def test_a_directory_told_with_its_content_is_judged_by_its_kind_alone(world: World) -> None:
    world.tell("d", with_content=True)
    (world.root / "d/new").touch()
    assert world.examine(QUIET_SECONDS) == Findings()
    assert world.examine(DOUBT_SECONDS) == Findings()


def test_what_cannot_be_looked_at_is_not_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell("f")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fusion.agent.audit.describe", refused)
    assert world.examine(QUIET_SECONDS) == Findings()


def test_the_hottest_are_remembered(world: World) -> None:
    names = [f"n{number}" for number in range(8)]
    world.tell(*names)
    for name in names:
        (world.root / name).touch()
    world.examine(QUIET_SECONDS)
    lost = world.examine(DOUBT_SECONDS).lost
    assert [difference["path"] for difference in lost] == [world.path(name) for name in names[-5:]]
