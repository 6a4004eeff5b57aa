/* The two times of a node to JSON text. */
#ifndef FUSION_TIMES_WRITE_H
#define FUSION_TIMES_WRITE_H

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "double_write.h"
#include "simd.h"
#include "text.h"

#define TIMES_MODIFIED ",\"modified_time\":"
#define TIMES_CREATED ",\"created_time\":"
/* Bytes of room that times_write needs. */
#define TIMES_WRITE_MAX (sizeof(TIMES_MODIFIED TIMES_CREATED) + 2 * DOUBLE_WRITE_MAX + COPY_OVERRUN)

static __attribute__((noinline)) char *times_write_any(char *out, double modified, double created)
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
#define TIMES_AVX2 static inline __attribute__((target("avx2,bmi,bmi2")))

/* Lays out one time: 16 digits, of which the first stands for the two of the value `first`, seven of them once more as decimals
 * behind a point, and how many of these are zeros at the end. */
TIMES_AVX2 char *time_lay_out_avx2(char *out, __m128i digits, __m128i decimals, uint8_t first, unsigned zeros)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142";
    _mm_storeu_si128((__m128i *)(out + 1), digits);
    memcpy(out, pairs + 2 * first, 2);
    _mm_storel_epi64((__m128i *)(out + 10), decimals);
    return out + 18 - zeros;
}

#define TIMES_BOTH(x) {x, x}
#define TIMES_ALL(x) {x, x, x, x}
#define TIMES_WORDS(x) TIMES_ALL((x) * 0x0001000100010001)

/* Read from memory: the compiler would put them together from parts, and multiply by them in steps, each time. */
typedef struct {
    uint64_t least[2], most[2], exponent[2], fraction[2], implied[2], one[2], half[2], below_half[2], low23[2], million[2],
        ten_million[2], farthest[2], ten[2], tenth[2];
    uint64_t ten_thousandth[4], ten_thousand[4];
    uint64_t hundredth_words[4], hundred_words[4], tenth_words[4], tens_words[4];
    uint64_t zeros[4], point[4], points[4], backwards[4];
} times_constants;

static const times_constants times_constants_avx2 = {
    .least = TIMES_BOTH(0x41CDCD6500000000), /* 1e9 */
    .most = TIMES_BOTH(0x41EFFFFFFFFFFFFF), /* the last below 2^32 */
    .exponent = TIMES_BOTH(1052),
    .fraction = TIMES_BOTH(((uint64_t)1 << 52) - 1),
    .implied = TIMES_BOTH((uint64_t)1 << 52),
    .one = TIMES_BOTH(1),
    .half = TIMES_BOTH(1 << 22),
    .below_half = TIMES_BOTH((1 << 22) - 1),
    .low23 = TIMES_BOTH((1 << 23) - 1),
    .million = TIMES_BOTH(1000000),
    .ten_million = TIMES_BOTH(10000000),
    .farthest = TIMES_BOTH(500000),
    .ten = TIMES_BOTH(10),
    .tenth = TIMES_BOTH(0xCCCCCCCD),           /* 2^35 / 10 */
    .ten_thousandth = TIMES_ALL(0xD1B71759),   /* 2^45 / 10000 */
    .ten_thousand = TIMES_ALL(10000),
    .hundredth_words = TIMES_WORDS(10486), /* 2^20 / 100 */
    .hundred_words = TIMES_WORDS(100),
    .tenth_words = TIMES_WORDS(6554), /* 2^16 / 10 */
    .tens_words = TIMES_WORDS(2559),  /* 10 * 2^8 - 1 */
    .zeros = TIMES_ALL(0x3030303030303030),
    .point = {0x0F0E0D0C0B0A09FF, UINT64_MAX, 0x0F0E0D0C0B0A09FF, UINT64_MAX},
    .points = TIMES_ALL(0x303030303030302E),
    .backwards = {0x08090A0B0C0D0E0F, 0x0001020304050607, 0x08090A0B0C0D0E0F, 0x0001020304050607},
};

#define TIMES_K(name) _mm_loadu_si128((const __m128i *)k->name)
#define TIMES_K4(name) _mm256_loadu_si256((const __m256i *)k->name)

/* As double_write_seconds, for both at once and 10^9 <= v < 2^32: the years 2001 to 2106. Fractions are in units of 2^-23. */
TIMES_AVX2 char *times_write_avx2(char *out, double modified, double created)
{
    const times_constants *k = &times_constants_avx2;
    __asm__("" : "+r"(k)); /* the compiler forgets what it points to */
    const __m128i bits = _mm_castpd_si128(_mm_set_pd(created, modified));
    const __m128i outside = _mm_or_si128(_mm_sub_epi64(bits, TIMES_K(least)), _mm_sub_epi64(TIMES_K(most), bits));
    if (__builtin_expect(_mm_movemask_pd(_mm_castsi128_pd(outside)), 0))
        return times_write_any(out, modified, created);

    __m128i shift = _mm_sub_epi64(_mm_srli_epi64(bits, 52), TIMES_K(exponent)); /* 0..2 */
    __m128i mantissa = _mm_or_si128(_mm_and_si128(bits, TIMES_K(fraction)), TIMES_K(implied));
    __m128i fixed = _mm_sllv_epi64(mantissa, shift);
    __m128i whole = _mm_srli_epi64(fixed, 23);
    __m128i fraction = _mm_and_si128(fixed, TIMES_K(low23));

    __m128i sixth = _mm_add_epi64(_mm_mul_epu32(fraction, TIMES_K(million)), TIMES_K(half));
    __m128i seventh = _mm_mul_epu32(fraction, TIMES_K(ten_million));
    __m128i even = _mm_and_si128(_mm_srli_epi64(seventh, 23), TIMES_K(one));
    __m128i six = _mm_srli_epi64(sixth, 23);
    __m128i seven = _mm_srli_epi64(_mm_add_epi64(_mm_add_epi64(seventh, TIMES_K(below_half)), even), 23);
    __m128i distance = _mm_abs_epi32(_mm_sub_epi32(_mm_and_si128(sixth, TIMES_K(low23)), TIMES_K(half)));
    __m128i farther = _mm_cmpgt_epi32(distance, _mm_sllv_epi64(TIMES_K(farthest), shift));
    __m128i decimals = _mm_blendv_epi8(_mm_mul_epu32(six, TIMES_K(ten)), seven, farther);

    /* 17 digits each: nine with the first two as one, and eight. */
    __m128i nine = _mm_srli_epi64(_mm_mul_epu32(whole, TIMES_K(tenth)), 35);
    __m128i last = _mm_sub_epi64(whole, _mm_mul_epu32(nine, TIMES_K(ten)));
    __m128i eight = _mm_add_epi64(_mm_mul_epu32(last, TIMES_K(ten_million)), decimals);
    __m256i x = _mm256_set_m128i(_mm_unpackhi_epi64(nine, eight), _mm_unpacklo_epi64(nine, eight));
    __m256i high = _mm256_srli_epi64(_mm256_mul_epu32(x, TIMES_K4(ten_thousandth)), 45);
    __m256i low = _mm256_sub_epi64(x, _mm256_mul_epu32(high, TIMES_K4(ten_thousand)));
    __m256i fours = _mm256_or_si256(high, _mm256_slli_epi64(low, 32));
    __m256i hundreds = _mm256_srli_epi16(_mm256_mulhi_epu16(fours, TIMES_K4(hundredth_words)), 4);
    __m256i ones = _mm256_sub_epi16(fours, _mm256_mullo_epi16(hundreds, TIMES_K4(hundred_words)));
    __m256i twos = _mm256_or_si256(hundreds, _mm256_slli_epi32(ones, 16));
    __m256i tens = _mm256_mulhi_epu16(twos, TIMES_K4(tenth_words));
    __m256i digits = _mm256_sub_epi16(_mm256_slli_epi16(twos, 8), _mm256_mullo_epi16(tens, TIMES_K4(tens_words)));

    __m256i chars = _mm256_or_si256(digits, TIMES_K4(zeros));
    __m256i points = _mm256_or_si256(_mm256_shuffle_epi8(digits, TIMES_K4(point)), TIMES_K4(points));
    __m256i backwards = _mm256_shuffle_epi8(digits, TIMES_K4(backwards));
    uint32_t used = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(backwards, _mm256_setzero_si256()));
    used |= 1u << 6 | 1u << 22; /* one decimal at least */
    __m128i created_digits = _mm256_extracti128_si256(digits, 1);
    out = TEXT_LITERAL(out, TIMES_MODIFIED);
    out = time_lay_out_avx2(out, _mm256_castsi256_si128(chars), _mm256_castsi256_si128(points),
                            (uint8_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(digits)), (unsigned)__builtin_ctz(used));
    out = TEXT_LITERAL(out, TIMES_CREATED);
    return time_lay_out_avx2(out, _mm256_extracti128_si256(chars, 1), _mm256_extracti128_si256(points, 1),
                             (uint8_t)_mm_cvtsi128_si32(created_digits), (unsigned)__builtin_ctz(used >> 16));
}
#endif

/* Both members with commas before them: `,"modified_time":...,"created_time":...`. */
static inline __attribute__((always_inline)) char *times_write(char *out, double modified, double created, simd_level level)
{
#if defined(__x86_64__)
    if (level >= SIMD_AVX2)
        return times_write_avx2(out, modified, created);
#endif
    return times_write_any(out, modified, created);
}

#endif
