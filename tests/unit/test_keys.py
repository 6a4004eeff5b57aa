"""The file of the keys: what is written is read, wrong ones are refused, changes do not collide."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import SettingsError, UnknownKey
from fusion.keys import KeyFile, id_of, new_key, read_keys, written
from fusion.settings import SCOPES, KeySettings

moments = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
rates = st.none() | st.integers(0, 1 << 31)
keys = st.builds(
    KeySettings,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.from_regex("[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.sets(st.sampled_from(SCOPES), min_size=1).map(
        lambda found: tuple(scope for scope in SCOPES if scope in found)
    ),
    expires=st.none() | moments,
    requests_per_second=rates,
    bytes_per_second=rates,
    id=st.binary(min_size=4, max_size=4).map(bytes.hex),
    created=moments,
)


@given(st.lists(keys, unique_by=lambda key: key.id))
def test_what_is_written_is_read(listed: list[KeySettings]) -> None:
    assert list(read_keys(written(listed), "keys.toml").values()) == listed


def test_a_new_key() -> None:
    text, key = new_key("research", ("read",))
    assert re.fullmatch("fus_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", text)
    assert key.id == id_of(text) and key.key_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert key.created is not None and datetime.now(UTC) - key.created < timedelta(minutes=5)
    assert len({new_key("research", ("read",))[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "fus_", "fus_0123abcd_", "fus_0123abcd_" + "x" * 42, "FUS_0123abcd_" + "x" * 43]
)
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert id_of(text) is None


def test_keys_come_and_go(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "data")
    assert file.read() == {} and file.stamp() is None
    (text, one), (_, two) = new_key("a", ("read",)), new_key("b", ("admin",))
    file.add(one)
    before = file.stamp()
    file.add(two)
    assert file.read() == {one.id: one, two.id: two} and file.stamp() != before
    assert one.id is not None
    assert file.remove(one.id) == one
    assert file.read() == {two.id: two}
    with pytest.raises(UnknownKey, match=one.id):
        file.remove(one.id)
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    assert text not in file.path.read_text() and text[13:] not in file.path.read_text()
    assert {path.name for path in file.path.parent.iterdir()} == {"keys.toml", ".keys.lock"}


ONE = f'[[keys]]\nid = "0123abcd"\nkey_sha256 = "{"ab" * 32}"\ndatastore = "a"\nscopes = ["read"]\n'
WHOLE = ONE + "created = 2026-01-31T12:00:00Z\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[keys]", "must be a TOML file"),
        ("keys = 1", "must be tables"),
        ("[server]", "server: unknown setting; allowed: keys"),
        (ONE, r"keys\[0\].created: is missing"),
        (ONE + "created = 2026-01-31T12:00:00\n", r"keys\[0\].created: must be a time with its zone"),
        (WHOLE + "key = 'k'\n", r"keys\[0\].key: unknown setting"),
        (WHOLE.replace('"0123abcd"', '"../../ab"'), r"keys\[0\].id: must be 8 hex digits"),
        (WHOLE.replace('["read"]', '["write"]'), r"keys\[0\].scopes: must be a list"),
        (WHOLE + "bytes_per_second = -1\n", r"keys\[0\].bytes_per_second: must be an integer"),
        (WHOLE * 2, r"keys\[1\].id: must not repeat"),
    ],
)
def test_a_wrong_file_is_refused_and_left_alone(tmp_path: Path, text: str, why: str) -> None:
    file = KeyFile(tmp_path)
    file.path.write_text(text)
    for attempt in (file.read, lambda: file.add(new_key("a", ("read",))[1]), lambda: file.remove("0123abcd")):
        with pytest.raises(SettingsError, match=f"^{re.escape(str(file.path))}: .*{why}"):
            attempt()
    assert file.path.read_text() == text


def test_the_oddest_whole_file_is_read() -> None:
    assert read_keys(WHOLE, "")["0123abcd"].created == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_many_processes_change_it_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fusion.keys import KeyFile, new_key\n"
        "file = KeyFile(Path(sys.argv[1]))\n"
        "made = [new_key('a', ('read',))[1] for _ in range(20)]\n"
        "for key in made: file.add(key)\n"
        "for key in made[:10]: file.remove(key.id)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(KeyFile(tmp_path).read()) == 40


def test_a_failing_write_leaves_the_keys_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path)
    file.add(new_key("a", ("read",))[1])
    before = file.path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusion.keys.write_all", fail)
    with pytest.raises(OSError, match="No space"):
        file.add(new_key("a", ("read",))[1])
    assert file.path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"keys.toml", ".keys.lock"}


@given(st.dictionaries(st.binary(min_size=4, max_size=4).map(bytes.hex), st.floats(0, 4e9)))
def test_use_is_noted(tmp_path_factory: pytest.TempPathFactory, used: dict[str, float]) -> None:
    file = KeyFile(tmp_path_factory.mktemp("use"))
    assert file.last_used() == {}
    file.note_use(used)
    assert file.last_used() == used


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', "{", "\xff"])
def test_a_damaged_note_of_use_is_none(tmp_path: Path, text: str) -> None:
    file = KeyFile(tmp_path)
    (tmp_path / "keys-used.json").write_text(text, encoding="latin-1")
    assert file.last_used() == {}
