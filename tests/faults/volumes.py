"""File systems of the tests' own, which can fill up or lose their power. Only root can mount them."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# linux/ext4.h
_EXT4_IOC_SHUTDOWN = 0x8004587D
_EXT4_GOING_FLAGS_NOLOGFLUSH = 2


class Volume:
    """An ext4 file system in an image beside `path`, where it is mounted."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._image = path.with_name(f"{path.name}.img")
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", str(self._image))
        self.path.mkdir()
        self.mount()

    def mount(self) -> None:
        """What its journal holds is replayed."""
        _run("mount", "-o", "loop,noatime", str(self._image), str(self.path))

    def unmount(self) -> None:
        if self.path.is_mount():
            _run("umount", str(self.path))

    def cut_power(self) -> None:
        """From here on nothing reaches the disk, not even what the file system's journal holds in memory.

        All writes fail until it is unmounted and mounted again.
        """
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(directory, _EXT4_IOC_SHUTDOWN, struct.pack("I", _EXT4_GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(directory)


@contextmanager
def volume(path: Path, size_bytes: int) -> Iterator[Volume]:
    """Skips the test where nothing can be mounted. Whoever uses it has to be gone in the end."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4")
    try:
        made = Volume(path, size_bytes)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device can be mounted here: {error.stderr.strip()}")
    try:
        yield made
    finally:
        made.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
