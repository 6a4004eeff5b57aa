"""`fusion agent` on the command line: what it takes, what it refuses, and that keys stay secret."""

import argparse
from pathlib import Path

import pytest

from fusion import cli
from fusion.commands.agent import api_key, server_url
from fusion.commands.base import CommandError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FUSION_URL", "FUSION_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def given(key: str | None = None, file: Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(api_key=key, api_key_file=file and str(file))


def test_the_key_comes_from_an_option_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("from a file\n")
    monkeypatch.setenv("FUSION_API_KEY", "from the environment")
    assert api_key(given()) == "from the environment"
    assert api_key(given(file=file)) == "from a file"
    assert api_key(given("from an option")) == "from an option"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "cannot be read: it is not text"),
        (b" \n", "no API key"),
        (b"two\nlines", "no header can hold"),
        ("ключ".encode(), "no header can hold"),
    ],
)
def test_keys_that_are_none(tmp_path: Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=error) as caught:
        api_key(given(file=file))
    assert caught.value.status == 2
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://fusion.example", "http://[::1]:8102/prefix/"])
def test_urls(url: str) -> None:
    assert server_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["nonsense", "host:8102", "ftp://host", "http://", "http://h:99999", "http://["]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(CommandError, match="is no URL of a server"):
        server_url(url)


def test_the_servers_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_url(None) == "http://127.0.0.1:8102"
    monkeypatch.setenv("FUSION_URL", "http://other:1")
    assert server_url(None) == "http://other:1"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{tmp}/none", "--api-key", "k"], "is not a directory"),
        (["{tmp}/file", "--api-key", "k"], "is not a directory"),
        (["{tmp}"], "no API key: set FUSION_API_KEY or give --api-key-file"),
        (["{tmp}", "--api-key", "k", "--api-key-file", "f"], "exclude each other"),
        (["{tmp}", "--api-key", "k", "--url", "x"], "is no URL"),
        (["{tmp}", "--api-key", "k", "--state-dir", "{tmp}/file"], "cannot be the state directory: "),
        (["{tmp}", "--api-key", "k", "--exclude", "!x"], "pattern '!x'"),
        (["{tmp}", "--api-key", "k", "--spool-bytes", "much"], "'much' is no number of bytes"),
        ([], "the following arguments are required: PATH"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "file").touch()
    try:
        status = cli.main(["agent", *(argument.format(tmp=tmp_path) for argument in arguments)])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    error = capsys.readouterr().err
    assert line in error.splitlines()[-1]


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["agent", "--help"])
    assert capsys.readouterr().out.count("\n  fusion agent /") + 1 >= 2
