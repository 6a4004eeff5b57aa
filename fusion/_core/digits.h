/* 64-bit integers to decimal text. Eight digits at a time: Khuong, "How to print integers really fast" (2017). */
#ifndef FUSION_DIGITS_H
#define FUSION_DIGITS_H

#include <stdint.h>

#include "bits.h"

#define INT64_WRITE_MAX 20 /* bytes of room that int64_write and uint64_write need */

/* The eight digits of x < 10^8, leading zeros included, as values 0..9: the first in the lowest byte. */
static inline uint64_t digits_of_8(uint32_t x)
{
    /* Two, four, eight lanes of high | low << bits, each (x << bits) - high * ((radix << bits) - 1). */
    uint64_t fours = ((uint64_t)x << 32) - x / 10000 * ((10000ull << 32) - 1);
    uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007F0000007Fu;
    uint64_t twos = (fours << 16) - hundreds * ((100u << 16) - 1);
    uint64_t tens = (twos * 103 >> 10) & 0x000F000F000F000Fu;
    return (twos << 8) - tens * ((10u << 8) - 1);
}

/* Writes eight digit values as characters. */
static inline void digits_store(char *out, uint64_t digits)
{
    word_store(out, digits | 0x3030303030303030u);
}

/* Writes x < 10^8 without leading zeros, touching eight bytes, and returns the end. */
static inline char *digits_write_short(char *out, uint32_t x)
{
    uint64_t digits = digits_of_8(x);
    unsigned zeros = (unsigned)__builtin_ctzll(digits | (uint64_t)1 << 56) / 8; /* the last digit stays */
    digits_store(out, digits >> (8 * zeros));
    return out + 8 - zeros;
}

static inline char *uint64_write(char *out, uint64_t v)
{
    const uint64_t e8 = 100000000;
    if (v < e8)
        return digits_write_short(out, (uint32_t)v);
    if (v < e8 * e8) {
        out = digits_write_short(out, (uint32_t)(v / e8));
    } else {
        out = digits_write_short(out, (uint32_t)(v / (e8 * e8)));
        digits_store(out, digits_of_8((uint32_t)(v / e8 % e8)));
        out += 8;
    }
    digits_store(out, digits_of_8((uint32_t)(v % e8)));
    return out + 8;
}

static inline char *int64_write(char *out, int64_t v)
{
    if (v >= 0)
        return uint64_write(out, (uint64_t)v);
    *out++ = '-';
    return uint64_write(out, 0 - (uint64_t)v);
}

#endif
