"""Which paths count, by patterns as gitignore files have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_fusion import disk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trees import make, names

from fusion.agent.scan import Scan
from fusion.agent.selection import Selection

paths = st.lists(st.text("ab.*\n", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)
names_of_patterns = st.sampled_from(["a", "b", "*", "**", "a*", "?", "*.b", "[ab]", "[!a]", "\\*", "a?b"])
patterns = st.builds(
    lambda names, form: form.format("/".join(names)),
    st.lists(names_of_patterns, min_size=1, max_size=4),
    st.sampled_from(["{}", "/{}", "{}/"]),
)
some = st.lists(patterns, max_size=3)


@pytest.mark.parametrize(
    ("pattern", "path", "is_dir", "matches"),
    [
        ("*.tmp", "a.tmp", False, True),
        ("*.tmp", "d/e/a.tmp", False, True),
        ("*.tmp", "d/a.tmp/b", False, True),
        ("*.tmp", "a.tmp.gz", False, False),
        ("*.tmp", "A.TMP", False, False),
        ("node_modules/", "node_modules", True, True),
        ("node_modules/", "d/node_modules", True, True),
        ("node_modules/", "d/node_modules/e/f", False, True),
        ("node_modules/", "node_modules", False, False),
        ("/cache/**", "cache", True, False),
        ("/cache/**", "cache/a", True, True),
        ("/cache/**", "cache/a/b", False, True),
        ("/cache/**", "d/cache/a", False, False),
        ("/cache", "cache", True, True),
        ("/cache", "cache", False, True),
        ("/cache", "d/cache", True, False),
        ("d/e", "d/e", True, True),
        ("d/e", "c/d/e", True, False),
        ("**/d/e", "c/d/e", True, True),
        ("d/**/e", "d/e", False, True),
        ("d/**/e", "d/a/b/e", False, True),
        ("d/*", "d/a", False, True),
        ("d/*", "d/a/b", False, True),
        ("d/*.c", "d/a/b.c", False, False),
        ("*.py[co]", "d/a.pyc", False, True),
        ("\\!a", "!a", False, True),
        ("\\#a", "#a", False, True),
        ("*.tmp", "line\nbreak/a.tmp", False, True),
        ("*.tmp", "a.tmp\n", False, False),
        ("a\nb", "a\nb", False, True),
        ("caf?", os.fsdecode(b"caf\xe9"), False, True),
        (os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe9"), False, True),
    ],
)
def test_patterns(pattern: str, path: str, is_dir: bool, matches: bool) -> None:
    assert Selection(exclude=[pattern]).selects(path, is_dir) is not matches
    if not is_dir:
        included = Selection(include=[pattern])
        assert included.selects(path, is_dir) is matches
        directory, _, name = path.rpartition("/")
        if included.enters(directory):
            assert included.within(directory)(name, is_dir) is matches


@pytest.mark.parametrize("pattern", ["", "  ", "/", "//", "#a", "!a", "[b-a]", "[[:alpha:]]", "a\\", "a//b"])
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    for wrong in ({"include": [pattern]}, {"exclude": [pattern]}):
        with pytest.raises(ValueError, match="pattern") as refusal:
            Selection(**wrong)
        assert repr(pattern) in str(refusal.value) and "\n" not in str(refusal.value)


def test_without_patterns_everything_counts() -> None:
    assert Selection().selects("a/b", False) and Selection().selects("a", True) and Selection().enters("a")


def test_exclude_wins() -> None:
    selection = Selection(["*.csv"], ["old/"])
    assert selection.selects("a.csv", False)
    assert not selection.selects("old/a.csv", False)


@pytest.mark.parametrize(
    ("include", "entered", "left_out"),
    [
        ("*.csv", ["", "a", "a/b"], []),
        ("/a/b/*.csv", ["", "a", "a/b"], ["b", "a/c", "a/b/c"]),
        ("/a/b", ["", "a", "a/b", "a/b/c/d"], ["b", "a/c", "a/c/b"]),
        ("a/*/c/", ["", "a", "a/x", "a/x/c", "a/x/c/d"], ["b", "a/x/d", "a/x/d/c"]),
        ("/a/**", ["", "a", "a/b"], ["b", "b/a"]),
        ("/a/**/b/*.csv", ["", "a", "a/x/y/b"], ["b"]),
        ("**/b", ["", "a", "a/x"], []),
    ],
)
def test_only_directories_that_lead_to_included_files_are_entered(
    include: str, entered: list[str], left_out: list[str]
) -> None:
    selection = Selection([include])
    assert [path for path in entered + left_out if selection.enters(path)] == entered


@given(some, some, paths)
def test_directories_above_what_counts_count(include: list[str], exclude: list[str], path: str) -> None:
    try:
        selection = Selection(include, exclude)
    except ValueError:
        return
    for is_dir in (False, True):
        if selection.selects(path, is_dir):
            above = path
            while above := above.rpartition("/")[0]:
                assert selection.selects(above, True) and selection.enters(above)


@given(some, some, paths)
@example(["*/"], [], "a")
def test_entries_of_a_directory_that_is_entered(include: list[str], exclude: list[str], path: str) -> None:
    try:
        selection = Selection(include, exclude)
    except ValueError:
        return
    directory, _, name = path.rpartition("/")
    if selection.enters(directory):
        selects = selection.within(directory)
        for is_dir in (False, True):
            assert selects(name, is_dir) == selection.selects(path, is_dir)


@settings(deadline=None, max_examples=30)
@given(some.filter(bool), st.lists(paths, min_size=1, max_size=20))
def test_exclusion_is_what_git_ignores(exclude: list[str], candidates: list[str]) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    try:
        selection = Selection(exclude=exclude)
    except ValueError:
        return
    with TemporaryDirectory() as name:
        root = Path(name)
        for path in candidates:
            if {".", ".."}.isdisjoint(path.split("/")):
                try:
                    make(root, path)
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    continue
        files = [os.path.relpath(path, root) for path, row in disk(root).items() if not row["is_dir"]]
        (root / ".gitignore").write_text("\n".join(exclude))
        git = ["git", "-C", name, "-c", "core.excludesFile="]
        subprocess.run([*git, "init", "-q"], check=True)
        listed = subprocess.run(
            [*git, "ls-files", "-z", "--others", "--exclude-standard"], stdout=subprocess.PIPE, check=True
        ).stdout
        kept = {os.fsdecode(path) for path in listed.split(b"\0") if path} - {".gitignore"}
        assert {path for path in files if selection.selects(path, False)} == kept


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(names, st.dictionaries(names, st.none(), max_size=4), max_size=4), some, some)
def test_a_scan_finds_what_is_selected(
    tree: dict[bytes, dict[bytes, None]], include: list[str], exclude: list[str]
) -> None:
    try:
        selection = Selection(include, exclude)
    except ValueError:
        return
    with TemporaryDirectory() as name:
        for directory, files in tree.items():
            os.mkdir(os.fsencode(name) + b"/" + directory)
            for file in files:
                open(os.fsencode(name) + b"/" + directory + b"/" + file, "wb").close()
        wanted = {
            path
            for path, row in disk(Path(name)).items()
            if path == name or selection.selects(os.path.relpath(path, name), row["is_dir"])
        }
        scan = Scan(name, selection=selection)
        assert sum(rows.count for rows in scan) == len(wanted)


@pytest.mark.parametrize("directory", ["", "a", "a/b"])
def test_a_part_of_the_tree_is_judged_by_its_place(directory: str) -> None:
    whole = Selection(["/a/b/*.txt"], ["/a/c/", "x"])
    part = whole.below(directory)
    assert whole and not Selection()
    for path, is_dir in [("a", True), ("a/b", True), ("a/b/1.txt", False), ("a/c", True), ("a/b/x", False)]:
        if path.startswith(directory + "/") or not directory:
            below = path[len(directory) + 1 :] if directory else path
            assert part.selects(below, is_dir) == whole.selects(path, is_dir), path
            above, _, name = below.rpartition("/")
            assert part.within(above)(name, is_dir) == whole.selects(path, is_dir), path
