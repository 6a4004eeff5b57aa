/* Numbers from JSON text: doubles correctly rounded, 64-bit integers exact; independent of the locale.

   Up to 19 digits: the Eisel-Lemire method of Lemire, "Number Parsing at a Gigabyte per Second" (2021), which
   needs no other to fall back on: Mushtak and Lemire, "Fast Number Parsing Without Fallback" (2023). It is as
   fast as one floating-point division, so that short numbers have no path of their own.
   Longer ones: the same for the first 19 digits and for these plus one; strtod only when the two differ. */
#ifndef FUSION_DOUBLE_READ_H
#define FUSION_DOUBLE_READ_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "pow10.h"

#define DOUBLE_INFINITY_BITS 0x7FF0000000000000u
#define DOUBLE_WORD_DIGITS 19 /* decimal digits that always fit 64 bits */
#define DOUBLE_MOST_DIGITS 768 /* no double, nor midpoint between two, has more significant digits */

static inline bool char_is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* How many of eight characters, from the first on, are digits. */
static inline unsigned digits_count(uint64_t chars)
{
    uint64_t values = chars - 0x3030303030303030u;
    /* The lowest marked byte is the first that is no digit; carries and borrows only go up from it. */
    uint64_t others = ((chars + 0x4646464646464646u) | values) & 0x8080808080808080u;
    return others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
}

/* The number that the first n of eight characters spell, given that they are digits; n is 1 to 8. */
static inline uint32_t digits_value(uint64_t chars, unsigned n)
{
    uint64_t values = (chars - 0x3030303030303030u) << 8 * (8 - n); /* the digits last, zeros before them */
    values = values * 10 + (values >> 8);
    return (uint32_t)(((values & 0x000000FF000000FFu) * 0x000F424000000064u +
                       ((values >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >> 32);
}

static const uint32_t digits_powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Appends the run of digits at p to *w, modulo 2^64, and returns its end. */
static inline const char *digits_read(const char *p, const char *end, uint64_t *w)
{
    while (end - p >= 8) {
        uint64_t chars = word_load(p);
        unsigned n = digits_count(chars);
        if (n == 0)
            return p;
        *w = *w * digits_powers[n] + digits_value(chars, n);
        p += n;
        if (n < 8)
            return p;
    }
    while (p < end && char_is_digit(*p))
        *w = *w * 10 + (uint64_t)(*p++ - '0');
    return p;
}

/* The bits of the double nearest to w * 10^q, ties to even; infinity's when it overflows. */
static inline uint64_t double_bits_nearest(uint64_t w, int64_t q)
{
    if (w == 0 || q < POW10_LEAST)
        return 0;
    if (q > DBL_MAX_10_EXP)
        return DOUBLE_INFINITY_BITS;
    int leading = __builtin_clzll(w);
    w <<= leading;
    const pow10_bits power = pow10_table[q - POW10_LEAST];
    unsigned __int128 product = (unsigned __int128)w * power.high;
    if (((uint64_t)(product >> 64) & 0x1FF) == 0x1FF) /* the power's low half could carry into the result */
        product += (uint64_t)(((unsigned __int128)w * power.low) >> 64);
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    int top = (int)(high >> 63);
    int shift = top + 64 - DBL_MANT_DIG - 2; /* leaves the mantissa and one bit to round by */
    uint64_t mantissa = high >> shift;
    int exponent = pow10_floor_log2((int)q) + 63 + top - leading + DBL_MAX_EXP - 1;
    if (exponent <= 0) { /* subnormal, or rounded up to the least normal number; ties do not occur there */
        if (exponent <= -63)
            return 0;
        mantissa >>= 1 - exponent;
        return (mantissa + 1) >> 1;
    }
    /* Only in this range can w * 10^q be a tie; then the bits below the mantissa are exactly one half. */
    if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << shift == high)
        mantissa &= ~(uint64_t)1;
    mantissa = (mantissa + 1) >> 1;
    /* The mantissa's leading one adds to the exponent, and so does a carry from rounding up. */
    uint64_t bits = ((uint64_t)(exponent - 1) << 52) + mantissa;
    return bits < DOUBLE_INFINITY_BITS ? bits : DOUBLE_INFINITY_BITS;
}

/* The bits of the double nearest to the digits p..end (a point among them is skipped) times 10^q. */
static inline __attribute__((cold)) uint64_t double_bits_of_many(const char *p, const char *end, int64_t q)
{
    char text[DOUBLE_MOST_DIGITS + 32];
    int n = 0;
    bool more = false;
    for (; p < end; p++) {
        if (*p == '.' || (n == 0 && *p == '0'))
            continue;
        if (n < DOUBLE_MOST_DIGITS) {
            text[n++] = *p;
        } else {
            more |= *p != '0';
            q++;
        }
    }
    uint64_t w = 0;
    int used = n < DOUBLE_WORD_DIGITS ? n : DOUBLE_WORD_DIGITS;
    for (int i = 0; i < used; i++)
        w = w * 10 + (uint64_t)(text[i] - '0');
    uint64_t bits = double_bits_nearest(w, q + n - used);
    if (n == used || bits == double_bits_nearest(w + 1, q + n - used))
        return bits;
    if (more) { /* one digit stands for all that were dropped */
        text[n++] = '1';
        q--;
    }
    /* Without a point the text means the same in every locale; q is small, or the two would not differ. */
    snprintf(text + n, sizeof text - (size_t)n, "e%d", (int)q);
    return double_to_bits(strtod(text, NULL));
}

/* Reads the JSON number at p and returns its end; NULL when there is none or it overflows to infinity. */
static inline const char *double_read(const char *p, const char *end, double *out)
{
    bool negative = p < end && *p == '-';
    p += negative;
    const char *digits = p;
    uint64_t w = 0;
    p = digits_read(p, end, &w);
    ptrdiff_t count = p - digits;
    if (count == 0 || (*digits == '0' && count > 1))
        return NULL;
    int64_t q = 0;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = digits_read(p, end, &w);
        if (p == fraction)
            return NULL;
        count += p - fraction;
        q = fraction - p;
    }
    const char *digits_end = p;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        bool down = p < end && *p == '-';
        p += down || (p < end && *p == '+');
        if (p == end || !char_is_digit(*p))
            return NULL;
        int64_t exponent = 0;
        for (; p < end && char_is_digit(*p); p++)
            if (exponent < INT64_MAX / 100) /* beyond what any number of digits could make up for */
                exponent = exponent * 10 + (*p - '0');
        q += down ? -exponent : exponent;
    }
    uint64_t bits =
        count <= DOUBLE_WORD_DIGITS ? double_bits_nearest(w, q) : double_bits_of_many(digits, digits_end, q);
    if (bits == DOUBLE_INFINITY_BITS)
        return NULL;
    *out = double_from_bits(bits | (uint64_t)negative << 63);
    return p;
}

/* Reads the JSON integer at p and returns its end; NULL when there is none, when a fraction or an exponent
   follows, or when it is outside int64. */
static inline const char *int64_read(const char *p, const char *end, int64_t *out)
{
    bool negative = p < end && *p == '-';
    p += negative;
    const char *digits = p;
    uint64_t w = 0;
    p = digits_read(p, end, &w);
    ptrdiff_t count = p - digits;
    if (count == 0 || count > DOUBLE_WORD_DIGITS || (*digits == '0' && count > 1))
        return NULL;
    if (p < end && (*p == '.' || *p == 'e' || *p == 'E'))
        return NULL;
    if (w > (uint64_t)INT64_MAX + negative)
        return NULL;
    *out = (int64_t)(negative ? 0 - w : w);
    return p;
}

#endif
