"""The command line: what it asks, what it prints, and how it ends."""

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_fusion import Answer, FakeFusion

from fusion import cli
from fusion.commands.base import size_text

Run = Callable[..., tuple[int, str, str]]


def node(path: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A directory when it has children (None stands for none shown), else a file of 3 bytes."""
    made = {"name": os.path.basename(path), "content_type": "file", "path": path, "size": 3, **more}
    if children:
        made["content_type"] = "directory"
        if children[0] is not None:
            made["children"] = {child["name"]: child for child in children}
    return made


@pytest.fixture
def fake() -> Iterator[FakeFusion]:
    with FakeFusion() as fake:
        yield fake


@pytest.fixture
def run(fake: FakeFusion, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> Run:
    """Runs a command against the stand-in: (exit status, standard output, standard error)."""
    monkeypatch.setenv("FUSION_URL", fake.url)
    monkeypatch.setenv("FUSION_API_KEY", "key")

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = cli.main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return status, os.fsdecode(out), os.fsdecode(err)

    return run


def answers(fake: FakeFusion, document: Any, status: int = 200) -> None:
    fake.intercept = lambda request: Answer(status, document)


# tree


def test_tree_draws_what_the_server_shows(fake: FakeFusion, run: Run) -> None:
    answers(
        fake, node("/d", node("/d/b"), node("/d/a", node("/d/a/x", size=1_234_567), node("/d/a/y", None)))
    )
    assert run("tree", "/d") == (
        0,
        "/d/\n├── a/\n│   ├── x  (1.2 MB)\n│   └── y/\n└── b  (3 B)\n\n"
        "2 directories, 2 files\nWhat lies deeper than 2 levels is left out, see --depth.\n",
        "",
    )
    assert fake.requests[0].path == "/views/fs/tree?path=/d&max_depth=2"


def test_tree_of_all_levels(fake: FakeFusion, run: Run) -> None:
    answers(fake, node("/", node("/a")))
    assert run("tree", "/", "--depth", "all") == (0, "/\n└── a  (3 B)\n\n0 directories, 1 file\n", "")
    assert fake.requests[0].path == "/views/fs/tree?path=/"


def test_tree_of_a_file(fake: FakeFusion, run: Run) -> None:
    answers(fake, node("/f"))
    assert run("tree", "/f")[1].startswith("/f  (3 B)\n")


def test_tree_asks_for_odd_paths_byte_by_byte(fake: FakeFusion, run: Run) -> None:
    answers(fake, node("/x"))
    run("tree", os.fsdecode("/ü&a=b+c%\n".encode() + b"\xff"), "--depth", "0")
    assert fake.requests[0].path == "/views/fs/tree?path=/%C3%BC%26a%3Db%2Bc%25%0A%FF&max_depth=0"


def test_names_that_are_not_utf8_are_printed_as_they_are(fake: FakeFusion, run: Run) -> None:
    raw = {"raw_name": base64.b64encode(b"caf\xe9").decode()}
    answers(fake, node("/d", {**node("/d/caf\ufffd"), **raw}))
    assert os.fsencode(run("tree", "/d")[1]).splitlines()[1] == "└── ".encode() + b"caf\xe9  (3 B)"
    answers(fake, [{**node("/d/caf\ufffd"), **raw}])
    assert os.fsencode(run("find", "caf")[1]) == b"/d/caf\xe9\n"


def test_a_terminal_gets_unprintable_characters_spelled_out(
    fake: FakeFusion, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(fake, [node("/d/a\x1b[2J\nb")])
    assert run("find", "a") == (0, "/d/a\x1b[2J\nb\n", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("find", "a") == (0, "/d/a\\x1b[2J\\nb\n", "")


# find, stats


def test_find_prints_paths(fake: FakeFusion, run: Run) -> None:
    answers(fake, [node("/d/a"), node("/b/a")])
    assert run("find", "a*?") == (0, "/d/a\n/b/a\n", "")
    assert fake.requests[0].path == "/views/fs/search?pattern=a%2A%3F"


def test_find_without_a_match_fails(fake: FakeFusion, run: Run) -> None:
    answers(fake, [])
    assert run("find", "x") == (1, "", "fusion: no file name matches 'x'\n")


def test_stats(fake: FakeFusion, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    oldest = {"path": "/d", "timestamp": 0.0}
    answers(
        fake, {"total_files": 1234567, "total_directories": 3, "oldest_directory": oldest, "total_bytes": 9}
    )
    out = run("stats")[1]
    assert [line.split() for line in out.splitlines()] == [
        ["files", "1,234,567"],
        ["directories", "3"],
        ["bytes", "9"],
        ["oldest", "directory", "/d", "(modified", "1970-01-01", *out.split()[-1:]],
    ]
    answers(fake, {"total_files": 0, "total_directories": 1, "oldest_directory": None})
    assert "oldest" not in run("stats")[1]


@pytest.mark.parametrize("command", [["tree", "/"], ["find", "a"], ["stats"]], ids=lambda c: c[0])
def test_json_is_the_servers_answer(fake: FakeFusion, run: Run, command: list[str]) -> None:
    answers(fake, {"any": "thing"})
    assert run(*command, "--json") == (0, '{"any": "thing"}\n', "")


# Trouble with the server


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "fusion: unknown key\n"),
        (404, "fusion: unknown key\n"),
        (503, "fusion: not ready yet, try again soon: unknown key\n"),
    ],
)
def test_the_servers_word_is_one_line(fake: FakeFusion, run: Run, status: int, line: str) -> None:
    answers(fake, {"detail": "unknown key", "code": "x"}, status)
    assert run("stats") == (1, "", line)


def test_an_answer_that_is_no_json(fake: FakeFusion, run: Run) -> None:
    answers(fake, "text", 500)
    assert run("stats") == (1, "", "fusion: HTTP status 500 Internal Server Error\n")


def test_nothing_answers(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    status, out, err = run("stats", "--url", url)
    assert (status, out) == (1, "")
    assert err.startswith(f"fusion: nothing answers at {url}: ") and err.count("\n") == 1


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://x"])
def test_a_url_that_is_none(run: Run, url: str) -> None:
    status, out, err = run("stats", "--url", url)
    assert (status, out) == (1, "")
    assert err.startswith(f"fusion: cannot ask {url}: ") and err.count("\n") == 1


def test_a_key_is_needed(run: Run, fake: FakeFusion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSION_API_KEY")
    assert run("stats") == (2, "", "fusion: no API key: set FUSION_API_KEY or give --api-key\n")
    answers(fake, [node("/a")])
    assert run("find", "a", "--api-key", "mine")[0] == 0
    assert fake.requests[0].headers["X-API-Key"] == "mine"


# Usage


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], "COMMAND"),
        (["unknown"], "unknown"),
        (["serve"], "--config"),
        (["watch"], "DIR"),
        (["watch", "/", "--port", "70000"], "--port"),
        (["watch", "/", "--port", "x"], "--port"),
        (["tree"], "PATH"),
        (["tree", "/", "--depth", "-1"], "--depth"),
        (["tree", "/", "--depth", "deep"], "--depth"),
        (["find"], "PATTERN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(run: Run, arguments: list[str], names: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert names in err


@pytest.mark.parametrize("command", [[], ["serve"], ["watch"], ["tree"], ["find"], ["stats"]], ids=" ".join)
def test_help(run: Run, command: list[str]) -> None:
    status, out, err = run(*command, "--help")
    assert (status, err) == (0, "")
    assert "--until-stdin-closes" not in out


def test_watch_needs_a_directory(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert run("watch", str(file)) == (2, "", f"fusion: {file} is not a directory\n")


def test_serve_names_what_is_wrong_with_its_configuration(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "fusion.toml"
    status, out, err = run("serve", "--config", str(config))
    assert (status, out) == (2, "")
    assert str(config) in err and err.startswith("fusion: ") and err.count("\n") == 1
    config.write_text("[server]\ncolour = 1\n")
    status, out, err = run("serve", "--config", str(config))
    assert (status, out) == (2, "")
    assert "colour" in err and err.count("\n") == 1


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fusion.commands.stats.ask", interrupt)
    assert run("stats") == (130, "", "")


def test_a_reader_that_has_seen_enough(fake: FakeFusion, run: Run) -> None:
    answers(fake, [node(f"/{number}") for number in range(50_000)])
    command = [sys.executable, "-m", "fusion", "find", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"/0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5_600_000_000, "5.6 GB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
