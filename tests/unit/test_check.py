"""`fusion check`: what it says of files that are whole, damaged, or in use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion import cli
from fusion._index import Batch
from fusion.data_directory import DataDirectory
from fusion.datastore import Datastore
from fusion.errors import DataDirectoryInUse
from fusion.journal import FILE_NAME, Journal
from fusion.settings import DatastoreSettings

Check = Callable[..., tuple[int, str, str]]


class Clock:
    def now(self) -> float:
        return 0.0


def fill(directory: Path, pushes: int, checkpoint_bytes: int = 1 << 40) -> None:
    """A datastore's files with so many pushes, as a server leaves them."""
    directory.mkdir(parents=True, exist_ok=True)
    journal = Journal(directory, checkpoint_bytes=checkpoint_bytes, min_free_bytes=0)
    store = Datastore(directory.name, DatastoreSettings(), clock=Clock(), journal=journal)
    store.recover()
    opening = store.open_session("task", None, "")
    store.work()
    session = opening.result().session_id
    for number in range(pushes):
        rows = [{"path": f"/{number}/{name}"} for name in range(50)]
        body = {"session_id": session, "source_type": "message", "events": [{"rows": rows}]}
        future = store.push(Batch.decode(json.dumps(body).encode()))
        store.work()
        future.result()
        if journal._writing is not None:
            journal._writing.join()
    store.close()


@pytest.fixture
def check(tmp_path: Path, capfdbinary: Any) -> Check:
    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = cli.main(["check", "--data-dir", str(tmp_path), *arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return run


def flip(path: Path, text: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(text)] ^= 1
    path.write_bytes(data)


def test_sound_files(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 3)
    fill(tmp_path / "two", 40, checkpoint_bytes=8000)
    status, out, err = check()
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "one: sound"
    assert lines[1].startswith("  journal     records 1 to 4, ")
    assert lines[2] == "two: sound"
    assert sum(line.endswith(", whole") for line in lines) == 2


def test_as_json(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 40, checkpoint_bytes=8000)
    status, out, _ = check("--json")
    (report,) = json.loads(out)["datastores"]
    assert status == 0
    assert (report["name"], report["problem"], report["warnings"]) == ("one", None, [])
    assert report["last_record"] == report["acknowledged"] == 41
    assert [checkpoint["problem"] for checkpoint in report["checkpoints"]] == [None, None]
    assert report["first_record"] in (0, report["checkpoints"][0]["sequence"] + 1)


def test_a_damaged_record(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 3)
    fill(tmp_path / "two", 3)
    flip(tmp_path / "one" / FILE_NAME, b"/1/0")
    status, out, _ = check()
    assert status == 1
    assert out.startswith("one: journal damaged at record 3: its checksum is wrong\n")
    assert f"  To begin anew, move {tmp_path}/one away" in out
    assert "two: sound\n" in out


@pytest.mark.parametrize("sync", [True, False])
def test_a_lost_end_is_a_warning_where_it_may_be_lost(check: Check, tmp_path: Path, sync: bool) -> None:
    directory = tmp_path / "one"
    fill(directory, 3)
    kept = (directory / FILE_NAME).read_bytes()
    fill(directory, 2)
    (directory / FILE_NAME).write_bytes(kept)
    if not sync:
        (directory / "unsynced").write_text("another run of the machine")
    status, out, _ = check()
    told = "records up to 7 were acknowledged, and it ends before them"
    if sync:
        assert (status, out.splitlines()[0]) == (1, f"one: journal damaged at record 5: {told}")
    else:
        assert (status, out.splitlines()[0]) == (0, "one: sound")
        assert "  warning: the journal was written without syncs, or left out: every session" in out
        assert told in out


def test_a_damaged_checkpoint_is_a_warning_while_there_is_another(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 40, checkpoint_bytes=8000)
    older, newest = sorted((tmp_path / "one").glob("checkpoint-*.fusion"))
    flip(newest, b"/0")
    status, out, _ = check()
    assert status == 0
    assert out.count(", damaged\n") == 1 and out.count(", whole\n") == 1
    assert "  warning: " in out
    flip(older, b"/0")
    status, out, _ = check()
    assert status == 1
    assert out.startswith("one: journal damaged at record 1: it is missing\n")


@pytest.mark.parametrize("name", [FILE_NAME, "acknowledged"])
def test_a_missing_file(check: Check, tmp_path: Path, name: str) -> None:
    fill(tmp_path / "one", 3)
    (tmp_path / "one" / name).unlink()
    status, out, _ = check()
    assert status == 1
    assert out.startswith("one: journal damaged at record ")
    assert not (tmp_path / "one" / name).exists()  # nothing is made up


def test_it_changes_nothing_that_matters(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 3)
    reports = [check() for _ in range(3)]
    assert reports[0] == reports[1] == reports[2]
    fill(tmp_path / "one", 1)
    assert "records 1 to 6" in check()[1]


def test_a_running_server_keeps_it_out(check: Check, tmp_path: Path) -> None:
    fill(tmp_path / "one", 1)
    with DataDirectory(tmp_path):
        status, out, err = check()
        assert (status, out) == (1, "")
        assert err == f"fusion: {tmp_path} is in use by another process (id {os.getpid()})\n"
        with pytest.raises(DataDirectoryInUse):
            DataDirectory(tmp_path)
    assert check()[0] == 0


def test_nothing_to_check(check: Check, tmp_path: Path) -> None:
    assert check() == (0, f"{tmp_path} has no datastore's files\n", "")
    status, _, err = check("--data-dir", str(tmp_path / "absent"))
    assert (status, err) == (2, f"fusion: {tmp_path}/absent is not a directory\n")
