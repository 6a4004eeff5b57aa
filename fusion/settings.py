"""Settings: a TOML file, the environment and the command line, checked in full and frozen.

The command line wins over the environment, the environment over the file, the file over the defaults.
Whatever is unknown or wrong raises SettingsError: one line that names the key and what is allowed.

A setting stands in two places: its default in one of the dataclasses, and all else, what is allowed and what
it does, in the tables below them. docs/configuration.md and `fusion settings` are made of `TABLES`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fusion.errors import SettingsError

SCOPES = ("read", "ingest", "admin")
# Of what is acknowledged, what survives: a power cut too; the end of the process; nothing.
DURABILITIES = ("fsync", "os", "none")

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 8102
    data_dir: Path = Path("fusion-data")
    max_body_bytes: int = 16 * MIB
    min_free_bytes: int = 256 * MIB
    max_answer_nodes: int = 50_000_000
    max_answer_bytes: int = 16 * GIB
    max_answer_seconds: int = 3600
    max_kept_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class DatastoreSettings:
    session_timeout_seconds: int = 30
    allow_concurrent_push: bool = False
    queue_bytes: int = 64 * MIB
    durability: str = "fsync"
    checkpoint_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What one API key opens. The key itself is known by its SHA-256 only, as 64 lower-case hex digits."""

    key_sha256: str
    datastore: str
    scopes: tuple[str, ...] = SCOPES

    @classmethod
    def of(cls, key: str, datastore: str, scopes: tuple[str, ...] = SCOPES) -> KeySettings:
        """The settings of a key given in plain."""
        return cls(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest(), datastore, scopes)


@dataclass(frozen=True, slots=True)
class Settings:
    server: ServerSettings = field(default_factory=ServerSettings)
    datastores: Mapping[str, DatastoreSettings] = field(default_factory=lambda: MappingProxyType({}))
    keys: tuple[KeySettings, ...] = ()


def load_settings(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the configuration file; `FUSION_PORT` ... of the environment and `overrides` are for `[server]`.

    An override that is None was not given. Without a file there is one datastore, `default`, and no key.
    Raises SettingsError.
    """
    document = {"datastores": {"default": {}}} if path is None else _read_file(path)
    _refuse_unknown(document, ("server", "datastores", "keys"), "")

    server = _read_table(document.get("server", {}), _SERVER, "server")
    for key in _SERVER:
        variable = f"FUSION_{key.upper()}"
        if environ.get(variable):
            kind = _SERVER[key].kind
            server[key] = kind.read(kind.from_text(environ[variable]), variable)
    for key, value in (overrides or {}).items():
        if key not in _SERVER:
            raise SettingsError(f"{key}: unknown setting; allowed: {', '.join(_SERVER)}")
        if value is not None:
            server[key] = _SERVER[key].kind.read(value, f"--{key.replace('_', '-')}")

    datastores = _read_datastores(document.get("datastores", {}))
    keys = _read_keys(document.get("keys", []), datastores)
    return Settings(ServerSettings(**server), MappingProxyType(datastores), keys)


class _Kind(NamedTuple):
    """One kind of value: what is allowed, in words, how a value is checked (None: it is wrong), and how it is
    written in the environment, where everything is text."""

    allowed: str
    check: Callable[[Any], Any]
    from_text: Callable[[str], Any] = str

    def read(self, value: Any, where: str) -> Any:
        checked = self.check(value)
        if checked is None:
            raise SettingsError(f"{where}: must be {self.allowed}, not {_shown(value)}")
        return checked


def _integer(least: int, most: int) -> _Kind:
    def check(value: Any) -> int | None:
        return value if type(value) is int and least <= value <= most else None

    def from_text(text: str) -> int | str:
        return int(text) if re.fullmatch("[0-9]{1,18}", text) else text

    return _Kind(f"an integer from {least} to {most}", check, from_text)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and "\0" not in value else None


def _path(value: Any) -> Path | None:
    return value if isinstance(value, Path) else None if _text(value) is None else Path(value)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _sha256(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value) else None


def _durability(value: Any) -> str | None:
    return value if isinstance(value, str) and value in DURABILITIES else None


def _scopes(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value or any(scope not in SCOPES for scope in value):
        return None
    return tuple(scope for scope in SCOPES if scope in value)


class Setting(NamedTuple):
    """One setting of a table: its kind, what it does (sentences in Markdown), the unit of a number, and
    whether the file has to have it."""

    kind: _Kind
    effect: str
    unit: str = ""
    required: bool = False


_SERVER = {
    "host": Setting(
        _Kind("a host name or address", _text),
        "Address to listen on. `0.0.0.0` and `::` are all addresses of the machine.",
    ),
    "port": Setting(
        _integer(0, 65_535),
        "TCP port to listen on. 0 takes any free one; the line `listening on` tells which.",
    ),
    "data_dir": Setting(
        _Kind("the path of a directory", _path),
        "Directory of journals and checkpoints, made when it is missing. A relative path begins at the "
        "working directory. One running server owns it; a second one is refused.",
    ),
    "max_body_bytes": Setting(
        _integer(1, GIB),
        "Largest body of a request, as received and, separately, as decompressed. A larger one is answered "
        "413 `body_too_large`.",
        "bytes",
    ),
    "min_free_bytes": Setting(
        _integer(0, 1024 * GIB),
        "Room that is kept free on the file system of the data directory. With less, pushes are answered "
        "507 `disk_full` until there is room again; views go on.",
        "bytes",
    ),
    "max_answer_nodes": Setting(
        _integer(1, 1 << 30),
        "Most nodes of one answer. One that would have more is answered 413 `answer_too_large`, with a "
        "cursor to read it in pages.",
        "nodes",
    ),
    "max_answer_bytes": Setting(
        _integer(1, 1024 * GIB),
        "Most bytes of one answer, before it is compressed. A larger one is answered 413 `answer_too_large`.",
        "bytes",
    ),
    "max_answer_seconds": Setting(
        _integer(1, 365 * 86_400),
        "Longest time in which one answer is made and taken by its client. The connection is closed then.",
        "seconds",
    ),
    "max_kept_bytes": Setting(
        _integer(0, 1024 * GIB),
        "Most memory for the past that answers under way still show while the tree changes. Beyond it, the "
        "answer that has taken longest is cut off.",
        "bytes",
    ),
}
_DATASTORE = {
    "session_timeout_seconds": Setting(
        _integer(1, 365 * 86_400),
        "Silence after which a session expires. When it was the one with authority, views are answered 503 "
        "`stale` until a new session's snapshot has ended.",
        "seconds",
    ),
    "allow_concurrent_push": Setting(
        _Kind("true or false", _boolean),
        "Whether sessions push beside one another. With `false` a new session makes the ones before it "
        "obsolete (419); with `true` they go on with changes, and only the newest one sends snapshots.",
    ),
    "queue_bytes": Setting(
        _integer(1, 64 * GIB),
        "Most memory for pushes that were taken and are not applied yet. Beyond it, a push waits up to 3 s "
        "for room and is answered 503 `overloaded` then.",
        "bytes",
    ),
    "durability": Setting(
        _Kind(f"one of {', '.join(DURABILITIES)}", _durability),
        "What survives of that which was acknowledged: with `fsync` a power cut and the end of the process, "
        "with `os` the end of the process, with `none` nothing. See [durability.md](durability.md).",
    ),
    "checkpoint_bytes": Setting(
        _integer(0, 1024 * GIB),
        "Least growth of the journal between two checkpoints (and at least a quarter of the newest one). "
        "Less of it starts sooner after a crash, more of it writes less to the disk.",
        "bytes",
    ),
}
_KEY = {
    "key_sha256": Setting(
        _Kind("the SHA-256 of a key as 64 hex digits", _sha256),
        "The SHA-256 of an API key, as `sha256sum` prints it. Either this or `key` has to be there.",
    ),
    "key": Setting(
        _Kind("a key in plain", _text),
        "An API key in plain, for trials only: whoever reads the file has the key.",
    ),
    "datastore": Setting(
        _Kind("the name of a datastore", _text),
        "The one datastore that the key opens, configured in this file.",
        required=True,
    ),
    "scopes": Setting(
        _Kind(f"a list of one or more of {', '.join(SCOPES)}", _scopes),
        "What the key may do: `read` asks views, `ingest` is for agents, `admin` resets a datastore. None "
        "of them includes another.",
        required=True,
    ),
}


class Table(NamedTuple):
    """One table of the file: its heading as the file has it, what it is for, its settings, and the dataclass
    with their defaults."""

    heading: str
    purpose: str
    settings: Mapping[str, Setting]
    defaults: type[Any]

    def default_text(self, key: str) -> str:
        """The default as the file would have it, with its size in words; "" for a setting that has none."""
        known = {field.name: field.default for field in fields(self.defaults)}
        value = MISSING if self.settings[key].required else known.get(key, MISSING)
        if value is MISSING:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int):
            return f"{value} ({_binary(value)})" if self.settings[key].unit == "bytes" else str(value)
        return f'"{value}"'


TABLES = (
    Table("[server]", "The process and its HTTP service.", _SERVER, ServerSettings),
    Table(
        "[datastores.<name>]",
        "One datastore, by its name of 1 to 64 letters (A-Z, a-z), digits, `_` or `-`; at least one has to "
        "be there. Datastores never see one another.",
        _DATASTORE,
        DatastoreSettings,
    ),
    Table("[[keys]]", "One API key; any number of them.", _KEY, KeySettings),
)


def _binary(size: int) -> str:
    """A number of bytes in the largest unit of which it has a whole number."""
    units = ["bytes", "KiB", "MiB", "GiB"]
    while size and size % 1024 == 0 and len(units) > 1:
        size //= 1024
        units.pop(0)
    return f"{size} {units[0]}"


def _read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{os.fspath(path)}: must be a TOML file in UTF-8: {error}") from None


def _read_datastores(tables: Any) -> dict[str, DatastoreSettings]:
    if not isinstance(tables, dict) or not tables:
        raise SettingsError("datastores: must be one or more tables [datastores.<name>]")
    datastores = {}
    for name, table in tables.items():
        if not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
            raise SettingsError(
                f"datastores.{_shown(name)}: a name must be 1 to 64 letters (A-Z, a-z), digits, '_' or '-'"
            )
        datastores[name] = DatastoreSettings(**_read_table(table, _DATASTORE, f"datastores.{name}"))
    return datastores


def _read_keys(tables: Any, datastores: Mapping[str, DatastoreSettings]) -> tuple[KeySettings, ...]:
    if not isinstance(tables, list):
        raise SettingsError("keys: must be tables [[keys]]")
    keys: dict[str, KeySettings] = {}
    for number, table in enumerate(tables):
        where = f"keys[{number}]"
        values = _read_table(table, _KEY, where)
        if ("key" in values) == ("key_sha256" in values):
            raise SettingsError(f"{where}: must have either key_sha256 or key")
        for key, setting in _KEY.items():
            if setting.required and key not in values:
                raise SettingsError(f"{where}.{key}: is missing; must be {setting.kind.allowed}")
        if (name := values["datastore"]) not in datastores:
            raise SettingsError(
                f"{where}.datastore: must be one of {', '.join(datastores)}, not {_shown(name)}"
            )
        if "key" in values:
            settings = KeySettings.of(values["key"], values["datastore"], values["scopes"])
        else:
            settings = KeySettings(**values)
        if settings.key_sha256 in keys:
            raise SettingsError(f"{where}: must not repeat a key that stands above; a key has one datastore")
        keys[settings.key_sha256] = settings
    return tuple(keys.values())


def _read_table(table: Any, settings: Mapping[str, Setting], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: must be a table, not {_shown(table)}")
    _refuse_unknown(table, settings, f"{where}.")
    return {key: settings[key].kind.read(value, f"{where}.{key}") for key, value in table.items()}


def _refuse_unknown(table: Mapping[str, Any], allowed: Iterable[str], prefix: str) -> None:
    for key in table:
        if key not in allowed:
            raise SettingsError(
                f"{prefix}{_shown(key, bare=True)}: unknown setting; allowed: {', '.join(allowed)}"
            )


def _shown(value: Any, *, bare: bool = False) -> str:
    """A value on one line, cut when it is long."""
    text = repr(value)
    text = text[1:-1] if bare else text
    return text if len(text) <= 60 else f"{text[:57]}..."
