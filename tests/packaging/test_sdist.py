"""What is delivered: the sdist is complete, and `pip install .` of it makes a service that runs.

One compilation serves all of these tests.
"""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from installing import ROOT, run

from fusion.version import VERSION

PACKAGE = ROOT / "fusion"
# Files of git and of the forge, which a source tree does not need.
OF_THE_FORGE = re.compile(r"\.(ci|github|gitignore|dockerignore|containerignore)(/|$)")
DATA = [
    "fusion/py.typed",
    "fusion/_index.pyi",
    "fusion/agent/_scan.pyi",
    "fusion/agent/listing.h",
    *(f"fusion/{path.relative_to(PACKAGE)}" for path in PACKAGE.glob("_core/*.h")),
    *(f"fusion/{path.relative_to(PACKAGE)}" for path in PACKAGE.glob("console/**/*") if path.is_file()),
]
MODULES = [f"fusion/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")]


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_version_stands_in_one_place(sdist: Path, wheel: Path) -> None:
    assert sdist.name == f"fusion_index-{VERSION}.tar.gz"
    assert wheel.name.startswith(f"fusion_index-{VERSION}-cp3")


def test_the_sdist_is_the_source_tree(sdist: Path) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    listed = run("git", "ls-files", "-z", directory=ROOT).split("\0")
    tracked = {name for name in listed if name and not OF_THE_FORGE.match(name) and (ROOT / name).exists()}
    assert tracked <= sdist_names(sdist)


def test_the_sdist_has_nothing_that_was_built(sdist: Path) -> None:
    built = re.compile(r"(^|/)(build|__pycache__|\.venv[^/]*)/|\.(so|pyc|o)$|(^|/)_index\.c$")
    assert not [name for name in sdist_names(sdist) if built.search(name)]


def test_the_wheel_has_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {*MODULES, *DATA} <= names
    assert {name.partition("/")[0] for name in names} == {"fusion", f"fusion_index-{VERSION}.dist-info"}
    others = names - {*MODULES, *DATA, "fusion/_index.pyx", "fusion/agent/_scan.pyx"}
    compiled = sorted(name for name in others if name.startswith("fusion/"))
    assert len(compiled) == 2
    for name, module in zip(compiled, ("fusion/_index", "fusion/agent/_scan"), strict=True):
        assert re.fullmatch(module + r"\.cpython-3\d+-[\w-]+\.so", name)


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"fusion_index-{VERSION}.dist-info/METADATA"))
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line for line in needed if line.startswith("sanic")]
    assert not [
        line for line in needed if re.match("pytest|hypothesis|cython|setuptools", line, re.IGNORECASE)
    ]


def test_the_wheel_tells_nothing_of_the_machine_that_built_it(wheel: Path, unpacked: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            assert bytes(unpacked) not in archive.read(name), f"{name} names the directory it was built in"


def test_only_the_package_is_installed(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    installed = {path.name for path in packages.iterdir()}
    assert installed - {"__pycache__"} == {"fusion", f"fusion_index-{VERSION}.dist-info", "outer.pth"}
    assert not {path.name for path in (packages / "fusion").rglob("*")} & {
        "tests",
        "benchmarks",
        "conftest.py",
    }


def test_the_command_runs(environment: Path, tmp_path: Path) -> None:
    assert run(environment / "bin/fusion", "--version", directory=tmp_path) == f"fusion {VERSION}\n"
    where = run(environment / "bin/python", "-c", "import fusion; print(fusion.__file__)", directory=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)


def test_the_service_runs(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "fusion.toml").write_text("[datastores.one]\n")
    with (tmp_path / "errors").open("wb") as errors:
        server = subprocess.Popen(
            [environment / "bin/fusion", "serve", "--config", "fusion.toml", "--port", "0"],
            cwd=tmp_path,
            env={"PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("fusion: listening on http://"), (tmp_path / "errors").read_text()
        url = line.rpartition(" ")[2].strip()
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"{url}/health/live", timeout=60) as answer:
            assert answer.status == 200
        with opener.open(f"{url}/openapi.json", timeout=60) as answer:
            assert json.load(answer)["paths"]
        with opener.open(f"{url}/view", timeout=60) as answer:
            assert b"<html" in answer.read()
        server.terminate()
        assert server.wait(60) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        assert server.stdout is not None
        server.stdout.close()
