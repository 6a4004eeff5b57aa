"""API keys that come and go while the server runs: how they look, and the file that knows them.

A key is `fus_<id>_<43 characters>`: 8 hex digits that name it, and 256 random bits. The file has the id and
the SHA-256 of the whole key, never the key. Whoever changes the file replaces it as a whole, so that a reader
sees one version or the other.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from fusion.errors import SettingsError, UnknownKey
from fusion.files import replaced_file, stamp_of, write_all
from fusion.kinds import read_table, refuse_unknown, require
from fusion.settings import KEPT_KEY, KeySettings, sha256_of

# No datastore can have these names, which are those of folders.
FILE_NAME = "keys.toml"
USE_NAME = "keys-used.json"
_LOCK_NAME = ".keys.lock"

_SHAPE = re.compile("fus_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_HEADING = "# The API keys of this server, written by `fusion keys`. Only the SHA-256 of a key is known.\n"


def new_key(datastore: str, scopes: tuple[str, ...], **limits: Any) -> tuple[str, KeySettings]:
    """A key made up now, to be shown once, and what is kept of it. `limits`: the optional fields."""
    identity = new_id()
    text = key_text(identity)
    created = datetime.now(UTC).replace(microsecond=0)
    return text, KeySettings(sha256_of(text), datastore, scopes, id=identity, created=created, **limits)


def new_id() -> str:
    return secrets.token_hex(4)


def key_text(identity: str) -> str:
    """A key of that id, made up now."""
    return f"fus_{identity}_{secrets.token_urlsafe(32)}"


def id_of(text: str) -> str | None:
    """The id in a key; None for what is not of this shape."""
    found = _SHAPE.fullmatch(text)
    return found[1] if found else None


class KeyFile:
    """`keys.toml` of a data directory, mode 0600."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME
        self._use_path = data_dir / USE_NAME

    def stamp(self) -> tuple[int, ...] | None:
        """Changes whenever the file does; None: there is none, or none that can be reached."""
        return stamp_of(self.path)

    def read(self) -> dict[str, KeySettings]:
        """The keys by id; none without a file. Raises SettingsError."""
        try:
            text = self.path.read_bytes().decode()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise SettingsError(f"{self.path}: must be a TOML file in UTF-8: {error}") from None
        return read_keys(text, str(self.path))

    def add(self, key: KeySettings) -> None:
        """Raises SettingsError for a file that cannot be read, OSError for one that cannot be written."""
        assert key.id is not None
        with self._changed() as keys:
            keys[key.id] = key

    def remove(self, identity: str) -> KeySettings:
        """The key that it was. Raises UnknownKey, SettingsError and OSError."""
        with self._changed() as keys:
            if identity not in keys:
                raise UnknownKey(f"{self.path} has no key with the id {identity!r}")
            return keys.pop(identity)

    @contextmanager
    def _changed(self) -> Iterator[dict[str, KeySettings]]:
        """The keys, to be changed; the file has them at the end. Nobody else changes it meanwhile."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(_LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._give(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = self.read()
            yield keys
            with replaced_file(str(self.path), sync=True, mode=0o600) as descriptor:
                self._give(descriptor)
                write_all(descriptor, written(keys.values()).encode())
        finally:
            os.close(lock)

    def _give(self, descriptor: int) -> None:
        """Whoever owns the directory, which is the server, can read what root writes there."""
        if os.geteuid() == 0:
            owner = os.stat(self.path.parent)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    # When each key was used last. The server alone writes it, now and then, and nothing hangs on it.

    def last_used(self) -> dict[str, float]:
        """Id -> seconds since the epoch."""
        try:
            found = orjson.loads(self._use_path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {identity: float(at) for identity, at in found.items() if isinstance(at, int | float)}

    def note_use(self, used: Mapping[str, float]) -> None:
        """Raises OSError."""
        with replaced_file(str(self._use_path), sync=False, mode=0o600) as descriptor:
            write_all(descriptor, orjson.dumps(used))


def written(keys: Iterable[KeySettings]) -> str:
    """The file's text. No value is of an alphabet that would need escapes."""
    return _HEADING + "".join(
        "\n".join(["\n[[keys]]", *(f"{name} = {_shown(value)}" for name, value in fields(key)), ""])
        for key in keys
    )


def fields(key: KeySettings) -> Iterator[tuple[str, Any]]:
    for name in KEPT_KEY:
        if (value := getattr(key, name)) is not None:
            yield name, value


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return moment_text(value)
    return str(value) if isinstance(value, int) else orjson.dumps(value).decode()


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC, which TOML reads as a time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_keys(text: str, where: str) -> dict[str, KeySettings]:
    """The keys of a file's text, by id. Raises SettingsError, which names what is wrong."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: must be a TOML file in UTF-8: {error}") from None
    refuse_unknown(document, ("keys",), f"{where}: ")
    tables = document.get("keys", [])
    if not isinstance(tables, list):
        raise SettingsError(f"{where}: keys: must be tables [[keys]]")
    keys: dict[str, KeySettings] = {}
    for number, table in enumerate(tables):
        place = f"{where}: keys[{number}]"
        values = read_table(table, KEPT_KEY, place)
        require(values, KEPT_KEY, place)
        if values["id"] in keys:
            raise SettingsError(f"{place}.id: must not repeat one that stands above")
        keys[values["id"]] = KeySettings(**values)
    return keys
