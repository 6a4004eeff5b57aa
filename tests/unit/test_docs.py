"""What the documentation names is there, and it names all that is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion import sqlite_log
from fusion.cli import parser
from fusion.settings import TABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MODULES = [f"fusion/{path.name}" for path in ROOT.glob("fusion/*.py")]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ .*$", prose(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.lstrip("# "))
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def directories() -> list[str]:
    """All that hold files of the source tree."""
    hidden = re.compile(r"\.(?!ci$|github$)|__pycache__$|build$|dist$|.*\.egg-info$|fusion-data$")

    def below(directory: Path) -> Iterator[Path]:
        for path in directory.iterdir():
            if path.is_dir() and not hidden.match(path.name):
                yield path
                yield from below(path)

    return sorted(
        f"{path.relative_to(ROOT)}/"
        for path in below(ROOT)
        if any(child.is_file() for child in path.iterdir())
    )


def named(page: Path) -> set[str]:
    """The paths in the first column of tables. One in the directory of the one before goes without it."""
    paths = set()
    for row in re.findall(r"^\| (`.*?) \|", prose(page), re.MULTILINE):
        places = [ROOT]
        for token in re.findall(r"`([^`]+)`", row):
            found = [place / token for place in places if (place / token).exists()]
            if not found:
                assert "/" not in token and "." not in token, f"{page.name} names {token}, which is not there"
                continue
            places = [ROOT, found[-1].parent, found[-1]]
            paths.add(str(found[-1].relative_to(ROOT)) + ("/" if found[-1].is_dir() else ""))
    return paths


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match("[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(linked)), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_code_end(page: Path) -> None:
    assert len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) % 2 == 0


def test_every_directory_and_module_has_its_line() -> None:
    assert {*MODULES, *directories()} <= named(ROOT / "CONTRIBUTING.md")


def test_the_paths_of_the_threat_model_are_there() -> None:
    for cells in re.findall(r"^\|.*\| (.*?) \| (.*?) \|$", prose(ROOT / "SECURITY.md"), re.MULTILINE):
        for cell in cells:
            place = ROOT
            for token in re.findall(r"`([\w./]+\.(?:py|c|h|pyx|service)|[\w./]+/)`", cell):
                path = ROOT / token if "/" in token else place / token
                assert path.exists(), token
                place = path.parent


def test_every_page_is_reached_from_the_readme() -> None:
    reached, pending = set(), [README]
    while pending:
        page = pending.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#\s]+\.md)", prose(page)):
            pending.append((page.parent / target).resolve())
    assert set(PAGES) <= reached


def commands(page: Path) -> Iterator[list[str]]:
    """The command lines of `fusion` in a page's blocks of shell, without their redirections."""
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:\w+=\S+ +|sudo (?:-u \w+ )?)*(?:\S*/bin/)?fusion( [^>|;]*|)$", line)
            if found:
                yield shlex.split(found[1], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_shown_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        try:
            parser().parse_args(words)
        except SystemExit as end:
            assert end.code == 0, f"fusion {shlex.join(words)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_settings_shown_are_known(page: Path) -> None:
    server, datastore, key = (table.settings for table in TABLES)
    for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        document = tomllib.loads(block)
        tables = [(document.get("server", {}), server)]
        tables += [(table, datastore) for table in document.get("datastores", {}).values()]
        tables += [(table, key) for table in document.get("keys", [])]
        for table, known in tables:
            for name, value in table.items():
                assert name in known, name
                known[name].kind.read(value, name)


def defined(header: str, name: str) -> int:
    """A number that a header of the engine defines."""
    found = re.search(rf"^#define {name} (\d+)u$", (ROOT / "fusion/_core" / header).read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_the_versions_of_files_are_the_present_ones() -> None:
    rows = re.findall(
        r"^\| `?(.*?)`? \| .* \| (\d+) \| .* \|$", prose(ROOT / "docs/upgrading.md"), re.MULTILINE
    )
    assert {file: int(version) for file, version in rows} == {
        "journal.sqlite3": sqlite_log.VERSION,
        "records in it": defined("packed.h", "PACKED_VERSION"),
        "checkpoint-….fusion": defined("saved.h", "SAVED_VERSION"),
    }


# The README in two languages


def test_the_languages_are_linked() -> None:
    assert f"]({CHINESE.name})" in README.read_text().partition("\n## ")[0]
    assert f"]({README.name})" in CHINESE.read_text().partition("\n## ")[0]


def test_the_languages_have_the_same_code() -> None:
    assert FENCE.findall(CHINESE.read_text()) == FENCE.findall(README.read_text())


def test_the_languages_have_the_same_headings_and_tables() -> None:
    def levels(page: Path) -> list[int]:
        return [len(heading) - len(heading.lstrip("#")) for heading in headings(page)]

    def rows(page: Path) -> list[int]:
        return [line.count("|") for line in prose(page).splitlines() if line.startswith("|")]

    assert levels(CHINESE) == levels(README)
    assert rows(CHINESE) == rows(README)


# The changelog


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\]( - \d{4}-\d\d-\d\d)?", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
