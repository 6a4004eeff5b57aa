"""Which paths of a tree count: patterns of those to include and to exclude, as gitignore files have them.

A pattern is matched against paths below the root of the tree. One with a slash other than at its end is
anchored there, any other matches at every depth; `**` stands for any number of directories; a slash at the
end means directories alone. What matches includes all below it.

A directory is kept unless it is excluded or no included file can be below it, whatever its names. So
directories stay that hold no included file now: whether one comes is not known, and a directory's row does
not depend on what else is there.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

# Stands for a newline, which "." does not take and "$" skips. No path contains this character: bytes that are
# not UTF-8 are U+DC80 and beyond.
_NEWLINE = "\udc0a"

_Search = Callable[[str], Any]


class Selection:
    """What `include` names, all when it is empty, without what `exclude` names; for any thread.

    Raises ValueError for a pattern that cannot match, or that takes others back (`!pattern`).
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._above = ""  # of a part of the tree: its place
        self._include = [_Pattern(pattern) for pattern in include]
        self._exclude = [_Pattern(pattern) for pattern in exclude]

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return bool(self._include or self._exclude)

    def below(self, directory: str) -> "Selection":
        """The same for paths below a directory of the tree; "" is the root."""
        part = copy(self)
        part._above = self._above + directory + "/" if directory else self._above
        return part

    def selects(self, path: str, is_dir: bool) -> bool:
        """Whether the entry at this path counts; the path is below the root, as in `a/b`."""
        return self._selects(self._above + path, is_dir)

    def _selects(self, path: str, is_dir: bool) -> bool:
        path = path.replace("\n", _NEWLINE)
        if any(pattern.matches(path, is_dir) for pattern in self._exclude):
            return False
        if not self._include:
            return True
        if is_dir:
            return any(pattern.leads_into(path) for pattern in self._include)
        return any(pattern.matches(path, is_dir) for pattern in self._include)

    def enters(self, directory: str) -> bool:
        """Whether anything in a directory can count; "" is the root."""
        return not directory or self.selects(directory, True)

    def within(self, directory: str) -> Callable[[str, bool], bool]:
        """The same as `selects`, by name, for the entries of a directory that is entered; quick for many."""
        directory = (self._above + directory).removesuffix("/")
        stem = directory and directory + "/"
        plain = directory.replace("\n", _NEWLINE)
        excluded = _Files(self._exclude, plain)
        # The root itself matches nothing.
        everything = not self._include or (
            plain != "" and any(pattern.matches(plain, True) for pattern in self._include)
        )
        included = _Files([] if everything else self._include, plain)

        def selects(name: str, is_dir: bool) -> bool:
            if is_dir:
                return self._selects(stem + name, True)
            name = name.replace("\n", _NEWLINE)
            return not excluded.match(name) and (everything or included.match(name))

        return selects


class _Pattern:
    def __init__(self, pattern: str) -> None:
        text = pattern.replace("\n", _NEWLINE)
        self.search = _search(text, pattern)
        self.only_directories = text.endswith("/")
        self.anchored = "/" in text.rstrip("/")
        # What leads to a match: one pattern for each number of names, of those before the first `**`.
        names = text.strip("/").split("/")
        fixed = names.index("**") if "**" in names else len(names)
        starts = ["/" + "/".join(names[:n]) + "/" for n in range(1, fixed + 1)] if self.anchored else []
        self._starts = [_search(start, pattern) for start in starts]

    def matches(self, path: str, is_dir: bool) -> bool:
        return self.search(path + "/" if is_dir and self.only_directories else path) is not None

    def leads_into(self, directory: str) -> bool:
        """Whether something below the directory can match."""
        if not self._starts or not directory:
            return True
        start = self._starts[min(directory.count("/"), len(self._starts) - 1)]
        return start(directory + "/") is not None


class _Files:
    """Patterns for the files of a directory; itself and those above it match none of them."""

    def __init__(self, patterns: Sequence[_Pattern], directory: str) -> None:
        files = [pattern for pattern in patterns if not pattern.only_directories]
        self._by_name = [pattern.search for pattern in files if not pattern.anchored]
        self._by_path = [
            pattern.search for pattern in files if pattern.anchored and pattern.leads_into(directory)
        ]
        self._stem = directory and directory + "/"

    def match(self, name: str) -> bool:
        for search in self._by_name:
            if search(name) is not None:
                return True
        return bool(self._by_path) and any(search(self._stem + name) for search in self._by_path)


def _search(text: str, pattern: str) -> _Search:
    """The search for a pattern; `pattern` is what an error calls it."""
    # The library takes longer to load than many a scan needs, and most have no pattern.
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    if text.startswith("!"):
        raise ValueError(f"pattern {pattern!r}: taking back with ! is not possible, leave it out instead")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of sets within sets, such as [[:alpha:]]
            regex = None if "//" in text else GitIgnoreSpecPattern(text).regex
    except (ValueError, re.error, FutureWarning):
        regex = None
    if regex is None:
        raise ValueError(f"pattern {pattern!r} cannot match anything")
    return regex.search
