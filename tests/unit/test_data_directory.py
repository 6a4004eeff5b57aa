"""The data directory's lock."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fusion.data_directory import DataDirectory
from fusion.errors import DataDirectoryInUse
from fusion.journal import Journal


def test_it_is_made_for_its_owner_alone_and_locked(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with DataDirectory(path):
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(DataDirectoryInUse, match=f"id {os.getpid()}"):
            DataDirectory(path)
    with DataDirectory(path):
        pass


def test_directories_that_are_made_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept in them would be gone with their names."""
    synced: list[Path] = []
    monkeypatch.setattr("fusion.data_directory.sync_directory", synced.append)
    with DataDirectory(tmp_path / "a" / "b"):
        assert {tmp_path, tmp_path / "a"} <= set(synced)


def test_a_full_disk_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views may be shown all the same. Who has the lock is not told then."""

    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        directory = DataDirectory(tmp_path)
    with pytest.raises(DataDirectoryInUse, match="unknown"):
        DataDirectory(tmp_path)
    directory.close()


@pytest.mark.parametrize("name", ["lock", "-", "_", "0", "CON", "x" * 64])
def test_every_name_of_a_datastore_is_a_folder_in_it(tmp_path: Path, name: str) -> None:
    with DataDirectory(tmp_path):
        journal = Journal(tmp_path / name, checkpoint_bytes=1 << 20, min_free_bytes=0)
        assert journal.recover().last_sequence == 0
        journal.close()
