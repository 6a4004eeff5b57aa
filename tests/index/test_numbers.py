"""Numbers of the compiled index: text and doubles against Python's repr() and float(), to the bit."""

import json
import math
import os
import random
import re
import runpy
import struct
from array import array
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from levels import each_level

from fusion._index import _double_read, _double_write, _int64_read, _times_write

ROOT = Path(__file__).resolve().parents[2]
JSON_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
JSON_INTEGER = re.compile(rb"-?(0|[1-9][0-9]*)")

NUMBER_TEXT = st.text(alphabet="0123456789.eE+-", max_size=30).map(str.encode)
FINITE = st.floats(allow_nan=False, allow_infinity=False)

# Where repr() changes its layout, values that need 17 digits, the ends of the range.
LAYOUTS = [0.0, -0.0, 100.0, 0.0001, 0.00001, 0.00012345678901234567, 1e15, 9999999999999998.0, 1e16, 1e17]
EXPONENTS = [
    1e-9,
    1e-10,
    1e-99,
    1e-100,
    1e22,
    1e23,
    1e99,
    1e100,
    1.5e300,
    2.0**53,
    2.0**63,
    123456789012345680.0,
]
LIMITS = [
    5e-324,
    1e-323,
    2.225073858507201e-308,
    -2.2250738585072014e-308,
    1.7976931348623157e308,
    0.1,
    1 / 3,
]

SPELLINGS = ["0", "-0", "-0.0", "0e9", "1e+5", "1E05", "0E-99999999999999999999", "1e99999999999999999999"]
TIES = ["9007199254740993", "8.5e22", "1e23", "2.4703282292062327e-324", "2.4703282292062328e-324"]
UNDERFLOWS = ["2.2250738585072011e-308", "-1e-400", "1e-9999", f"{'1' * 1000}e-99999999999999999999"]
OVERFLOWS = ["1.7976931348623158e308", "1.7976931348623159e308", "1e309", "-1e309", "1" * 309, "1" * 310]
LONG = [f"1{'0' * 400}e-400", f"0.{'0' * 400}1e401", f"2.{'0' * 5000}1", f"{'9' * 2000}e-1692"]

SIGNS = [
    "",
    "-",
    "+1",
    "--1",
    "-.5",
    "-Infinity",
    "Infinity",
    "NaN",
    " 1",
    "1 ",
    "1_0",
    "0x10",
    "1f",
    "\uff11",
]
LEADING_ZEROS = ["01", "-01", "00", "00.5", "012345678"]
HALF_FRACTIONS = [".5", "1.", "1.e5", "1..5", "12345678.", "123456789012345678."]
HALF_EXPONENTS = ["e5", "1e", "1e+", "1e-", "1e1.5", "1e5e5", "12345678e"]


def from_bits(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def to_bits(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def check_value(value: float) -> None:
    """Writing is repr(), and reading that gives the same bits."""
    text = _double_write(value)
    assert text == repr(value).encode()
    back = _double_read(text)
    assert back is not None and to_bits(back) == to_bits(value), text


def check_text(text: bytes) -> None:
    """Reading is float() for what is a JSON number with a finite value, None for all else."""
    expected = float(text) if JSON_NUMBER.fullmatch(text) else math.inf
    actual = _double_read(text)
    if math.isinf(expected):
        assert actual is None, text
    else:
        assert actual is not None and to_bits(actual) == to_bits(expected), text


def midpoint(bits: int) -> str:
    """The exact decimal halfway between a finite double > 0 and the next one, without an exponent."""
    with localcontext() as context:
        context.prec = 1200
        return format((Decimal(from_bits(bits)) + Decimal(from_bits(bits + 1))) / 2, "f")


def test_random_bits_are_written_as_repr_and_read_back() -> None:
    source = random.Random(1)
    for _ in range(50_000):
        value = from_bits(source.getrandbits(64))
        if math.isfinite(value):
            check_value(value)


def test_subnormals_are_written_as_repr_and_read_back() -> None:
    source = random.Random(2)
    for bits in range(2_000):
        check_value(from_bits(bits))
    for _ in range(10_000):
        check_value(from_bits(source.getrandbits(source.randrange(1, 53))))


def test_neighbours_of_every_power_of_two_are_written_as_repr_and_read_back() -> None:
    for exponent in range(1, 2047):
        for distance in (-2, -1, 0, 1, 2):
            check_value(from_bits((exponent << 52) + distance))


@pytest.mark.parametrize("exponent", [28, 29, 30, 31, 32, 33])
def test_seconds_of_every_magnitude_are_written_as_repr_and_read_back(exponent: int) -> None:
    source = random.Random(exponent)
    for _ in range(10_000):
        check_value(from_bits((1023 + exponent << 52) | source.getrandbits(52)))
        check_value(source.randrange(2**exponent, 2 ** (exponent + 1)) + source.getrandbits(8) / 256)


@pytest.mark.parametrize("unit", [1, 10, 1_000, 1_000_000, 100_000_000, 1_000_000_000])
def test_times_of_every_resolution_are_written_as_repr_and_read_back(unit: int) -> None:
    source = random.Random(unit)
    for _ in range(10_000):
        seconds = source.randrange(400_000_000 * unit, 9_000_000_000 * unit) / unit
        check_value(seconds)
        check_value(-seconds)


@pytest.mark.parametrize("value", [*LAYOUTS, *EXPONENTS, *LIMITS])
def test_a_value_is_written_as_repr_and_read_back(value: float) -> None:
    check_value(value)


@given(FINITE)
def test_any_double_is_written_as_repr_and_read_back(value: float) -> None:
    check_value(value)


# The engine writes the two times of a node together, by vector instructions when both are within these.
FAST_LEAST, FAST_END = 1e9, 2.0**32
FAST_BITS = to_bits(FAST_LEAST), to_bits(FAST_END)
ROUNDS = int(os.environ.get("FUSION_TIMES_ROUNDS", "1"))  # of 2.8 million times each


def check_times(values: list[float]) -> None:
    """Pairs of times are written as repr() does, whatever stands beside what, at every level."""
    pairs = array("d", values[: len(values) // 2 * 2])
    texts = iter(map(float.__repr__, pairs))
    expected = "".join(
        f',"modified_time":{modified},"created_time":{created}'
        for modified, created in zip(texts, texts, strict=True)
    ).encode()
    for level in each_level():
        actual = _times_write(pairs)
        if actual != expected:  # find the pair, rather than show megabytes
            for start in range(0, len(pairs), 2):
                modified, created = pairs[start : start + 2]
                text = f',"modified_time":{modified!r},"created_time":{created!r}'
                assert _times_write(pairs[start : start + 2]) == text.encode(), level
        assert actual == expected, level


def finite_bits(source: random.Random) -> Iterator[float]:
    while True:
        yield from filter(math.isfinite, array("d", source.randbytes(8 * 4096)))


def fast_bits(source: random.Random) -> Iterator[float]:
    while True:
        yield from_bits(source.randrange(*FAST_BITS))


def near_fast_bits(source: random.Random) -> Iterator[float]:
    """Both sides of the ends, most within and some without."""
    while True:
        yield from_bits(source.choice(FAST_BITS) + source.randrange(-(1 << 51), 1 << 51))


def decimals(source: random.Random) -> Iterator[float]:
    """Whole seconds with 0 to 9 decimals."""
    while True:
        unit = 10 ** source.randrange(10)
        yield source.randrange(900_000_000 * unit, 4_400_000_000 * unit) / unit


def nanoseconds(source: random.Random) -> Iterator[float]:
    """As os.stat makes st_mtime from st_mtime_ns, and as others do."""
    while True:
        seconds, rest = divmod(source.randrange(10**18, 2**32 * 10**9), 10**9)
        yield seconds + 1e-9 * rest
        yield (seconds * 10**9 + rest) / 1e9


def ties(source: random.Random) -> Iterator[float]:
    """Fractions of 2^1 to 2^23, halfway between two decimals of any length; neighbours of powers of two."""
    while True:
        unit = 1 << source.randrange(1, 24)
        yield source.randrange(2**29, 2**33) + source.randrange(unit) / unit
        value = 2.0 ** source.randrange(28, 35) + source.randrange(1, unit) / unit
        yield source.choice([value, math.nextafter(value, 0.0), math.nextafter(value, math.inf)])


TIMES = [finite_bits, fast_bits, near_fast_bits, decimals, nanoseconds, ties]


def mixed(source: random.Random) -> Iterator[float]:
    """Of all these, and the special ones, one beside the other."""
    kinds = [kind(source) for kind in TIMES]
    special = [*LAYOUTS, *EXPONENTS, *LIMITS, 2.0**29, 2.0**33, 1e9, 2e9, 3e9, 4e9]
    while True:
        value = source.choice([*special, next(source.choice(kinds)), next(source.choice(kinds))])
        yield value
        yield -value if source.random() < 0.1 else value
        yield next(source.choice(kinds))


@pytest.mark.timeout(300 * ROUNDS)
@pytest.mark.parametrize("kind", [*TIMES, mixed])
def test_pairs_of_times_are_written_as_repr(kind: Callable[[random.Random], Iterator[float]]) -> None:
    for seed in range(ROUNDS):
        values = kind(random.Random(seed))
        check_times([next(values) for _ in range(400_000)])


@pytest.mark.parametrize("edge", [FAST_LEAST, FAST_END, 2.0**29, 2.0**30, 2.0**31, 2.0**33, 2e9, 3e9, 4e9])
def test_neighbours_of_the_ends_of_fast_paths(edge: float) -> None:
    values = [from_bits(to_bits(edge) + distance) for distance in range(-300, 300)]
    check_times(values)
    check_times([value for other in values for value in (other, 1705832400.25)])
    check_times([value for other in values for value in (1705832400.25, other)])
    check_times([value for other in values for value in (other, -other)])


@pytest.mark.parametrize("whole", [1_000_000_000, 1_705_832_400, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_decimal_of_a_second(whole: int) -> None:
    """All of 3 decimals, 6 to 8 with many zeros and nines, and all doubles near both ends of the second."""
    source = random.Random(whole)
    check_times([whole + number / 1_000 for number in range(1_000)])
    for digits in (6, 7, 8):
        check_times(
            [whole + int("".join(source.choices("0099915", k=digits))) / 10**digits for _ in range(20_000)]
        )
    start = to_bits(float(whole))
    check_times([from_bits(start + distance) for distance in range(20_000)])
    check_times([from_bits(to_bits(whole + 1.0) - distance) for distance in range(20_000)])


@given(st.lists(FINITE, min_size=2, max_size=40))
def test_any_pairs_of_times_are_written_as_repr(values: list[float]) -> None:
    check_times(values)


@given(FINITE)
def test_any_double_reads_back_from_all_its_digits(value: float) -> None:
    check_text(format(Decimal(value), "f").encode())
    check_text(f"{value:.18e}".encode())
    check_text(json.dumps(value).encode())


@pytest.mark.parametrize("digits", [1, 8, 15, 16, 17, 18, 19, 20, 25, 60])
def test_mantissas_of_any_length_are_read_as_float_reads_them(digits: int) -> None:
    source = random.Random(digits)
    for _ in range(3_000):
        mantissa = str(source.randrange(10 ** (digits - 1), 10**digits))
        check_text(f"{mantissa}e{source.randrange(-345 - digits, 312)}".encode())
        point = source.randrange(1, digits + 1)
        check_text(f"{mantissa[:point]}.{mantissa[point:] or '0'}".encode())
        check_text(f"-0.{'0' * source.randrange(330)}{mantissa}".encode())


def test_halfway_between_two_doubles_is_read_as_the_even_one() -> None:
    source = random.Random(3)
    for _ in range(300):
        middle = midpoint(source.getrandbits(62) >> source.choice([0, 0, 10, 20, 61]))
        check_text(middle.encode())
        whole, _, fraction = middle.partition(".")
        check_text(f"{whole}.{fraction}{'0' * source.randrange(900)}1".encode())
        check_text(f"{whole}.{fraction}0{'0' * source.randrange(900)}".encode())
        if fraction:
            check_text(f"{middle[:-1]}{int(middle[-1]) - 1}{'9' * source.randrange(900)}".encode())
    for odd in range(2**53 + 1, 2**53 + 2_001, 2):
        check_text(f"{odd}".encode())
        check_text(f"{odd}.0".encode())
        check_text(f"{odd}.0000000000000000000001".encode())


@pytest.mark.parametrize("text", [*SPELLINGS, *TIES, *UNDERFLOWS, *OVERFLOWS, *LONG])
def test_a_number_is_read_as_float_reads_it(text: str) -> None:
    check_text(text.encode())


@pytest.mark.parametrize("text", [*SIGNS, *LEADING_ZEROS, *HALF_FRACTIONS, *HALF_EXPONENTS])
def test_what_is_no_json_number_is_refused(text: str) -> None:
    assert _double_read(text.encode()) is None
    assert _int64_read(text.encode()) is None


@given(NUMBER_TEXT)
def test_any_text_is_read_as_a_number_exactly_when_json_says_so(text: bytes) -> None:
    check_text(text)


@given(st.from_regex(JSON_NUMBER, fullmatch=True))
def test_any_json_number_is_read_as_float_reads_it(text: bytes) -> None:
    check_text(text)


@given(st.binary(max_size=20))
def test_any_bytes_are_read_as_a_number_exactly_when_json_says_so(text: bytes) -> None:
    check_text(text)


@given(st.integers(-(2**65), 2**65) | st.integers(-(10**6), 10**6))
def test_integers_are_read_within_64_bits(value: int) -> None:
    expected = value if -(2**63) <= value < 2**63 else None
    assert _int64_read(str(value).encode()) == expected


@pytest.mark.parametrize(
    "value", [0, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**19, 10**18, 10**40]
)
def test_the_limits_of_64_bits_are_exact(value: int) -> None:
    expected = value if -(2**63) <= value < 2**63 else None
    assert _int64_read(str(value).encode()) == expected


@pytest.mark.parametrize("text", ["1.0", "1e3", "1E3", "-0.0", "0e0", "12345678.0", "12345678e1"])
def test_an_integer_has_no_fraction_and_no_exponent(text: str) -> None:
    assert _int64_read(text.encode()) is None


@given(NUMBER_TEXT)
def test_any_text_is_read_as_an_integer_exactly_when_json_says_so(text: bytes) -> None:
    value = int(text) if JSON_INTEGER.fullmatch(text) else None
    expected = value if value is not None and -(2**63) <= value < 2**63 else None
    assert _int64_read(text) == expected


def test_the_powers_of_ten_are_what_their_generator_writes() -> None:
    render = runpy.run_path(str(ROOT / "tools" / "generate_pow10.py"))["render"]
    assert (ROOT / "fusion" / "_core" / "pow10.h").read_text(encoding="ascii") == render()
