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
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fusion.errors import SettingsError
from fusion.kinds import (
    BOOLEAN,
    MOMENT,
    Setting,
    integer,
    matching,
    one_of,
    read_table,
    refuse_unknown,
    require,
    shown,
    some_of,
    text,
)
from fusion.kinds import path as a_path

SCOPES = ("read", "ingest", "admin")
# Of what is acknowledged, what survives: a power cut too; the end of the process; nothing.
DURABILITIES = ("fsync", "os", "none")
# Who may ask for /metrics: everyone, about all datastores; a key of the scope read or admin, about its own;
# nobody.
METRICS = ("public", "key", "off")

MIB, GIB = 1 << 20, 1 << 30

DATASTORE_NAME = "[A-Za-z0-9_-]{1,64}"
SHA256 = matching("[0-9a-fA-F]{64}", "the SHA-256 of a key as 64 hex digits")


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
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allow_plaintext: bool = False
    key_requests_per_second: int = 0
    key_bytes_per_second: int = 0
    failed_tries_per_minute: int = 60
    metrics: str = "public"
    max_connections: int = 4096
    request_head_seconds: int = 10
    request_body_seconds: int = 60


@dataclass(frozen=True, slots=True)
class DatastoreSettings:
    session_timeout_seconds: int = 30
    allow_concurrent_push: bool = False
    queue_bytes: int = 64 * MIB
    durability: str = "fsync"
    checkpoint_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What one API key opens, until when, and how much of it.

    key_sha256: the SHA-256 of the key, as 64 lower-case hex digits; the key itself is not known.
    id, created: of a key that `fusion keys` made. expires: in UTC.
    requests_per_second, bytes_per_second: 0 is no limit, None what `[server]` says for all keys.
    """

    key_sha256: str
    datastore: str
    scopes: tuple[str, ...] = SCOPES
    expires: datetime | None = None
    requests_per_second: int | None = None
    bytes_per_second: int | None = None
    id: str | None = None
    created: datetime | None = None


def sha256_of(key: str) -> str:
    """What is known of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


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
    refuse_unknown(document, ("server", "datastores", "keys"), "")

    server = read_table(document.get("server", {}), _SERVER, "server")
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
    if "tls_key" in server and "tls_certificate" not in server:
        raise SettingsError("server.tls_key: must come with tls_certificate, to which it belongs")
    return Settings(ServerSettings(**server), MappingProxyType(datastores), keys)


_SERVER = {
    "host": Setting(
        text("a host name or address"),
        "Address to listen on. `0.0.0.0` and `::` are all addresses of the machine.",
    ),
    "port": Setting(
        integer(0, 65_535),
        "TCP port to listen on. 0 takes any free one; the line `listening on` tells which.",
    ),
    "data_dir": Setting(
        a_path("the path of a directory"),
        "Directory of journals and checkpoints, made when it is missing. A relative path begins at the "
        "working directory. One running server owns it; a second one is refused.",
    ),
    "max_body_bytes": Setting(
        integer(1, GIB),
        "Largest body of a request, as received and, separately, as decompressed. A larger one is answered "
        "413 `body_too_large`.",
        "bytes",
    ),
    "min_free_bytes": Setting(
        integer(0, 1024 * GIB),
        "Room that is kept free on the file system of the data directory. With less, pushes are answered "
        "507 `disk_full` until there is room again; views go on.",
        "bytes",
    ),
    "max_answer_nodes": Setting(
        integer(1, 1 << 30),
        "Most nodes of one answer. One that would have more is answered 413 `answer_too_large`, with a "
        "cursor to read it in pages.",
        "nodes",
    ),
    "max_answer_bytes": Setting(
        integer(1, 1024 * GIB),
        "Most bytes of one answer, before it is compressed. A larger one is answered 413 `answer_too_large`.",
        "bytes",
    ),
    "max_answer_seconds": Setting(
        integer(1, 365 * 86_400),
        "Longest time in which one answer is made and taken by its client. The connection is closed then.",
        "seconds",
    ),
    "max_kept_bytes": Setting(
        integer(0, 1024 * GIB),
        "Most memory for the past that answers under way still show while the tree changes. Beyond it, the "
        "answer that has taken longest is cut off.",
        "bytes",
    ),
    "tls_certificate": Setting(
        a_path("the path of a file"),
        "Certificate chain in PEM form, the server's own certificate first. With it the service speaks TLS "
        "(1.2 and newer) only. A file that changes is read again by itself, and at SIGHUP.",
    ),
    "tls_key": Setting(
        a_path("the path of a file"),
        "Private key of the certificate, in PEM form and without a passphrase. Not needed where the "
        "certificate's file has it as well.",
    ),
    "allow_plaintext": Setting(
        BOOLEAN,
        "Whether to listen without TLS on an address that other machines reach. API keys and names then "
        "cross the network in plain; behind a proxy that speaks TLS, or in a network of its own, that may "
        "be what you want.",
    ),
    "key_requests_per_second": Setting(
        integer(0, 1 << 31),
        "Requests that one API key may make, on average; it can save up for 5 seconds. More of them are "
        "answered 429 `too_many_requests`. 0: no limit. A key can have a limit of its own.",
        "requests per second",
    ),
    "key_bytes_per_second": Setting(
        integer(0, 1 << 50),
        "Bytes of bodies that one API key may send and be sent, on average; it can save up for 5 seconds, "
        "and what a request takes beyond that has to be waited for by the next one. 0: no limit. A key can "
        "have a limit of its own.",
        "bytes per second",
    ),
    "failed_tries_per_minute": Setting(
        integer(0, 1 << 31),
        "Wrong API keys that one address (of IPv6: one network of 64 bits) may present, on average; it can "
        "save up for a minute. More of them are answered 429 `too_many_requests`, without a look at the "
        "key unless it was seen to be right before. 0: no limit.",
        "tries per minute",
    ),
    "metrics": Setting(
        one_of(*METRICS),
        "Who may read `/metrics`: with `public` everybody, with `key` an API key of the scope `read` or "
        "`admin`, with `off` nobody.",
    ),
    "max_connections": Setting(
        integer(1, 1_000_000),
        "Most connections open at once. Beyond it, idle ones are closed for new ones.",
        "connections",
    ),
    "request_head_seconds": Setting(
        integer(1, 86_400),
        "Longest time from the first byte of a request to the end of its header, however slowly it comes.",
        "seconds",
    ),
    "request_body_seconds": Setting(
        integer(1, 86_400),
        "Longest time for a request's body, and one second more for each 16 KiB of it that came.",
        "seconds",
    ),
}
_DATASTORE = {
    "session_timeout_seconds": Setting(
        integer(1, 365 * 86_400),
        "Silence after which a session expires. When it was the one with authority, views are answered 503 "
        "`stale` until a new session's snapshot has ended.",
        "seconds",
    ),
    "allow_concurrent_push": Setting(
        BOOLEAN,
        "Whether sessions push beside one another. With `false` a new session makes the ones before it "
        "obsolete (419); with `true` they go on with changes, and only the newest one sends snapshots.",
    ),
    "queue_bytes": Setting(
        integer(1, 64 * GIB),
        "Most memory for pushes that were taken and are not applied yet. Beyond it, a push waits up to 3 s "
        "for room and is answered 503 `overloaded` then.",
        "bytes",
    ),
    "durability": Setting(
        one_of(*DURABILITIES),
        "What survives of that which was acknowledged: with `fsync` a power cut and the end of the process, "
        "with `os` the end of the process, with `none` nothing. See [durability.md](durability.md).",
    ),
    "checkpoint_bytes": Setting(
        integer(0, 1024 * GIB),
        "Least growth of the journal between two checkpoints (and at least a quarter of the newest one). "
        "Less of it starts sooner after a crash, more of it writes less to the disk.",
        "bytes",
    ),
}
_KEY = {
    "key_sha256": Setting(
        SHA256,
        "The SHA-256 of an API key, as `sha256sum` prints it. Either this or `key` has to be there.",
    ),
    "key": Setting(
        text("a key in plain"),
        "An API key in plain, for trials only: whoever reads the file has the key.",
    ),
    "datastore": Setting(
        text("the name of a datastore"),
        "The one datastore that the key opens, configured in this file.",
        required=True,
    ),
    "scopes": Setting(
        some_of(*SCOPES),
        "What the key may do: `read` asks views, `ingest` is for agents, `admin` resets a datastore. None "
        "of them includes another.",
        required=True,
    ),
    "expires": Setting(MOMENT, "When the key ends to be one."),
    "requests_per_second": Setting(
        integer(0, 1 << 31),
        "Instead of `key_requests_per_second` of `[server]`. 0: no limit.",
        "requests per second",
    ),
    "bytes_per_second": Setting(
        integer(0, 1 << 50),
        "Instead of `key_bytes_per_second` of `[server]`. 0: no limit.",
        "bytes per second",
    ),
}
# What `fusion keys` writes into the data directory.
KEPT_KEY = {
    "id": Setting(matching("[0-9a-f]{8}", "8 hex digits"), "What names the key.", required=True),
    "key_sha256": _KEY["key_sha256"]._replace(required=True),
    **{name: setting for name, setting in _KEY.items() if name not in ("key", "key_sha256")},
    "created": Setting(MOMENT, "When the key was made.", required=True),
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
        if value is MISSING or value is None:
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
        if not re.fullmatch(DATASTORE_NAME, name):
            raise SettingsError(
                f"datastores.{shown(name)}: a name must be 1 to 64 letters (A-Z, a-z), digits, '_' or '-'"
            )
        datastores[name] = DatastoreSettings(**read_table(table, _DATASTORE, f"datastores.{name}"))
    return datastores


def _read_keys(tables: Any, datastores: Mapping[str, DatastoreSettings]) -> tuple[KeySettings, ...]:
    if not isinstance(tables, list):
        raise SettingsError("keys: must be tables [[keys]]")
    keys: dict[str, KeySettings] = {}
    for number, table in enumerate(tables):
        where = f"keys[{number}]"
        values = read_table(table, _KEY, where)
        if ("key" in values) == ("key_sha256" in values):
            raise SettingsError(f"{where}: must have either key_sha256 or key")
        require(values, _KEY, where)
        if (name := values["datastore"]) not in datastores:
            raise SettingsError(
                f"{where}.datastore: must be one of {', '.join(datastores)}, not {shown(name)}"
            )
        if "key" in values:
            values["key_sha256"] = sha256_of(values.pop("key"))
        settings = KeySettings(**values)
        if settings.key_sha256 in keys:
            raise SettingsError(f"{where}: must not repeat a key that stands above; a key has one datastore")
        keys[settings.key_sha256] = settings
    return tuple(keys.values())
