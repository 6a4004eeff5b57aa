"""The help of the root names every command, errors are one line, and docs/cli.md is what the parsers are."""

from __future__ import annotations

import argparse
import runpy
import shlex
from pathlib import Path

import pytest

from fusion import cli
from fusion.version import VERSION

ROOT = Path(__file__).parents[2]
REFERENCE = runpy.run_path(str(ROOT / "tools" / "command_reference.py"))["reference"]()
PARSERS = list(cli.parsers(cli.parser()))


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == REFERENCE, "run python tools/command_reference.py"


@pytest.mark.parametrize("parser", PARSERS[1:], ids=lambda parser: parser.prog)
def test_the_page_has_every_command_and_option(parser: argparse.ArgumentParser) -> None:
    _, _, after = REFERENCE.partition(f"\n## `{parser.prog}`\n")
    section = after.partition("\n## ")[0]
    assert section
    for action in parser._actions:
        for option in action.option_strings:
            hidden = action.help == argparse.SUPPRESS or option in ("-h", "--help")
            assert (f"`{option}" in section or f", {option}" in section) != hidden, option


def test_the_help_lists_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for parser in PARSERS[1:]:
        if len(words := parser.prog.split()) == 2:
            assert len([line for line in lines if line.startswith(f"  {words[1]} ")]) == 1, parser.prog
    assert all(len(line) <= 110 for line in lines)


def test_the_examples_of_the_help_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    ended("--help")
    examples = capsys.readouterr().out.partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) >= 3
    for line in examples:
        program, *arguments = shlex.split(line.strip().partition("   ")[0])
        assert program == "fusion"
        cli.parser().parse_args(arguments)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_wrong_usage_is_one_line(parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*parser.prog.split()[1:], "--nothing-like-it") == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("fusion: ") and err.endswith(" --help)\n") and err.count("\n") == 1


@pytest.mark.parametrize("parser", PARSERS[1:], ids=lambda parser: parser.prog)
def test_every_command_helps(parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*parser.prog.split()[1:], "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: {parser.prog} ")
    assert parser.description


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"fusion {VERSION}\n"


def test_the_settings_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    out = capfd.readouterr().out
    assert "[server]\n" in out and "  port = 8102\n" in out and "  scopes, required\n" in out
    assert "`" not in out
