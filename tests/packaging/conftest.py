"""The sdist, made of a copy of the source tree, and what `pip install .` makes of the sdist alone."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest
from installing import ROOT, pip, run

# What .gitignore keeps out of the repository, and the repository itself.
UNTRACKED = (
    ".git",
    ".venv*",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    "*.so",
    ".*_cache",
    ".hypothesis",
    "fusion-data",
)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive."""
    source = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*UNTRACKED))
    made = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-W", "error::UserWarning", "-c", build, made, directory=source)
    shutil.rmtree(source)
    (archive,) = made.iterdir()
    return archive


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the archive holds."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    return place / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="session")
def environment(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the package, installed from the sdist by pip without a network.

    What the package needs, to build and to run, comes from the environment of the tests.
    """
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(place)})
    Path(packages, "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip(place, "install", "--ignore-installed", ".", directory=unpacked)
    return place


@pytest.fixture(scope="session")
def wheel(unpacked: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the same directory; what was compiled to install it is not compiled again."""
    made = tmp_path_factory.mktemp("wheel")
    pip(environment, "wheel", "--wheel-dir", made, ".", directory=unpacked)
    (archive,) = made.iterdir()
    return archive
