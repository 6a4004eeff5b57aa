"""The index suite: it runs on the compiled extension or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import fusion._index

SANITIZERS = {"": b"", "0": b"", "1": b"__asan_init", "thread": b"__tsan_init"}  # and what their builds call
SANITIZER = SANITIZERS[os.environ.get("FUSION_SANITIZE", "")]
SANITIZED = bool(SANITIZER)
SIMD = os.environ.get("FUSION_SIMD")

BUILD = Path(str(fusion._index.__file__))

if not BUILD.name.endswith(tuple(EXTENSION_SUFFIXES)):
    pytest.exit(f"fusion._index is not the compiled extension but {BUILD}", returncode=4)
if SANITIZER not in BUILD.read_bytes():
    pytest.exit(f"{BUILD} was built without the sanitizer that FUSION_SANITIZE names", returncode=4)
if SIMD and fusion._index._simd(SIMD)[0] != SIMD:
    pytest.exit(f"FUSION_SIMD: this machine has no {SIMD}", returncode=4)


@pytest.fixture(scope="module", params=fusion._index._simd()[1])
def simd_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each level of vector instructions that this machine has, in use for a whole module."""
    in_use = fusion._index._simd()[0]
    yield fusion._index._simd(request.param)[0]
    fusion._index._simd(in_use)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "no_sanitizer: measures memory or size; says nothing under a sanitizer"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SANITIZED:
        return
    for item in items:
        if item.get_closest_marker("no_sanitizer"):
            item.add_marker(pytest.mark.skip(reason="not under a sanitizer"))
