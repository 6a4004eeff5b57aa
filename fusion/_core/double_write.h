/* Doubles to text, exactly as Python's repr() writes them.

   Any double: Giulietti, "The Schubfach way to render doubles" (2020). Times of our days have a shorter way. */
#ifndef FUSION_DOUBLE_WRITE_H
#define FUSION_DOUBLE_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bits.h"
#include "digits.h"
#include "pow10.h"

#define DOUBLE_WRITE_MAX 25 /* bytes of room that double_write needs */

/* Floor of g * x / 2^128, its lowest bit set as well when the division leaves a remainder. */
static inline uint64_t double_round_to_odd(uint64_t g_high, uint64_t g_low, uint64_t x)
{
    unsigned __int128 low = (unsigned __int128)g_low * x;
    unsigned __int128 sum = (unsigned __int128)g_high * x + (uint64_t)(low >> 64);
    return (uint64_t)(sum >> 64) | ((uint64_t)sum > 1);
}

/* The shortest decimal that reads back as the finite double > 0 with these bits, the nearest of these:
   the result times 10^*exponent. */
static inline uint64_t double_shortest(uint64_t bits, int *exponent)
{
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    int biased = (int)(bits >> 52);
    uint64_t c = biased ? fraction | (uint64_t)1 << 52 : fraction; /* the double is c * 2^q */
    int q = (biased ? biased : 1) - 1075;
    bool narrow = fraction == 0 && biased > 1; /* at a power of two the neighbour below is half as far */
    bool odd = c & 1;                          /* then the ends of the interval read back as the neighbours */

    /* k = floor(log10(width of the interval that reads back as the double)) */
    int k = narrow ? (q * 1262611 - 524031) >> 22 : (q * 1262611) >> 22;
    int shift = q + pow10_floor_log2(-k) + 1;
    const pow10_bits power = pow10_table[-k - POW10_LEAST];
    bool covered = -k >= POW10_LEAST_COVERED && -k <= POW10_GREATEST_COVERED;
    uint64_t g_high = power.high, g_low = power.low + !covered; /* exact or rounded up, as the method asks */
    uint64_t lower = double_round_to_odd(g_high, g_low, (4 * c - 2 + narrow) << shift) + odd;
    uint64_t value = double_round_to_odd(g_high, g_low, (4 * c) << shift);
    uint64_t upper = double_round_to_odd(g_high, g_low, (4 * c + 2) << shift) - odd;

    uint64_t s = value / 4; /* all of these are in quarters of 10^k */
    uint64_t tens = s / 10;
    bool below = tens > 0 && lower <= 40 * tens;
    bool above = tens > 0 && 40 * tens + 40 <= upper;
    if (below != above) {
        *exponent = k + 1;
        return tens + above;
    }
    *exponent = k;
    below = lower <= 4 * s;
    above = 4 * s + 4 <= upper;
    if (below != above)
        return s + above;
    return s + (value % 4 + (s & 1) > 2); /* the nearer of s and s + 1, the even one of a tie */
}

/* Lays out decimal * 10^exponent as repr() does; decimal > 0. */
static inline char *double_layout(char *out, uint64_t decimal, int exponent)
{
    for (; decimal % 10 == 0; decimal /= 10)
        exponent++;
    char digits[INT64_WRITE_MAX];
    int n = (int)(uint64_write(digits, decimal) - digits);
    int point = n + exponent; /* digits before the decimal point */
    if (point > 16 || point <= -4) {
        *out++ = digits[0];
        if (n > 1) {
            *out++ = '.';
            memcpy(out, digits + 1, (size_t)n - 1);
            out += n - 1;
        }
        *out++ = 'e';
        *out++ = point > 0 ? '+' : '-';
        unsigned e = (unsigned)(point > 0 ? point - 1 : 1 - point);
        if (e < 10)
            *out++ = '0';
        if (e >= 100)
            *out++ = (char)('0' + e / 100);
        if (e >= 10)
            *out++ = (char)('0' + e / 10 % 10);
        *out++ = (char)('0' + e % 10);
        return out;
    }
    if (point <= 0) {
        memcpy(out, "0.000", 5);
        out += 2 - point;
        memcpy(out, digits, (size_t)n);
        return out + n;
    }
    if (point < n) {
        memcpy(out, digits, (size_t)point);
        out += point;
        *out++ = '.';
        memcpy(out, digits + point, (size_t)(n - point));
        return out + n - point;
    }
    memcpy(out, digits, (size_t)n);
    memset(out + n, '0', (size_t)(point - n));
    out += point;
    memcpy(out, ".0", 2);
    return out + 2;
}

/* Writes the double of 2^29 <= v < 2^33 with these bits: the seconds of the years 1987 to 2242.

   The unit in the last place is 2^-23 to 2^-20 there. At most one number of six decimals is within half a
   unit of v; if there is one, it is the shortest once its trailing zeros are gone. If not, the nearest of seven
   decimals is within. Neither can lie exactly on the end of that interval. */
static inline char *double_write_seconds(char *out, uint64_t bits)
{
    unsigned places = 1075 - (unsigned)(bits >> 52); /* binary places of the fraction, 20..23 */
    uint64_t mantissa = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
    uint64_t whole = mantissa >> places;
    uint64_t fraction = mantissa & (((uint64_t)1 << places) - 1);

    uint64_t half = (uint64_t)1 << (places - 1);
    uint64_t sixth = fraction * 1000000, seventh = fraction * 10000000;
    uint64_t six = (sixth + half) >> places;
    uint64_t seven = (seventh + half - 1 + (seventh >> places & 1)) >> places; /* ties to even */
    uint64_t within = (six << places) - sixth + 500000 <= 1000000; /* the difference may be below zero */
    uint32_t decimals = (uint32_t)(seven + (six * 10 - seven) * within); /* no branch: real times mix both */

    uint32_t top = (uint32_t)(whole / 100000000);
    if (top >= 10)
        *out++ = (char)('0' + top / 10);
    *out++ = (char)('0' + top % 10);
    digits_store(out, digits_of_8((uint32_t)(whole % 100000000)));
    out += 8;
    *out++ = '.';
    uint64_t digits = digits_of_8(decimals) >> 8;
    digits_store(out, digits);
    return out + 8 - (unsigned)__builtin_clzll(digits | 1) / 8; /* one decimal at least */
}

/* Writes repr(v) of a finite v and returns the end. Touches no byte beyond DOUBLE_WRITE_MAX. */
static inline char *double_write(char *out, double v)
{
    uint64_t bits = double_to_bits(v);
    *out = '-';
    out += bits >> 63;
    bits &= ~((uint64_t)1 << 63);
    if (bits - 0x41C0000000000000u < 0x0040000000000000u) /* 2^29 <= |v| < 2^33 */
        return double_write_seconds(out, bits);
    if (bits == 0) {
        memcpy(out, "0.0", 3);
        return out + 3;
    }
    int exponent;
    uint64_t decimal = double_shortest(bits, &exponent);
    return double_layout(out, decimal, exponent);
}

#endif
