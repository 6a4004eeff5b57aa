"""What the README shows works as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from processes import Command
from public_agent import README, REQUIREMENTS, readme_block

Start = Callable[..., Command]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_configuration_and_every_curl(fusion: Start, tmp_path: Path) -> None:
    (tmp_path / "fusion.toml").write_text(readme_block("toml", "[server]"))
    server = fusion("serve", "--config", "fusion.toml", "--port", "0")
    url = server.match(r"listening on (http://\S+)\n")[1]
    blocks = [
        block
        for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
        if "$URL/" in block or "URL=" in block
    ]
    script = "\n".join(blocks).replace("http://127.0.0.1:8102", url)
    done = subprocess.run(["sh", "-eux"], input=script.encode(), capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert '"name":"a.txt"' in shown and '"name":"b.txt"' in shown and '"status":"tripped"' in shown
    # Every route has its line; the parts of the console's page come with the page.
    described = httpx.get(f"{url}/openapi.json", trust_env=False).json()["paths"]
    curls = [line for line in script.splitlines() if "curl" in line]
    own = {path: found for path, found in described.items() if not path.startswith("/view/static/")}
    for path, operations in own.items():
        for method in set(operations) - {"head"}:
            assert any(path.rstrip("/") in line and called(line) == method for line in curls), (method, path)


def called(line: str) -> str:
    """The method that a line of curl uses."""
    named = re.search(r"-X (\w+)", line)
    return named[1].lower() if named else "post" if " -d " in line else "get"


def test_the_library_example() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", readme_block("python", "PathIndex")],
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0].endswith("False 3")
    assert lines[2] == "['/data/a.txt'] 3"


def test_the_public_agents_packages() -> None:
    named = readme_block("sh", "agent/bin/pip").partition("install")[2].replace("\\\n", " ")
    assert [word.strip("'") for word in named.split()] == REQUIREMENTS
