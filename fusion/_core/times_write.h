/* The two times of a node to JSON text. */
#ifndef FUSION_TIMES_WRITE_H
#define FUSION_TIMES_WRITE_H

#include "double_write.h"
#include "simd.h"
#include "text.h"

#define TIMES_MODIFIED ",\"modified_time\":"
#define TIMES_CREATED ",\"created_time\":"
#define TIMES_WRITE_MAX (sizeof(TIMES_MODIFIED TIMES_CREATED) + 2 * DOUBLE_WRITE_MAX + COPY_OVERRUN) /* bytes of room that times_write needs */

static inline char *times_write_any(char *out, double modified, double created)
{
    out = TEXT_LITERAL(out, TIMES_MODIFIED);
    char *start = out;
    out = double_write(out, modified);
    size_t length = (size_t)(out - start);
    out = TEXT_LITERAL(out, TIMES_CREATED);
    if (memcmp(&modified, &created, sizeof modified) == 0) /* as for most files that were written once */
        return copy_run(out, start, length);
    return double_write(out, created);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define TIMES_AVX2 static inline __attribute__((target("avx2,bmi,bmi2")))

/* One time from its digits' values, 9 of the whole seconds, the first up to 42 and two digits, and 7 decimals. `used` has a bit for each
 * that is not 0. */
TIMES_AVX2 char *time_lay_out_avx2(char *out, __m128i digits, uint32_t used)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142";
    __m128i chars = _mm_or_si128(digits, _mm_set1_epi8('0'));
    __m128i decimals = _mm_shuffle_epi8(chars, _mm_setr_epi8(-1, 9, 10, 11, 12, 13, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1));
    decimals = _mm_or_si128(decimals, _mm_cvtsi32_si128('.'));
    _mm_storeu_si128((__m128i *)(out + 1), chars);
    memcpy(out, pairs + 2 * (_mm_cvtsi128_si32(digits) & 0xFF), 2);
    _mm_storel_epi64((__m128i *)(out + 10), decimals);
    return out + 3 + (31 - __builtin_clz(used | 1u << 9)); /* one decimal at least */
}

/* As double_write_seconds, for both at once and 10^9 <= v < 2^32: the years 2001 to 2106. Fractions are in units of 2^-23. */
TIMES_AVX2 char *times_write_avx2(char *out, double modified, double created)
{
    const __m128i bits = _mm_castpd_si128(_mm_set_pd(created, modified));
    const __m128i above = _mm_sub_epi64(bits, _mm_set1_epi64x(0x41CDCD6500000000));
    const __m128i below = _mm_sub_epi64(_mm_set1_epi64x(0x41EFFFFFFFFFFFFF), bits);
    if (__builtin_expect(_mm_movemask_pd(_mm_castsi128_pd(_mm_or_si128(above, below))), 0))
        return times_write_any(out, modified, created);

    const __m128i one = _mm_set1_epi64x(1), half = _mm_set1_epi64x(1 << 22), low23 = _mm_set1_epi64x((1 << 23) - 1);
    __m128i shift = _mm_sub_epi64(_mm_srli_epi64(bits, 52), _mm_set1_epi64x(1052)); /* 0..2 */
    __m128i mantissa = _mm_or_si128(_mm_and_si128(bits, _mm_set1_epi64x((1LL << 52) - 1)), _mm_set1_epi64x(1LL << 52));
    __m128i fixed = _mm_sllv_epi64(mantissa, shift);
    __m128i whole = _mm_srli_epi64(fixed, 23);
    __m128i fraction = _mm_and_si128(fixed, low23);

    __m128i sixth = _mm_add_epi64(_mm_mul_epu32(fraction, _mm_set1_epi64x(1000000)), half);
    __m128i seventh = _mm_mul_epu32(fraction, _mm_set1_epi64x(10000000));
    __m128i even = _mm_and_si128(_mm_srli_epi64(seventh, 23), one);
    __m128i six = _mm_srli_epi64(sixth, 23);
    __m128i seven = _mm_srli_epi64(_mm_add_epi64(_mm_add_epi64(seventh, _mm_sub_epi64(half, one)), even), 23);
    __m128i distance = _mm_abs_epi32(_mm_sub_epi32(_mm_and_si128(sixth, low23), half));
    __m128i farther = _mm_cmpgt_epi32(distance, _mm_sllv_epi64(_mm_set1_epi64x(500000), shift));
    __m128i decimals = _mm_blendv_epi8(_mm_mul_epu32(six, _mm_set1_epi64x(10)), seven, farther);

    /* 17 digits: nine and eight. */
    __m128i nine = _mm_srli_epi64(_mm_mul_epu32(whole, _mm_set1_epi64x(0xCCCCCCCD)), 35);
    __m128i tenth = _mm_sub_epi64(whole, _mm_mul_epu32(nine, _mm_set1_epi64x(10)));
    __m128i eight = _mm_add_epi64(_mm_mul_epu32(tenth, _mm_set1_epi64x(10000000)), decimals);
    __m256i x = _mm256_set_m128i(_mm_unpackhi_epi64(nine, eight), _mm_unpacklo_epi64(nine, eight));
    __m256i high = _mm256_srli_epi64(_mm256_mul_epu32(x, _mm256_set1_epi64x(0xD1B71759)), 45); /* x / 10000 */
    __m256i low = _mm256_sub_epi64(x, _mm256_mul_epu32(high, _mm256_set1_epi64x(10000)));
    __m256i fours = _mm256_or_si256(high, _mm256_slli_epi64(low, 32));
    __m256i hundreds = _mm256_srli_epi16(_mm256_mulhi_epu16(fours, _mm256_set1_epi16(10486)), 4);
    __m256i ones = _mm256_sub_epi16(fours, _mm256_mullo_epi16(hundreds, _mm256_set1_epi16(100)));
    __m256i twos = _mm256_or_si256(hundreds, _mm256_slli_epi32(ones, 16));
    __m256i tens = _mm256_mulhi_epu16(twos, _mm256_set1_epi16(6554));
    __m256i digits = _mm256_sub_epi16(_mm256_slli_epi16(twos, 8), _mm256_mullo_epi16(tens, _mm256_set1_epi16(2559)));

    uint32_t used = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(digits, _mm256_setzero_si256()));
    out = TEXT_LITERAL(out, TIMES_MODIFIED);
    out = time_lay_out_avx2(out, _mm256_castsi256_si128(digits), used & 0xFFFF);
    out = TEXT_LITERAL(out, TIMES_CREATED);
    return time_lay_out_avx2(out, _mm256_extracti128_si256(digits, 1), used >> 16);
}
#endif

static inline __attribute__((always_inline)) char *times_write(char *out, double modified, double created, simd_level level)
{
#if defined(__x86_64__)
    if (level >= SIMD_AVX2)
        return times_write_avx2(out, modified, created);
#endif
    return times_write_any(out, modified, created);
}

#endif
