"""Which directory each watch is for: a tree, where a renamed directory takes all below it along."""

from __future__ import annotations

import os
from collections.abc import Iterator


class Directory:
    """One place of the tree. Without a descriptor it is only on the way to others."""

    __slots__ = ("children", "descriptor", "name", "parent")

    def __init__(self, name: str, parent: Directory | None) -> None:
        self.name = name
        self.parent = parent
        self.descriptor: int | None = None
        self.children: dict[str, Directory] = {}


class WatchedTree:
    """The watched directories below one root, by path and by watch descriptor.

    What it holds may lag behind the disk, since renames are heard of later than they happen. A directory
    found elsewhere than it was believed to be is cut off from there: it loses its parent. What is cut off has
    no path, until a scan of the place where it is now puts it there.
    """

    def __init__(self, root: str) -> None:
        self._root_path = root
        self._root = Directory("", None)
        self._by_descriptor: dict[int, Directory] = {}

    def __len__(self) -> int:
        return len(self._by_descriptor)

    def path(self, descriptor: int) -> str | None:
        """Where the directory of a watch is, None when that is not known."""
        directory = self._by_descriptor.get(descriptor)
        if directory is None:
            return None
        names = []
        while directory.parent is not None:
            names.append(directory.name)
            directory = directory.parent
        if directory is not self._root:
            return None
        names.append("" if self._root_path == os.sep else self._root_path)
        return os.sep.join(reversed(names)) or os.sep

    def put(self, descriptor: int, path: str) -> None:
        """A watch was set on the directory that is at this path."""
        names = path[len(self._root_path) :].split(os.sep)
        place = self._root
        for name in names:
            if name:
                place = place.children.get(name) or self._added(place, name)
        if place.descriptor == descriptor:
            return
        if (known := self._by_descriptor.get(descriptor)) is not None:
            self._cut(known)
        if place.descriptor is not None and place is not self._root:  # another directory was here before
            parent, name = place.parent, place.name
            assert parent is not None
            self._cut(place)
            place = self._added(parent, name)
        place.descriptor = descriptor
        self._by_descriptor[descriptor] = place

    def forget(self, descriptor: int) -> None:
        """The watch has ended."""
        directory = self._by_descriptor.pop(descriptor, None)
        if directory is not None:
            directory.descriptor = None
            if not directory.children:
                self._cut(directory)

    def take(self, descriptor: int, name: str) -> Directory | None:
        """Cuts off what is known under a name in a watched directory."""
        parent = self._by_descriptor.get(descriptor)
        directory = parent.children.get(name) if parent is not None else None
        if directory is not None:
            self._cut(directory)
        return directory

    def graft(self, directory: Directory, descriptor: int, name: str) -> None:
        """Puts what was taken, with all below it, under a name in a watched directory."""
        parent = self._by_descriptor.get(descriptor)
        above = parent
        while above is not None:
            if above is directory:  # so it was believed to be elsewhere than it is: a scan will tell
                return
            above = above.parent
        if parent is None:
            return
        self._cut(directory)
        if name in parent.children:
            self._cut(parent.children[name])
        directory.parent, directory.name = parent, name
        parent.children[name] = directory

    def drop(self, directory: Directory) -> Iterator[int]:
        """Forgets a directory that is cut off, and all below it; gives the descriptors of their watches."""
        pending = [directory]
        while pending:
            directory = pending.pop()
            pending += directory.children.values()
            if (
                directory.descriptor is not None
                and self._by_descriptor.get(directory.descriptor) is directory
            ):
                del self._by_descriptor[directory.descriptor]
                yield directory.descriptor

    @staticmethod
    def _added(parent: Directory, name: str) -> Directory:
        parent.children[name] = directory = Directory(name, parent)
        return directory

    @staticmethod
    def _cut(directory: Directory) -> None:
        parent = directory.parent
        if parent is not None:
            if parent.children.get(directory.name) is directory:
                del parent.children[directory.name]
            directory.parent = None
