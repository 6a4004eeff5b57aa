/* Strings of JSON text: where plain text ends, a vector of bytes at a time, and escapes.
 *
 * Text that follows an opening quote ends before the document does, whose last byte is '}': functions named
 * scan_* rely on a next byte after every token but that one, and return NULL to decline. */
#ifndef FUSION_SCAN_TEXT_H
#define FUSION_SCAN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"
#include "utf8.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Whether literal stands at p. A macro, so that the comparison is of a constant length. */
#define SCAN_AT(p, end, literal) \
    ((size_t)((end) - (p)) >= sizeof(literal) - 1 && memcmp(p, literal, sizeof(literal) - 1) == 0)

/* Plain text */

typedef struct {
    const char *stop; /* the first quote, backslash or control character, or the end */
    bool high;        /* bytes beyond ASCII stand before it */
    bool odd;         /* a slash stands before a slash, a dot or the stop: as a path it may not be normal */
} scan_run;

/* Bit i of each is byte i of a block of text. */
typedef struct {
    uint64_t stops, high, slashes, dots;
} scan_block;

static inline __attribute__((always_inline)) scan_block scan_block_portable(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u, gather = 0x0002040810204081u;
    uint64_t text;
    memcpy(&text, p, sizeof text);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    text = __builtin_bswap64(text);
#endif
    const uint64_t low = text & ~tops; /* sums of seven bits carry into no other byte; the eighth says "not zero" */
#define SCAN_OTHERS(character) (((low ^ ones * (character)) + ~tops) | text)
    const uint64_t stops = ~(SCAN_OTHERS('"') & SCAN_OTHERS('\\') & ((low + ones * (0x80 - ' ')) | text));
    return (scan_block){
        .stops = (stops & tops) * gather >> 56,
        .high = (text & tops) * gather >> 56,
        .slashes = (~SCAN_OTHERS('/') & tops) * gather >> 56,
        .dots = (~SCAN_OTHERS('.') & tops) * gather >> 56,
    };
#undef SCAN_OTHERS
}

#if defined(__x86_64__)

static inline __attribute__((always_inline)) scan_block scan_block_sse2(const char *p)
{
    const __m128i text = _mm_loadu_si128((const __m128i *)p), last_control = _mm_set1_epi8(' ' - 1);
    __m128i stops = _mm_cmpeq_epi8(_mm_min_epu8(text, last_control), text);
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(text, _mm_set1_epi8('"')));
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(text, _mm_set1_epi8('\\')));
    return (scan_block){
        .stops = (uint32_t)_mm_movemask_epi8(stops),
        .high = (uint32_t)_mm_movemask_epi8(text),
        .slashes = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('/'))),
        .dots = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('.'))),
    };
}

static inline __attribute__((always_inline)) SIMD_TARGET_AVX2 scan_block scan_block_avx2(const char *p)
{
    const __m256i text = _mm256_loadu_si256((const __m256i *)p), last_control = _mm256_set1_epi8(' ' - 1);
    __m256i stops = _mm256_cmpeq_epi8(_mm256_min_epu8(text, last_control), text);
    stops = _mm256_or_si256(stops, _mm256_cmpeq_epi8(text, _mm256_set1_epi8('"')));
    stops = _mm256_or_si256(stops, _mm256_cmpeq_epi8(text, _mm256_set1_epi8('\\')));
    return (scan_block){
        .stops = (uint32_t)_mm256_movemask_epi8(stops),
        .high = (uint32_t)_mm256_movemask_epi8(text),
        .slashes = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('/'))),
        .dots = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('.'))),
    };
}

#endif

/* One function per level, over blocks of so many bytes; what is left of a block at the end goes byte by byte. */
#define SCAN_STOP(level, attributes, block_bytes)                                           \
    static attributes scan_run scan_stop_##level(const char *p, const char *end)            \
    {                                                                                       \
        scan_run run = {.high = false, .odd = false};                                       \
        uint64_t after_slash = 0;                                                           \
        for (; end - p >= (block_bytes); p += (block_bytes)) {                              \
            const scan_block b = scan_block_##level(p);                                     \
            uint64_t odd = (b.slashes << 1 | after_slash) & (b.slashes | b.dots | b.stops); \
            if (b.stops) {                                                                  \
                const uint64_t seen = b.stops ^ (b.stops - 1); /* up to the stop */         \
                run.stop = p + __builtin_ctzll(b.stops);                                    \
                run.high |= (b.high & seen) != 0;                                           \
                run.odd |= (odd & seen) != 0;                                               \
                return run;                                                                 \
            }                                                                               \
            run.high |= b.high != 0;                                                        \
            run.odd |= odd != 0;                                                            \
            after_slash = b.slashes >> ((block_bytes) - 1);                                 \
        }                                                                                   \
        return scan_stop_bytes(p, end, run, after_slash);                                   \
    }

static scan_run scan_stop_bytes(const char *p, const char *end, scan_run run, bool after_slash)
{
    for (; p < end && (unsigned char)*p >= ' ' && *p != '"' && *p != '\\'; p++) {
        run.high |= (unsigned char)*p >= 0x80;
        run.odd |= after_slash && (*p == '/' || *p == '.');
        after_slash = *p == '/';
    }
    run.stop = p;
    run.odd |= after_slash;
    return run;
}

SCAN_STOP(portable, , 8)
#if defined(__x86_64__)
SCAN_STOP(sse2, , 16)
SCAN_STOP(avx2, SIMD_TARGET_AVX2, 32)
#endif

/* The run of text from p on. */
static inline scan_run scan_stop(const char *p, const char *end)
{
    switch (simd_in_use) {
#if defined(__x86_64__)
    case SIMD_AVX512: /* gains nothing: most strings are shorter than its vectors */
    case SIMD_AVX2:
        return scan_stop_avx2(p, end);
    case SIMD_SSE2:
        return scan_stop_sse2(p, end);
#endif
    default:
        return scan_stop_portable(p, end);
    }
}

#define SCAN_COPY_SLACK 16 /* bytes beyond its own that scan_copy may write */

/* Copies the text p..p + n, which ends before end. */
static inline void scan_copy(char *out, const char *p, size_t n, const char *end)
{
    if ((size_t)(end - p) < n + SCAN_COPY_SLACK) {
        memcpy(out, p, n);
        return;
    }
    for (size_t i = 0; i < n; i += 16) /* runs are short: no call, no choice of sizes */
        memcpy(out + i, p + i, 16);
}

/* Escapes */

/* The four hexadecimal digits of an escape. */
static inline const char *scan_hex4(const char *p, const char *end, uint32_t *value)
{
#define HEX(digit) (0x10 | (digit))
    static const uint8_t digits[256] = {
        ['0'] = HEX(0),  ['1'] = HEX(1),  ['2'] = HEX(2),  ['3'] = HEX(3),  ['4'] = HEX(4),  ['5'] = HEX(5),
        ['6'] = HEX(6),  ['7'] = HEX(7),  ['8'] = HEX(8),  ['9'] = HEX(9),  ['A'] = HEX(10), ['B'] = HEX(11),
        ['C'] = HEX(12), ['D'] = HEX(13), ['E'] = HEX(14), ['F'] = HEX(15), ['a'] = HEX(10), ['b'] = HEX(11),
        ['c'] = HEX(12), ['d'] = HEX(13), ['e'] = HEX(14), ['f'] = HEX(15),
    };
#undef HEX
    if (end - p < 4)
        return NULL;
    uint32_t all = 0x10;
    *value = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t digit = digits[(uint8_t)p[i]];
        all &= digit;
        *value = *value << 4 | (digit & 0xF);
    }
    return all ? p + 4 : NULL;
}

/* One escape, to a code point that may be a lone surrogate. */
static inline const char *scan_escape(const char *p, const char *end, uint32_t *code_point)
{
    static const char meaning[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                      ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    p++;
    if (*p != 'u') {
        *code_point = (uint32_t)meaning[(uint8_t)*p];
        return *code_point ? p + 1 : NULL;
    }
    p = scan_hex4(p + 1, end, code_point);
    if (p && (*code_point & 0xFC00) == 0xD800 && SCAN_AT(p, end, "\\u")) {
        uint32_t low;
        const char *after = scan_hex4(p + 2, end, &low);
        if (after && (low & 0xFC00) == 0xDC00) {
            *code_point = 0x10000 + ((*code_point & 0x3FF) << 10) + (low & 0x3FF);
            return after;
        }
    }
    return p;
}

/* Writes a code point as UTF-8, a surrogate escape as the byte it stands for. NULL for NUL and other lone
 * surrogates. */
static inline char *scan_put_code_point(char *out, uint32_t c)
{
    if (c == 0)
        return NULL;
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if ((c & 0xF800) == 0xD800 && c < 0x10000) {
        if (c < 0xDC80 || c > 0xDCFF)
            return NULL;
        *out++ = (char)(c & 0xFF);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xE0 | c >> 12);
        } else {
            *out++ = (char)(0xF0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

/* Strings that are not kept. p is the opening quote. */
static inline const char *scan_skip_string(const char *p, const char *end)
{
    for (p++;;) {
        const scan_run run = scan_stop(p, end);
        if (run.stop == end || (run.high && !utf8_valid(p, run.stop)))
            return NULL;
        if (*run.stop == '"')
            return run.stop + 1;
        uint32_t code_point;
        if (*run.stop != '\\' || !(p = scan_escape(run.stop, end, &code_point)))
            return NULL;
    }
}

#endif
