"""Corpus S, a store of submissions: `/data/upload/submit/{c}/{c}/{uuid}/sub_{0..3}/data_{0000..0249}.dat`.

80-byte file paths, children before parents, times in microseconds. The bodies are printed from a template of
one submission in which only the random digits and the name change: about 0.4 µs a row, so that tens of
millions of rows can be made while an index takes them. The same size and seed give the same bodies.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from uuid import UUID

import numpy as np
import orjson
from corpora import ROWS_PER_BODY, Row, envelope

TOP = "/data/upload/submit"
FILES_PER_SUB = 250
SUBS = 4
SUBMISSION_NODES = 1 + SUBS * (1 + FILES_PER_SUB)

# Bytes of the template that stand for something else; JSON has none of them.
_NAME, _FIRST, _SECOND, _DIGIT, _DIGIT_NOT_0 = range(1, 6)
_TIME = "17" + "\4" * 8 + "." + "\4" * 5 + "\5"


def names(nodes: int, seed: int = 1) -> list[str]:
    """The submissions, sorted; about `nodes` nodes (whole submissions, at least one)."""
    rng = random.Random(seed)
    return sorted(str(UUID(int=rng.getrandbits(128))) for _ in range(max(1, nodes // SUBMISSION_NODES)))


def base(name: str, root: str = "") -> str:
    """The directory of a submission; `root` is put before the whole store."""
    return f"{root}{TOP}/{name[0]}/{name[1]}/{name}"


def file_path(name: str, number: int, root: str = "") -> str:
    """One of the SUBS * FILES_PER_SUB files of a submission."""
    sub, file = divmod(number, FILES_PER_SUB)
    return f"{base(name, root)}/sub_{sub}/data_{file:04d}.dat"


def directories_above(submissions: Iterable[str], root: str = "") -> list[str]:
    """The directories that submissions share, children first."""
    above = {base(name, root).rpartition("/")[0] for name in submissions}
    for path in list(above):
        while path := path.rpartition("/")[0]:
            above.add(path)
    return sorted(above, key=lambda path: (-path.count("/"), path))


class Printer:
    """Prints rows of the same shape again and again, each with a comma behind it."""

    def __init__(self, shape: Iterable[tuple[str, bool]], seed: int) -> None:
        rows = [_row(path, is_dir) for path, is_dir in shape]
        self.length = len(rows)
        self._offsets = np.cumsum([0, *map(len, rows)]).tolist()
        self._bytes = np.frombuffer(b"".join(rows), dtype=np.uint8).copy()
        self._places = {mark: np.flatnonzero(self._bytes == mark) for mark in range(1, 6)}
        self._rng = np.random.default_rng(seed)

    def fill(self, name: str) -> None:
        """Make the rows those of this submission, with new sizes and times."""
        for mark, part in ((_NAME, name), (_FIRST, name[:1]), (_SECOND, name[1:2])):
            if part:
                text = np.frombuffer(part.encode(), dtype=np.uint8)
                self._bytes[self._places[mark]] = np.tile(text, len(self._places[mark]) // len(text))
        for mark, least in ((_DIGIT, 48), (_DIGIT_NOT_0, 49)):
            places = self._places[mark]
            self._bytes[places] = self._rng.integers(least, 58, len(places), dtype=np.uint8)

    def rows(self, start: int, stop: int) -> bytes:
        return self._bytes[self._offsets[start] : self._offsets[stop]].tobytes()


def _template(root: str) -> Iterator[tuple[str, bool]]:
    above = f"{root}{TOP}/\2/\3/" + "\1" * 36
    for sub in range(SUBS):
        for number in range(FILES_PER_SUB):
            yield f"{above}/sub_{sub}/data_{number:04d}.dat", False
        yield f"{above}/sub_{sub}", True
    yield above, True


def _row(path: str, is_dir: bool) -> bytes:
    size = "4096" if is_dir else "\5" + "\4" * 5
    return (
        f'{{"file_path":"{path}","size":{size},"modified_time":{_TIME},"created_time":{_TIME},'
        f'"is_dir":{"true" if is_dir else "false"}}},'
    ).encode()


def bodies(nodes: int, seed: int = 1, root: str = "", source_type: str = "message") -> Iterator[bytes]:
    """The corpus as push bodies of 1000 rows."""
    return bodies_of(names(nodes, seed), seed, root, source_type)


def bodies_of(
    submissions: Iterable[str], seed: int = 1, root: str = "", source_type: str = "message"
) -> Iterator[bytes]:
    """The same for these submissions."""
    submissions = list(submissions)
    pieces: list[bytes] = []
    missing = ROWS_PER_BODY
    for source in _sources(submissions, seed, root):
        done = 0
        while done < source.length:
            taken = min(missing, source.length - done)
            pieces.append(source.rows(done, done + taken))
            done += taken
            missing -= taken
            if not missing:
                yield envelope(b"".join(pieces)[:-1], source_type)
                pieces, missing = [], ROWS_PER_BODY
    if pieces:
        yield envelope(b"".join(pieces)[:-1], source_type)


def _sources(submissions: list[str], seed: int, root: str) -> Iterator[Printer]:
    printer = Printer(_template(root), seed)
    for name in submissions:
        printer.fill(name)
        yield printer
    above = Printer(((path, True) for path in directories_above(submissions, root)), seed)
    above.fill("")
    yield above


def rows(nodes: int, seed: int = 1, root: str = "") -> Iterator[Row]:
    """The corpus as rows."""
    for body in bodies(nodes, seed, root):
        for event in orjson.loads(body)["events"]:
            for row in event["rows"]:
                yield Row(*row.values())
