"""Completion: each shell reads its script, and completes what the parser takes."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fusion import cli
from fusion.commands.completion import SHELLS

# What each shell does with a script: it completes the last of the words, prints one candidate a line.
ASK = {
    "bash": 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_fusion\n'
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "fish": 'source $argv[1]; complete -C"$argv[2..]"',
}


def script(shell: str, capfd: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capfd.readouterr().out


def completed(shell: str, script: Path, *words: str) -> set[str]:
    """What a shell offers for the last word."""
    command = ["fish", "--no-config", "-c"] if shell == "fish" else ["bash", "--norc", "-c"]
    begin = [] if shell == "fish" else ["bash"]
    done = subprocess.run(
        [*command, ASK[shell], *begin, script, *words],
        capture_output=True,
        text=True,
        cwd=script.parent,
        env={**os.environ, "HOME": str(script.parent)},
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return {line.partition("\t")[0] for line in done.stdout.splitlines() if line}


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options that a user should see."""
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return {option for action in actions for option in action.option_strings if option.startswith("--")}


@pytest.fixture(params=["bash", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def file(shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / f"fusion.{shell}"
    path.write_text(script(shell, capfd))
    return path


def test_every_command_and_option_is_offered(shell: str, file: Path) -> None:
    """`prog` of a parser is the words that lead to it."""
    for parser in cli.parsers(cli.parser()):
        above, _, name = parser.prog.rpartition(" ")
        if above:
            assert name in completed(shell, file, *above.split(), ""), parser.prog
        assert completed(shell, file, *parser.prog.split(), "--") == options(parser), parser.prog


def test_what_was_begun_is_completed(shell: str, file: Path) -> None:
    assert completed(shell, file, "fusion", "sta") == {"stats"}
    assert completed(shell, file, "fusion", "serve", "--conf") == {"--config"}
    assert completed(shell, file, "fusion", "nothing", "--conf") == set()


def test_files_and_directories_are_offered_where_they_belong(shell: str, file: Path) -> None:
    directory = file.parent / "directory"
    directory.mkdir()
    (file.parent / "file.toml").touch()
    assert {"file.toml"} == {
        name.rstrip("/") for name in completed(shell, file, "fusion", "serve", "--config", "fi")
    }
    assert {"directory"} == {name.rstrip("/") for name in completed(shell, file, "fusion", "watch", "dir")}
    assert not completed(shell, file, "fusion", "watch", "file.t")


def test_hidden_options_stay_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    for shell in SHELLS:
        assert "--until-stdin-closes" not in script(shell, capfd)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_finds_its_script(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_fusion").write_text(script("zsh", capfd))
    asked = (
        "fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u; print $_comps[fusion]; zsh -n _fusion"
    )
    done = subprocess.run(["zsh", "-f", "-c", asked], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "_fusion\n", "")


def test_another_shell_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["completion", "tcsh"])
    assert end.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
