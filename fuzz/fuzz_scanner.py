"""Coverage-guided fuzzing of the strict scanner against the complete decoder; see README.md.

The scanner is compiled with libFuzzer's counters, so that a body that reaches a new branch of it is kept and
mutated further. A body that it takes must be taken by Batch.parse too and read the same, to the bit, at every
level of vector instructions.
"""

from __future__ import annotations

import random
import re
import sys
from typing import Any

import atheris

from fusion._index import Batch, _simd
from fusion.errors import FusionError

LEVELS = _simd()[1]

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+|\s+|.', re.DOTALL)
KEYS = [
    *b"session_id source_type events is_snapshot_end event_type rows index fields event_schema".split(),
    *b"table path file_path size modified_time created_time is_dir is_directory x".split(),
]
VALUES = [
    *b"null true false 0 -0 -0.0 1e22 5e-324 1795461842.9020936 9223372036854775807 [] {}".split(),
    *b'"message" "snapshot" "update" "insert" "delete" "" "/" "/a" "a/../b"'.split(),
    *b'[{"a":[1]}] ["size"] {"path":"/a"}'.split(),
    *b'"path" "size" "is_dir" ["path"] ["size","path"] ["/a"] [5,"/a"]'.split(),
]
TEXT = [
    *rb"\" \\ \/ \b \n \u00e4 \u4F60 \ud83d\ude00 \udc80 \udcc3\udca4 \ud800 \u0000 \u002e".split(),
    *(b"/", b".", b"..", b"/../", b"/./", b"//", b"n" * 16, b"/d" * 20),
    *(b"\xc3\xa4", b"\xe4\xbd\xa0", b"\xf0\x9f\x98\x80", b"\xc3", b"\t"),
]
SPACES = [b" ", b"\n", b"\r\n\t", b"  "]
DIGITS = b"0123456789.eE+-"

# Bodies that the scanner took, to start from: libFuzzer's own choice is mostly of such as are declined.
taken: list[bytes] = []
MOST_TAKEN = 4096


def mutate(body: bytes, max_size: int, seed: int) -> bytes:
    """The body changed byte by byte, as libFuzzer does it, or one of those taken, changed by tokens."""
    if seed % 4 or not taken:
        return bytes(atheris.Mutate(body, max_size))
    source = random.Random(seed)
    tokens = TOKEN.findall(source.choice(taken))
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(tokens))
        token = tokens[at]
        if token.startswith(b'"') and source.random() < 0.7:
            place = source.randrange(1, max(2, len(token)))
            tokens[at] = token[:place] + source.choice(TEXT) + token[place + source.randrange(2) :]
        elif token[:1] in b"-0123456789" and source.random() < 0.7:
            place = source.randrange(len(token) + 1)
            some = bytes(source.choices(DIGITS, k=source.randrange(4)))
            tokens[at] = token[:place] + some + token[place + source.randrange(3) :]
        elif token == b",":
            tokens[at] = b',"%s":%s,' % (source.choice(KEYS), source.choice(VALUES))
        elif token == b"{":
            tokens[at] = b'{"%s":%s,' % (source.choice(KEYS), source.choice(VALUES))
        elif token == b"[":
            tokens[at] = b"[%s," % source.choice(VALUES)
        elif token in b":]}" or token.isspace():
            tokens.insert(at, source.choice(SPACES))
        else:
            tokens[at] = source.choice(VALUES)
    return b"".join(tokens)[:max_size]


def read(batch: Batch) -> tuple[Any, ...]:
    """All that a batch holds. Of a float repr() says everything, the sign of zero too."""
    return (
        batch.session_id,
        batch.source_type,
        batch.is_snapshot_end,
        batch.max_index,
        batch.last_index,
        repr(batch.to_list()),
    )


def scan(body: bytes, level: str) -> tuple[Any, ...] | None:
    _simd(level)
    batch = Batch.scan(body)
    return None if batch is None else read(batch)


def check(body: bytes) -> None:
    scanned, *others = (scan(body, level) for level in LEVELS)
    assert all(other == scanned for other in others), "levels disagree"
    if scanned is None:
        return
    if len(taken) < MOST_TAKEN:
        taken.append(body)
    else:
        taken[random.randrange(MOST_TAKEN)] = body
    try:
        parsed = read(Batch.parse(body))
    except FusionError as error:
        raise AssertionError(f"accepted what is refused: {error}") from error
    assert scanned == parsed, "read differently"


if __name__ == "__main__":
    atheris.Setup(sys.argv, check, custom_mutator=mutate)
    atheris.Fuzz()
