"""What an agent tells of a directory tree, and what it leaves out."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .scan import Scan, pseudo_mounts
from .selection import Selection


@dataclass(frozen=True)
class Scope:
    """One root; directories whose content is left out; which other paths are selected."""

    root: str
    skip: frozenset[str]
    selection: Selection

    @classmethod
    def of(cls, root: str, selection: Selection, skip: Iterable[Path] = ()) -> "Scope":
        """The tree at `root` without the content of `skip` and of pseudo file systems."""
        root = os.path.abspath(root)
        real = os.path.realpath(root)
        below = (os.path.relpath(os.path.realpath(path), real) for path in skip)
        left_out = {os.path.join(root, path) for path in below if path.split(os.sep)[0] != os.pardir}
        return cls(root, (pseudo_mounts() | left_out) - {root}, selection)

    def scan(self, path: str, watch: Callable[[str], object]) -> Scan:
        """A scan of the directory at a path, which calls `watch` with every directory before it lists it."""

        def enter(directory: str) -> bool:
            if directory in self.skip:
                return False
            watch(directory)
            return True

        selection = self.selection.below(self._below(path)) if self.selection else None
        return Scan(path, enter=enter, selection=selection)

    def enters(self, directory: str) -> bool:
        """Whether the content of a directory is told."""
        return directory not in self.skip and self.selection.enters(self._below(directory))

    def tells(self, path: str, *, is_dir: bool) -> bool:
        """Whether a path is told if it is, or is not, a directory."""
        return path == self.root or self.selection.selects(self._below(path), is_dir)

    def may_tell(self, path: str) -> bool:
        """Whether a path can ever have been told."""
        return self.tells(path, is_dir=False) or self.tells(path, is_dir=True)

    def _below(self, path: str) -> str:
        return path[len(self.root) :].lstrip(os.sep)
