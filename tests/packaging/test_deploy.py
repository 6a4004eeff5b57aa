"""What deploy/ has fits the program: paths, command lines and settings are real, and the sandbox is tight."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from installing import ROOT
from service import Server, config

from fusion.cli import parser
from fusion.settings import DatastoreSettings, ServerSettings, load_settings

DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "fusion.service").read_text()
CONTAINERFILE = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")


def unit(key: str) -> list[str]:
    """The values of a key of the unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the Containerfile."""
    return re.findall(rf"^{name} +(.*)$", CONTAINERFILE, re.MULTILINE)


# The configuration


def test_the_example_is_what_the_defaults_are(tmp_path: Path) -> None:
    settings = load_settings(DEPLOY / "fusion.toml", environ={})
    assert settings.server == ServerSettings()
    assert dict(settings.datastores) == {"main": DatastoreSettings()}


def test_what_is_commented_out_can_be_used(tmp_path: Path) -> None:
    """Every setting of the example is one, and says its default if it has one."""
    text = re.sub(r"^# (?=\w+ = |\[)", "", (DEPLOY / "fusion.toml").read_text(), flags=re.MULTILINE)
    (tmp_path / "fusion.toml").write_text(text)
    settings = load_settings(tmp_path / "fusion.toml", environ={})
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    assert certificate and key
    assert settings.server == ServerSettings(tls_certificate=certificate, tls_key=key)
    assert dict(settings.datastores) == {"main": DatastoreSettings()}
    assert len(settings.keys) == 1
    assert text.count(" = ") > 12


# The unit


def test_the_unit_starts_a_command_that_is_one() -> None:
    (command,) = unit("ExecStart")
    program, *arguments = shlex.split(command)
    assert program == "/opt/fusion/bin/fusion"
    options = parser().parse_args(arguments)
    assert options.config == "/etc/fusion/fusion.toml"
    assert options.data_dir == f"/var/lib/{unit('StateDirectory')[0]}" == unit("WorkingDirectory")[0]


def test_the_account_is_made_by_sysusers() -> None:
    lines = [line for line in (DEPLOY / "fusion.sysusers").read_text().splitlines() if line[:1] != "#"]
    assert [line.split()[:2] for line in lines] == [["u", unit("User")[0]]]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_knows_every_line_and_calls_it_safe(tmp_path: Path) -> None:
    file = tmp_path / "fusion.service"
    file.write_text(UNIT.replace("/opt/fusion/bin/fusion", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    judge = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", file]
    judged = subprocess.run(judge, capture_output=True, text=True)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd judges only units that are loaded")
    assert judged.returncode == 0, judged.stdout


# The container


def ignored(path: str) -> bool:
    """Whether a path of the source tree is kept out of the build, by the last line that is about it."""
    answer = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        places = [path, *map(str, Path(path).parents)]
        if line[:1] not in ("", "#") and any(fnmatch(place, pattern.removeprefix("**/")) for place in places):
            answer = not line.startswith("!")
    return answer


def test_what_is_copied_exists_and_is_let_through() -> None:
    copies = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    sources = [source for copy in copies for source in copy[:-1]]
    assert "fusion" in sources and "setup.py" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    assert ignored("fusion/_index.cpython-311-x86_64-linux-gnu.so") and ignored(".git/config")


def test_the_container_has_no_rights_and_says_how_it_is() -> None:
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that it can be checked not to be root"
    (health,) = instructions("HEALTHCHECK")
    command = json.loads(health[health.index("[") :])
    assert command[-1] in [line.split()[-1] for line in instructions("COPY")]


def test_the_container_starts_a_command_that_is_one() -> None:
    options = parser().parse_args(json.loads(instructions("CMD")[0]))
    assert instructions("VOLUME") == [options.data_dir]
    assert options.config in [line.split()[-1] for line in instructions("COPY")]
    assert instructions("EXPOSE") == [str(ServerSettings().port)]


def test_both_stages_are_of_one_image() -> None:
    (image,) = {line.split()[0] for line in instructions("FROM")}
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, config({"one": ""}))
    yield server
    server.kill()


def healthy(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", DEPLOY / "healthcheck.py"],
        env={**os.environ, "FUSION_URL": url},
        capture_output=True,
        text=True,
    )


def test_the_health_check_tells_a_server_from_none(server: Server) -> None:
    asked = healthy(server.url)
    assert (asked.returncode, asked.stderr) == (0, "")
    server.stop(signal.SIGTERM)
    asked = healthy(server.url)
    assert asked.returncode == 1
    assert len(asked.stderr.splitlines()) == 1
    assert healthy("nowhere").returncode == 1
