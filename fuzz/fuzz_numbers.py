"""Mutation fuzzing of the number readers against float() and int(), for so many seconds; see README.md."""

from __future__ import annotations

import random
import re
import struct
import sys
import time

from fusion._index import _double_read, _int64_read

JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
JSON_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]*)")
INFINITY = float("inf")
CHARACTERS = b"0123456789.eE+-"
ROUND = 10_000  # tokens between two looks at the clock


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def digits(source: random.Random, count: int) -> str:
    return str(source.randrange(10 ** (count - 1), 10**count))


def random_double(source: random.Random) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", source.getrandbits(64)))[0]
    return value if abs(value) < INFINITY else 0.0


def token(source: random.Random) -> str:
    """A number as clients write it, or near one of the places where rounding is hard."""
    kind = source.randrange(9)
    if kind == 0:
        return repr(random_double(source))
    if kind == 1:  # a time
        return f"{source.randrange(10**9, 10**10)}.{source.randrange(10 ** source.randrange(1, 11))}"
    if kind == 2:  # any digits, any exponent
        return f"{digits(source, source.randrange(1, 25))}e{source.randrange(-350, 320)}"
    if kind == 3:
        return f"0.{'0' * source.randrange(30)}{digits(source, source.randrange(1, 25))}"
    if kind == 4:  # halfway between two doubles of 53 bits, or a little beside it
        odd = source.getrandbits(53) | 1 << 53 | 1
        return f"{odd + source.randrange(-1, 2)}{source.choice(['', '.0', '.00000000000000001', 'e0'])}"
    if kind == 5:  # 17 to 25 digits of a double, in decimal
        return f"{random_double(source):.{source.randrange(16, 25)}e}"
    if kind == 6:  # subnormal, down to what rounds to zero
        return f"{digits(source, source.randrange(1, 20))}e-{source.randrange(305, 345)}"
    if kind == 7:  # where doubles end
        return f"1.797693134862315{source.randrange(10**6)}e308"
    return str(source.randrange(-(2**65), 2**65) >> source.randrange(64))


def mutated(source: random.Random, text: bytearray) -> bytes:
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(text) + 1)
        text[at : at + source.randrange(2)] = source.choices(CHARACTERS, k=source.randrange(3))
    return bytes(text)


def check(text: bytes) -> None:
    number = float(text) if JSON_NUMBER.fullmatch(text) else INFINITY
    read = _double_read(text)
    if abs(number) == INFINITY:
        assert read is None, text
    else:
        assert read is not None and bits(read) == bits(number), text
    integer = int(text) if JSON_INTEGER.fullmatch(text) else None
    if integer is not None and not -(2**63) <= integer < 2**63:
        integer = None
    assert _int64_read(text) == integer, text


def main() -> None:
    seconds = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.getrandbits(32)
    source = random.Random(seed)
    print(f"numbers: {seconds:g} s, seed {seed}", flush=True)
    checked, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(ROUND):
            text = token(source).encode()
            check(text if checked % 4 else mutated(source, bytearray(text)))
            checked += 1
    print(f"numbers: {checked:,} tokens, no difference")


if __name__ == "__main__":
    main()
