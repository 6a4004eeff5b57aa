"""Random trees on the disk, with names and times of every kind."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

HOSTILE = [
    b"\n",
    b" ",
    b'"',
    b"\\",
    b"},{",
    b'"},{"file_path":"',
    b"\x01\x1f\x7f",
    b"-rf",
    b"...",
    b"\xff",
    b"caf\xe9",
    b"\xed\xa0\x80",  # a surrogate
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xc0\xaf",  # an overlong slash
    b"\xe2\x82",  # cut short
    "ü\u2028\U0001f600".encode(),
    b"x" * 255,
    b"\xff" * 255,
]

names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text("ab.", min_size=1, max_size=3).map(str.encode),
    st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"1")),
).filter(lambda name: name not in (b".", b".."))

# Nanoseconds since the epoch, also before it and in every part of a second.
times = st.integers(-(2**31) * 10**9, 2**33 * 10**9)

files = st.tuples(st.sampled_from(["file", "link", "broken link", "pipe"]), st.integers(0, 5000), times)
trees = st.recursive(
    st.dictionaries(names, files, max_size=4),
    lambda children: st.dictionaries(names, st.one_of(files, children), max_size=5),
    max_leaves=12,
)


def build(directory: bytes, tree: dict[bytes, object]) -> None:
    """Makes the entries of a tree in a directory that exists."""
    for name, content in tree.items():
        path = directory + b"/" + name
        if isinstance(content, dict):
            os.mkdir(path)
            build(path, content)
            continue
        assert isinstance(content, tuple)
        kind, size, nanoseconds = content
        if kind == "file":
            with open(path, "wb") as file:
                file.truncate(size)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            os.symlink(b".." if kind == "link" else b"nowhere", path)
        os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)


def make(root: Path, *names: str) -> None:
    """Files below a root that contain their own names, and the directories above them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
