"""Decimal text to double is correctly rounded: held against exact arithmetic where that is hard."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion._index import Batch, _double_read

MANTISSA_BITS = 53
LEAST_EXPONENT = -1074  # of the last bit of a subnormal
GREATEST = (2**53 - 1) * 2**971
WORD = 2**64  # the reader's words: up to 19 digits, exact
BEYOND = 2**1024 - 2**970  # halfway between the greatest double and 2**1024, to which it rounds


def nearest(value: Fraction) -> float:
    """The double nearest to value >= 0, ties to even, by whole numbers alone; infinity from BEYOND on."""
    if value >= BEYOND:
        return math.inf
    if value == 0:
        return 0.0
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - MANTISSA_BITS
    exponent = max(exponent, LEAST_EXPONENT)
    if value >= Fraction(2) ** (exponent + MANTISSA_BITS):
        exponent += 1
    return math.ldexp(round(value / Fraction(2) ** exponent), exponent)  # round() is to even, ldexp exact


def exactly(text: str) -> Fraction:
    return Fraction(text)


def check(text: str) -> None:
    expected = nearest(exactly(text))
    for token, value in ((text, expected), (f"-{text}", -expected)):
        read = _double_read(token.encode())
        if math.isinf(expected):
            assert read is None, token
        else:
            assert read is not None and struct.pack("<d", read) == struct.pack("<d", value), token


def midpoint(bits: int) -> Fraction:
    """Halfway between the positive double of these bits and the next one."""
    low, high = struct.unpack("<2d", struct.pack("<2Q", bits, bits + 1))
    return (Fraction(low) + Fraction(high)) / 2


def decimal_digits(value: Fraction, count: int) -> tuple[int, int]:
    """digits, power: the first `count` digits of a value > 0, cut off, times 10**power."""
    power = math.floor(math.log10(value.numerator) - math.log10(value.denominator)) - count + 1
    digits = math.floor(value / Fraction(10) ** power)
    if digits >= 10**count:
        digits, power = digits // 10, power + 1
    return digits, power


@pytest.mark.parametrize("count", [15, 16, 17, 18, 19, 20, 21, 30])
def test_decimals_on_both_sides_of_a_midpoint_in_every_binade(count: int) -> None:
    source = random.Random(count)
    for exponent in range(2047):
        bits = exponent << 52 | source.getrandbits(52)
        digits, power = decimal_digits(midpoint(min(bits, (2047 << 52) - 2)), count)
        for beside in (0, 1):
            check(f"{digits + beside}e{power}")
        point = source.randrange(1, count)
        text = str(digits)
        check(f"{text[:point]}.{text[point:]}e{power + len(text) - point}")


def convergents(value: Fraction, limit: int) -> Iterator[tuple[int, int]]:
    """Numerators and denominators below the limit of the best approximations to a value."""
    before, last = (0, 1), (1, 0)
    numerator, denominator = value.numerator, value.denominator
    while denominator:
        whole, rest = divmod(numerator, denominator)
        before, last = last, (whole * last[0] + before[0], whole * last[1] + before[1])
        if last[1] >= limit:
            return
        yield last
        numerator, denominator = denominator, rest


@pytest.mark.parametrize("powers", [range(-342, -100), range(-100, 100), range(100, 309)], ids=str)
def test_the_hardest_mantissa_of_every_power_of_ten(powers: range) -> None:
    """k / w approximates 10**q / 2**e: w * 10**q is as near to the midpoint k * 2**e as any w of 64 bits."""
    hard = 0
    for q in powers:
        power = Fraction(10) ** q
        scale = power.numerator.bit_length() - power.denominator.bit_length() + 64 - (MANTISSA_BITS + 1)
        for exponent in range(scale - 2, scale + 3):
            for k, w in convergents(power / Fraction(2) ** exponent, WORD):
                grow = 2**MANTISSA_BITS // k * 2 + 1 if k else 1
                for odd in {1, grow, max(grow - 2, 1)}:
                    if k % 2 and w * odd < WORD and (k * odd).bit_length() == MANTISSA_BITS + 1:
                        hard += 1
                        for beside in (-1, 0, 1):
                            check(f"{w * odd + beside}e{q}")
    assert hard > len(powers)


def test_subnormals_down_to_zero() -> None:
    source = random.Random(1)
    for width in range(1, 53):
        for _ in range(5):
            middle = midpoint(source.getrandbits(width))
            for count in (1, 2, 17, 18, 19, 20, 25):
                digits, power = decimal_digits(middle, count)
                check(f"{digits}e{power}")
                check(f"{digits + 1}e{power}")
    half_of_least = Fraction(2) ** (LEAST_EXPONENT - 1)
    for count in (17, 19, 20, 100, 751, 752, 767, 768, 769, 800):
        digits, power = decimal_digits(half_of_least, count)
        check(f"{digits}e{power}")
        check(f"{digits + 1}e{power}")


def test_the_overflow_edge() -> None:
    for text in (GREATEST, BEYOND - 1, BEYOND, BEYOND + 1, 2**1024):
        check(f"{text}")
        check(f"{text}.0")
        check(f"{text}{'0' * 30}e-30")
        check(f"0.{text}e309")
    for count in range(1, 40):
        for edge in (GREATEST, BEYOND):
            digits, power = decimal_digits(Fraction(edge), count)
            check(f"{digits}e{power}")
            check(f"{digits + 1}e{power}")


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 18, 19, 20, 300, 330, 1000])
def test_long_zeros(zeros: int) -> None:
    source = random.Random(zeros)
    for _ in range(100):
        digits = source.randrange(1, 10 ** source.randrange(1, 22))
        tail = source.randrange(-360, 320)
        check(f"{digits}{'0' * zeros}e{tail - zeros}")
        check(f"{digits}.{'0' * zeros}e{tail}")
        check(f"0.{'0' * zeros}{digits}e{tail + zeros}")
        check(f"{digits}.{'0' * zeros}1e{tail}")
        check(f"{'9' * zeros}.{digits}e{tail - zeros}")


@given(st.integers(0, 10**40), st.integers(-400, 400))
def test_any_mantissa_and_power(digits: int, power: int) -> None:
    check(f"{digits}e{power}")


# Times, which the scanner reads in a way of its own


def times_of(tokens: list[str]) -> list[float]:
    rows = ",".join(f'{{"path":"/a","modified_time":{token}}}' for token in tokens)
    body = f'{{"session_id":"s","source_type":"message","events":[{{"rows":[{rows}]}}]}}'
    batch = Batch.scan(body.encode())
    assert batch is not None
    return [row[4] for row in batch.to_list()]


@pytest.mark.parametrize("decimals", range(12))
def test_times_of_so_many_decimals(decimals: int) -> None:
    source = random.Random(decimals)
    tokens = []
    for whole_digits in (1, 8, 9, 10, 10, 10, 10, 10, 11, 12, 19, 20):
        for _ in range(200):
            whole = source.randrange(10 ** (whole_digits - 1), 10**whole_digits)
            fraction = "".join(source.choices("0123456789", k=decimals))
            tokens.append(f"{whole}.{fraction}" if fraction else f"{whole}")
            tokens.append(f"{tokens[-1]}{source.choice(['e', 'E', 'e+', 'E-'])}{source.randrange(12)}")
    assert [struct.pack("<d", time) for time in times_of(tokens)] == [
        struct.pack("<d", nearest(exactly(token))) for token in tokens
    ]


def test_times_halfway_between_two_doubles() -> None:
    source = random.Random(1)
    tokens = []
    for _ in range(20_000):
        (bits,) = struct.unpack("<Q", struct.pack("<d", source.uniform(1e9, 1e10)))
        digits, power = decimal_digits(midpoint(bits), 17)
        assert power == -7
        tokens += [f"{text[:10]}.{text[10:]}" for text in (str(digits), str(digits + 1))]
    assert [struct.pack("<d", time) for time in times_of(tokens)] == [
        struct.pack("<d", nearest(exactly(token))) for token in tokens
    ]
