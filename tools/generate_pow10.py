"""Write fusion/_core/pow10.h, the powers of ten that reading and writing doubles share.

Run it from anywhere, without arguments: python tools/generate_pow10.py
"""

from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "fusion" / "_core" / "pow10.h"

# Reading needs 10**-342 (the least that 19 digits can bring up to half a subnormal) to 10**308; writing
# the least subnormal multiplies by 10**324.
LEAST, GREATEST = -342, 324
# 5**55 is the last power of five below 2**128. A quotient of a 64-bit number by up to 5**27 can be exact, and
# rounding these up lets reading see that it is; all others are rounded down.
LEAST_COVERED, GREATEST_COVERED = -27, 55

HEADER = """\
/* Powers of ten with 128 significant bits. Written by tools/generate_pow10.py: do not edit. */
#ifndef FUSION_POW10_H
#define FUSION_POW10_H

#include <stdint.h>

#define POW10_LEAST ({least})
#define POW10_GREATEST {greatest}
/* From here to there the bits are exact or rounded up, outside they are rounded down, by less than one. */
#define POW10_LEAST_COVERED ({least_covered})
#define POW10_GREATEST_COVERED {greatest_covered}

/* floor(log2(10**k)) for every k of the table. */
static inline int pow10_floor_log2(int k)
{{
    return (k * {multiplier}) >> {shift};
}}

typedef struct {{
    uint64_t high, low;
}} pow10_bits;

/* 10**k == (high * 2**64 + low) * 2**(pow10_floor_log2(k) - 127), the top bit of high set;
   at index k - POW10_LEAST. */
static const pow10_bits pow10_table[] = {{
"""

FOOTER = """\
};

#endif
"""

LOG2_SHIFT = 19
LOG2_MULTIPLIER = 1741647  # floor(log2(10) * 2**19)


def floor_log2(k: int) -> int:
    """floor(log2(10**k)), in exact integers."""
    if k >= 0:
        return (10**k).bit_length() - 1
    return -((10**-k - 1).bit_length())


def significand(k: int) -> int:
    """10**k scaled into [2**127, 2**128)."""
    scale = 127 - floor_log2(k)
    if k >= 0:
        return 10**k << scale if scale >= 0 else 10**k >> -scale
    return (1 << scale) // 10**-k + (k >= LEAST_COVERED)


def render() -> str:
    """The whole header."""
    lines = []
    for k in range(LEAST, GREATEST + 1):
        bits = significand(k)
        high, low = bits >> 64, bits & (2**64 - 1)
        assert 2**127 <= bits < 2**128
        assert (k * LOG2_MULTIPLIER) >> LOG2_SHIFT == floor_log2(k)
        assert low != 2**64 - 1  # writing adds one to those rounded down
        lines.append(f"    {{0x{high:016x}, 0x{low:016x}}}, /* 1e{k} */\n")
    header = HEADER.format(
        least=LEAST,
        greatest=GREATEST,
        least_covered=LEAST_COVERED,
        greatest_covered=GREATEST_COVERED,
        multiplier=LOG2_MULTIPLIER,
        shift=LOG2_SHIFT,
    )
    return header + "".join(lines) + FOOTER


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="ascii")
