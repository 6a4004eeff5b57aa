"""Settings: the file, the environment, the command line; each wrong one stops the start with one line."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion.errors import SettingsError
from fusion.settings import DatastoreSettings, KeySettings, ServerSettings, Settings, load_settings, sha256_of

SERVER = [field.name for field in dataclasses.fields(ServerSettings)]
HASH = "ab" * 32

DOCUMENTED = f"""
[server]
host = "127.0.0.1"
port = 8102
data_dir = "./fusion-data"
[datastores.research]
session_timeout_seconds = 30
allow_concurrent_push = false
[[keys]]
key_sha256 = "{HASH}"
datastore = "research"
scopes = ["read", "ingest", "admin"]
"""

KEY = '[[keys]]\ndatastore = "one"\nscopes = ["read"]\n'

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str = "[datastores.one]", overrides: Any = None, **environ: str) -> Settings:
        file = tmp_path / "fusion.toml"
        file.write_text(text)
        return load_settings(file, overrides, environ=environ)

    return load


def refusal(load: Load, *arguments: Any, **environ: str) -> str:
    with pytest.raises(SettingsError) as error:
        load(*arguments, **environ)
    line = str(error.value)
    assert line and "\n" not in line
    return line


def test_the_documented_file(load: Load) -> None:
    settings = load(DOCUMENTED)
    assert settings.server == ServerSettings("127.0.0.1", 8102, Path("fusion-data"), 16 * 1024 * 1024)
    assert dict(settings.datastores) == {"research": DatastoreSettings(30, False)}
    assert settings.keys == (KeySettings(HASH, "research", ("read", "ingest", "admin")),)


def test_defaults(load: Load) -> None:
    settings = load()
    assert settings.server == ServerSettings()
    assert dict(settings.datastores) == {"one": DatastoreSettings()}
    assert settings.keys == ()


def test_without_a_file_there_is_one_datastore() -> None:
    settings = load_settings(environ={})
    assert settings.server == ServerSettings()
    assert dict(settings.datastores) == {"default": DatastoreSettings()}


def test_everything_can_be_set(load: Load) -> None:
    settings = load(
        '[server]\nhost = "::1"\nport = 0\ndata_dir = "/data"\nmax_body_bytes = 1000\nmin_free_bytes = 9\n'
        "max_answer_nodes = 2\nmax_answer_bytes = 3\nmax_answer_seconds = 4\nmax_kept_bytes = 5\n"
        'tls_certificate = "c"\ntls_key = "k"\nallow_plaintext = true\n'
        "key_requests_per_second = 10\nkey_bytes_per_second = 11\nfailed_tries_per_minute = 12\n"
        'metrics = "key"\n'
        "max_connections = 6\nrequest_head_seconds = 7\nrequest_body_seconds = 8\n"
        "[datastores.a]\nsession_timeout_seconds = 1\nallow_concurrent_push = true\nqueue_bytes = 5000\n"
        'durability = "os"\ncheckpoint_bytes = 77\n'
        "[datastores.B-2_c]\n"
    )
    assert settings.server == ServerSettings(
        *("::1", 0, Path("/data"), 1000, 9, 2, 3, 4, 5),
        *(Path("c"), Path("k"), True, 10, 11, 12),
        *("key", 6, 7, 8),
    )
    assert dict(settings.datastores) == {
        "a": DatastoreSettings(1, True, 5000, "os", 77),
        "B-2_c": DatastoreSettings(),
    }


def test_settings_are_frozen(load: Load) -> None:
    settings = load(DOCUMENTED)
    for part, name in ((settings, "server"), (settings.server, "port"), (settings.keys[0], "scopes")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)
    with pytest.raises(TypeError):
        settings.datastores["other"] = DatastoreSettings()  # type: ignore[index]


# Keys


def test_a_plain_key_is_kept_as_its_hash(load: Load) -> None:
    settings = load(f'[datastores.one]\n{KEY}key = "secret-ä"')
    assert settings.keys == (KeySettings(hashlib.sha256("secret-ä".encode()).hexdigest(), "one", ("read",)),)
    assert "secret" not in repr(settings)
    assert settings.keys[0] == KeySettings(sha256_of("secret-ä"), "one", ("read",))


def test_a_hash_may_be_in_capitals(load: Load) -> None:
    settings = load(f'[datastores.one]\n{KEY}key_sha256 = "{HASH.upper()}"')
    assert settings.keys[0].key_sha256 == HASH


def test_scopes_have_one_order_and_no_repetition(load: Load) -> None:
    text = f'[datastores.one]\n[[keys]]\ndatastore = "one"\nkey = "k"\nscopes = {["admin", "read", "admin"]}'
    assert load(text).keys[0].scopes == ("read", "admin")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("", "keys[0]: must have either key_sha256 or key"),
        (f'key = "k"\nkey_sha256 = "{HASH}"', "keys[0]: must have either key_sha256 or key"),
        ('key = ""', "keys[0].key: must be a key in plain, not ''"),
        ("key = 5", "keys[0].key: must be a key in plain, not 5"),
        (
            'key_sha256 = "abc"',
            "keys[0].key_sha256: must be the SHA-256 of a key as 64 hex digits, not 'abc'",
        ),
        (
            'key = "k"\nscope = "read"',
            "keys[0].scope: unknown setting; allowed: key_sha256, key, datastore, scopes, expires,"
            " requests_per_second, bytes_per_second",
        ),
    ],
)
def test_wrong_keys(load: Load, key: str, line: str) -> None:
    assert refusal(load, f"[datastores.one]\n{KEY}{key}") == line


@pytest.mark.parametrize("scopes", ["[]", '["write"]', '["read", 5]', '"read"', '[["read"]]'])
def test_wrong_scopes(load: Load, scopes: str) -> None:
    line = refusal(load, f'[datastores.one]\n[[keys]]\nkey = "k"\ndatastore = "one"\nscopes = {scopes}')
    assert line.startswith("keys[0].scopes: must be a list of one or more of read, ingest, admin, not ")


def test_a_key_needs_its_datastore_and_scopes(load: Load) -> None:
    assert refusal(load, '[datastores.one]\n[[keys]]\nkey = "k"\nscopes = ["read"]') == (
        "keys[0].datastore: is missing; must be the name of a datastore"
    )
    assert refusal(load, '[datastores.one]\n[[keys]]\nkey = "k"\ndatastore = "one"') == (
        "keys[0].scopes: is missing; must be a list of one or more of read, ingest, admin"
    )


def test_a_keys_datastore_must_be_configured(load: Load) -> None:
    text = f'[datastores.two]\n[datastores.three]\n{KEY}key = "k"'
    assert refusal(load, text) == "keys[0].datastore: must be one of two, three, not 'one'"


def test_a_key_has_one_datastore(load: Load) -> None:
    text = f'[datastores.one]\n{KEY}key = "k"\n{KEY}key = "other"\n{KEY}key = "k"'
    assert refusal(load, text).startswith("keys[2]: must not repeat a key")


# Wrong and unknown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("serve = 1", "serve: unknown setting; allowed: server, datastores, keys"),
        (
            "[server]\nprot = 1",
            f"server.prot: unknown setting; allowed: {', '.join(SERVER)}",
        ),
        ('[server]\nmetrics = "all"', "server.metrics: must be one of public, key, off, not 'all'"),
        ("server = 1", "server: must be a table, not 1"),
        ("[server]\nport = 65536", "server.port: must be an integer from 0 to 65535, not 65536"),
        ("[server]\nport = -1", "server.port: must be an integer from 0 to 65535, not -1"),
        ("[server]\nport = true", "server.port: must be an integer from 0 to 65535, not True"),
        ("[server]\nport = 80.0", "server.port: must be an integer from 0 to 65535, not 80.0"),
        ('[server]\nport = "80"', "server.port: must be an integer from 0 to 65535, not '80'"),
        ('[server]\nhost = ""', "server.host: must be a host name or address, not ''"),
        ("[server]\nhost = 1", "server.host: must be a host name or address, not 1"),
        ('[server]\ndata_dir = ""', "server.data_dir: must be the path of a directory, not ''"),
        ('[server]\ndata_dir = "a\\u0000"', "server.data_dir: must be the path of a directory, not 'a\\x00'"),
        (
            "[server]\nmax_body_bytes = 0",
            "server.max_body_bytes: must be an integer from 1 to 1073741824, not 0",
        ),
        ("keys = 5", "keys: must be tables [[keys]]"),
        ("keys = [5]", "keys[0]: must be a table, not 5"),
    ],
)
def test_wrong_settings(load: Load, text: str, line: str) -> None:
    assert refusal(load, f"datastores.one = {{}}\n{text}") == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "datastores: must be one or more tables [datastores.<name>]"),
        ("datastores = {}", "datastores: must be one or more tables [datastores.<name>]"),
        ("datastores = []", "datastores: must be one or more tables [datastores.<name>]"),
        ("datastores.one = 5", "datastores.one: must be a table, not 5"),
        (
            "[datastores.one]\ntimeout = 1",
            "datastores.one.timeout: unknown setting; "
            "allowed: session_timeout_seconds, allow_concurrent_push, queue_bytes, durability, "
            "checkpoint_bytes",
        ),
        (
            "[datastores.one]\nsession_timeout_seconds = 0",
            "datastores.one.session_timeout_seconds: must be an integer from 1 to 31536000, not 0",
        ),
        (
            "[datastores.one]\nsession_timeout_seconds = 1.5",
            "datastores.one.session_timeout_seconds: must be an integer from 1 to 31536000, not 1.5",
        ),
        (
            "[datastores.one]\nallow_concurrent_push = 1",
            "datastores.one.allow_concurrent_push: must be true or false, not 1",
        ),
        (
            '[datastores.one]\ndurability = "always"',
            "datastores.one.durability: must be one of fsync, os, none, not 'always'",
        ),
        (
            "[datastores.one]\ndurability = true",
            "datastores.one.durability: must be one of fsync, os, none, not True",
        ),
        (
            "[datastores.one]\ncheckpoint_bytes = -1",
            "datastores.one.checkpoint_bytes: must be an integer from 0 to 1099511627776, not -1",
        ),
        (
            "[datastores.one]\nqueue_bytes = nan",
            "datastores.one.queue_bytes: must be an integer from 1 to 68719476736, not nan",
        ),
    ],
)
def test_wrong_datastores(load: Load, text: str, line: str) -> None:
    assert refusal(load, text) == line


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "x" * 65, "a\\n", ".."])
def test_wrong_names_of_datastores(load: Load, name: str) -> None:
    line = refusal(load, f'[datastores."{name}"]')
    assert line.startswith("datastores.")
    assert line.endswith(": a name must be 1 to 64 letters (A-Z, a-z), digits, '_' or '-'")


def test_a_long_wrong_value_is_cut(load: Load) -> None:
    line = refusal(load, f'[server]\nport = "{"9" * 1000}"\n[datastores.one]')
    assert len(line) < 150


# The file itself


def test_a_missing_file() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("/nowhere/fusion.toml", environ={})
    assert str(error.value) == "/nowhere/fusion.toml: cannot be read: No such file or directory"


@pytest.mark.parametrize("content", [b"[server", b"[server]\nport = 1\nport = 2", b"x = '\xff'"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fusion.toml"
    file.write_bytes(content)
    line = refusal(lambda: load_settings(file, environ={}))
    assert line.startswith(f"{file}: must be a TOML file in UTF-8: ")


# The environment and the command line


def test_the_environment_wins_over_the_file(load: Load) -> None:
    settings = load(
        DOCUMENTED,
        FUSION_HOST="0.0.0.0",
        FUSION_PORT="9000",
        FUSION_DATA_DIR="/srv/data",
        FUSION_MAX_BODY_BYTES="2048",
    )
    assert settings.server == ServerSettings("0.0.0.0", 9000, Path("/srv/data"), 2048)


def test_the_command_line_wins_over_both(load: Load) -> None:
    overrides = {"host": "::", "port": 9001, "data_dir": "/other"}
    settings = load(DOCUMENTED, overrides, FUSION_PORT="9000", FUSION_HOST="0.0.0.0")
    assert settings.server == ServerSettings("::", 9001, Path("/other"))


def test_what_was_not_given_changes_nothing(load: Load) -> None:
    settings = load(DOCUMENTED, {"host": None, "port": None, "data_dir": None}, FUSION_PORT="")
    assert settings.server == ServerSettings()


def test_a_wrong_setting_in_the_file_is_refused_even_when_it_is_overridden(load: Load) -> None:
    assert "server.port" in refusal(load, "[server]\nport = -1\n[datastores.one]", {"port": 1})


@pytest.mark.parametrize("text", ["eighty", "-1", "65536", "8e1", " 80", "٨٠"])
def test_wrong_numbers_in_the_environment(load: Load, text: str) -> None:
    line = refusal(lambda: load(FUSION_PORT=text))
    assert line.startswith("FUSION_PORT: must be an integer from 0 to 65535, not ")


def test_wrong_overrides(load: Load) -> None:
    assert (
        refusal(load, DOCUMENTED, {"port": 65536}) == "--port: must be an integer from 0 to 65535, not 65536"
    )
    assert refusal(load, DOCUMENTED, {"data_dir": ""}).startswith("--data-dir: must be the path")
    assert refusal(load, DOCUMENTED, {"color": 1}).startswith("color: unknown setting; allowed: host, port")


def test_other_variables_are_none_of_its_business(load: Load) -> None:
    assert load(DOCUMENTED, FUSION_URL="x", FUSION_API_KEY="y").server == ServerSettings()
