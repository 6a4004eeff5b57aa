"""Requests with anything in them, through the whole service in process: never a 5xx, changes only with a 204.

`fuzz/fuzz_http.py` does the same for as long as one likes, guided by what the requests reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from in_process import InProcess, impatient
from requests_at_random import SEEDS, mutated, pieces


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        impatient(monkeypatch)
        with InProcess(tmp_path_factory.mktemp("data")) as service:
            yield service


def test_the_requests_that_others_are_made_of_are_answered(service: InProcess) -> None:
    for seed in SEEDS:
        (answer,) = service.check(seed)
        assert answer.status in (200, 204), (seed, answer)


@given(source=st.randoms(use_true_random=False))
@settings(max_examples=1500)
def test_changed_requests(service: InProcess, source: object) -> None:
    service.check(*pieces(mutated(source)))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
@example([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n\r\n"])
def test_random_bytes(service: InProcess, data: list[bytes]) -> None:
    service.check(*data)


@given(body=st.binary(max_size=300), seed=st.sampled_from([s for s in SEEDS if b"Content-Length" in s]))
def test_random_bodies(service: InProcess, body: bytes, seed: bytes) -> None:
    head = seed.partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if not line.startswith((b"Content-Length", b"Expect"))]
    service.check(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body)
