"""Which paths of a tree count: patterns of those to include and to exclude, as gitignore files have them.

A pattern is matched against paths below the root of the tree. One with a slash other than at its end is anchored
there, any other matches at every depth; `**` stands for any number of directories; a slash at the end means
directories alone. What matches includes all below it.

A directory is kept unless it is excluded or no included file can be below it, whatever its names. So directories
stay that hold no included file now: whether one comes is not known, and a directory's row does not depend on
what else is there.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# Stands for newlines, which "." does not take and "$" skips: no name contains this character, for names that are not UTF-8 have
# U+DC80 and beyond.
_NEWLINE = "\udc0a"

_Search = Callable[[str], Any]


class Selection:
    """What `include` names, all when it is empty, without what `exclude` names; for any thread.

    Raises ValueError for a pattern that means nothing, or that takes others back (`!pattern`).
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [_Pattern(pattern) for pattern in include]
        self._exclude = [_Pattern(pattern) for pattern in exclude]

    def selects(self, path: str, is_dir: bool) -> bool:
        """Whether the entry at this path counts; the path is below the root, as in `a/b`."""
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


class _Pattern:
    def __init__(self, pattern: str) -> None:
        text = pattern.replace("\n", _NEWLINE)
        self._search = _search(text, pattern)
        self._slash = "/" if text.endswith("/") else ""
        # What leads to a match: one pattern for each number of names, of those before the first `**`.
        names = text.strip("/").split("/")
        anchored = "/" in text.rstrip("/")
        fixed = names.index("**") if "**" in names else len(names)
        starts = ["/" + "/".join(names[:n]) + "/" for n in range(1, fixed + 1)] if anchored else []
        self._starts = [_search(start, pattern) for start in starts]

    def matches(self, path: str, is_dir: bool) -> bool:
        return self._search(path + self._slash if is_dir else path) is not None

    def leads_into(self, directory: str) -> bool:
        """Whether something below the directory can match."""
        if not self._starts:
            return True
        start = self._starts[min(directory.count("/"), len(self._starts) - 1)]
        return start(directory + "/") is not None


def _search(text: str, pattern: str) -> _Search:
    """The search for a pattern; `pattern` is what an error calls it."""
    if text.startswith("!"):
        raise ValueError(f"pattern {pattern!r}: taking back with ! is not possible, leave it out instead")
    regex = GitIgnoreSpecPattern(text).regex
    if regex is None:
        raise ValueError(f"pattern {pattern!r} matches nothing")
    return regex.search
