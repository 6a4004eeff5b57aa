/* Name search: one pattern over the name arena.
 *
 *   int      search_init(search_state *s, const char *program, size_t n);
 *                SEARCH_OK, SEARCH_BAD_PROGRAM or SEARCH_NO_MEMORY. `program` is Pattern.program of
 *                fusion/patterns.py and is not needed afterwards.
 *   void     search_free(search_state *s);
 *                After every search_init, whatever it returned.
 *   uint32_t search_next(search_state *s, const char *blob, size_t len, const uint32_t *sync);
 *                Owner of the next record whose name matches, SEARCH_END when there is none before `len`.
 *                Records come in the order of the blob, each at most once; dead ones are passed over.
 *   void     search_seek(search_state *s, size_t offset);
 *                Go on at the record that starts at `offset`.
 *   bool     search_matches(const search_state *s, const char *name, size_t len);
 *                One name, without a record.
 *
 * The blob is a sequence of records, back to back, the first at offset 0: uint32_t owner (SEARCH_DEAD: dead),
 * uint16_t length, then the name's bytes; little endian, unaligned. `len` ends a record and is below 4 GiB.
 * sync[i] is the offset of the first record that starts in bytes [i << 16, (i + 1) << 16) of the blob,
 * SEARCH_NO_SYNC when none does; NULL is allowed, and slower.
 *
 * Between two calls the blob may move and `len` may grow, so a search can be cut into slices that end with a
 * record; after any other change call search_seek first. After SEARCH_END a call with a larger `len` goes on.
 * A state belongs to one caller at a time; nothing is shared and nothing needs the GIL.
 *
 * How it works. A name matches only if it holds every run of literal characters of the pattern. One run is
 * chosen as the anchor, and its two rarest bytes are looked for in the whole blob, headers included; a hit is
 * compared with the whole run, then mapped to its record by walking headers from the last known one. Bytes
 * are compared after setting the bits in which the spellings of their character differ (0x20 for 'A' and
 * 'a'), so that all spellings of one length take one comparison. Spellings of another length (the Kelvin sign
 * for k, U+017F for s) are found by their own first two bytes, the run's escapes; the whole name is then
 * judged. */
#ifndef FUSION_SEARCH_H
#define FUSION_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fold.h"
#include "glob.h"
#include "simd.h"

enum { SEARCH_OK = GLOB_OK, SEARCH_BAD_PROGRAM = GLOB_BAD_PROGRAM, SEARCH_NO_MEMORY = GLOB_NO_MEMORY };

#define SEARCH_END 0xFFFFFFFFu
#define SEARCH_DEAD 0xFFFFFFFFu
#define SEARCH_NO_SYNC 0xFFFFFFFFu
#define SEARCH_SYNC_BITS 16
#define SEARCH_HEADER 6      /* bytes before a record's name */
#define SEARCH_MAX_RUN 64    /* bytes of the anchor */
#define SEARCH_MAX_ESCAPES 2 /* two-byte escapes of the anchor */

typedef struct {
    uint8_t value[SEARCH_MAX_RUN]; /* byte i of the blob fits when (byte | mask[i]) == value[i] */
    uint8_t mask[SEARCH_MAX_RUN];
    uint8_t escape[SEARCH_MAX_ESCAPES][2];
    uint32_t len; /* bytes; 0: the program has no literal */
    uint32_t n_escapes;
    uint32_t probe[2]; /* the two positions that are looked for, probe[0] <= probe[1] */
    uint32_t first;    /* items [first, last) of the program are the run */
    uint32_t last;
    double frequency; /* how often it stands at a byte of the arena, a guess */
    bool precise;     /* bytes fit if and only if the characters do, escapes apart */
} search_run;

typedef struct {
    glob_program glob;
    search_run run;
    bool whole;    /* a name matches if and only if the run's bytes fit, at ... */
    bool at_start; /* ... its start, */
    bool at_end;   /* ... its end, or anywhere; escapes apart */
    size_t position; /* next byte of the blob to look at */
    size_t record;   /* start of a record at or before position ... */
    size_t next;     /* ... and its end; equal to record when not known yet */
    size_t base;     /* last block with hits, and those not looked at yet: bit i is position base + i */
    uint64_t hits;
} search_state;

/* ---- choosing the anchor ---- */

/* How often a byte occurs in an arena of file names, in 1/1024, roughly. */
static inline uint32_t search_byte_weight(uint8_t b)
{
    static const uint8_t letters[26] = {37, 13, 44, 20, 54, 7,  24, 17, 38, 2, 5, 32, 19,
                                        34, 42, 39, 1,  29, 38, 46, 17, 6,  4, 4, 20, 6};
    if (b >= 'a' && b <= 'z')
        return letters[b - 'a'];
    if (b >= 'A' && b <= 'Z')
        return 1;
    if (b >= '0' && b <= '9')
        return 12;
    if (b == '.' || b == '_')
        return 45;
    if (b == '-')
        return 21;
    if (b == 0)
        return 60; /* headers have them */
    return b >= 0x80 ? 6 : 1;
}

static inline uint32_t search_position_weight(uint8_t value, uint8_t mask)
{
    uint32_t weight = search_byte_weight(value);
    for (uint8_t cleared = mask; cleared; cleared = (cleared - 1) & mask) /* each choice of the mask's bits */
        weight += search_byte_weight(value & ~cleared);
    return weight;
}

/* Appends a literal to the run; false (and the run as it was) when it does not fit any more. */
static inline bool search_run_add(search_run *run, uint32_t folded, uint32_t max_escapes)
{
    uint32_t variants[FOLD_MAX_VARIANTS];
    int n_variants = fold_variants(folded, variants);
    uint8_t main[4], mask[4] = {0, 0, 0, 0}, bytes[4];
    size_t len = glob_encode(folded, main);
    if (run->len + len > SEARCH_MAX_RUN)
        return false;
    uint32_t n_escapes = run->n_escapes;
    int n_main = 0;
    for (int v = 0; v < n_variants; v++) {
        if (glob_encode(variants[v], bytes) == len) {
            n_main++;
            for (size_t i = 0; i < len; i++)
                mask[i] |= bytes[i] ^ main[i];
            continue;
        }
        uint32_t e = 0;
        while (e < n_escapes && memcmp(run->escape[e], bytes, 2))
            e++;
        if (e < n_escapes)
            continue;
        if (n_escapes == max_escapes)
            return false;
        memcpy(run->escape[n_escapes++], bytes, 2); /* spellings of another length have two bytes or more */
    }
    int mask_bits = 0;
    for (size_t i = 0; i < len; i++) {
        run->value[run->len + i] = main[i] | mask[i];
        run->mask[run->len + i] = mask[i];
        mask_bits += __builtin_popcount(mask[i]);
    }
    bool undecodable = folded >= 0xDC80 && folded <= 0xDCFF; /* the same byte may be part of a character */
    if (n_main != 1 << mask_bits || undecodable)
        run->precise = false;
    run->len += (uint32_t)len;
    run->n_escapes = n_escapes;
    return true;
}

/* Sets the probes; returns what scanning for them costs, in cycles for 32 bytes of blob. */
static inline double search_run_plan(search_run *run)
{
    uint32_t weights[SEARCH_MAX_RUN], best = 0, second = 0;
    for (uint32_t i = 0; i < run->len; i++) {
        weights[i] = search_position_weight(run->value[i], run->mask[i]);
        if (weights[i] < weights[best])
            best = i;
    }
    for (uint32_t i = 0; i < run->len; i++)
        if (i != best && (second == best || weights[i] <= weights[second])) /* of equals the last */
            second = i;
    run->probe[0] = best < second ? best : second;
    run->probe[1] = best < second ? second : best;
    run->frequency = weights[best] / 1024.0;
    if (second != best)
        run->frequency *= weights[second] / 1024.0;
    double cost = 3 + 1.5 * run->n_escapes + 32 * 15 * run->frequency;
    for (uint32_t i = 2; i < run->len; i++)
        run->frequency /= 16; /* letters depend on each other: 4 bits each */
    return cost;
}

/* Whether a name matches if and only if the run's bytes fit: there is nothing beside the run but stars. */
static inline bool search_is_whole(const search_state *s, const search_run *run)
{
    size_t after = s->glob.n - run->last;
    return run->precise && (run->first == 0 || (run->first == 1 && s->glob.items[0] == GLOB_STAR)) &&
           (after == 0 || (after == 1 && s->glob.items[run->last] == GLOB_STAR));
}

/* Sets s->run to the run of literals that is cheapest to search with, len 0 when the program has none. */
static inline void search_choose_run(search_state *s)
{
    const uint32_t *items = s->glob.items;
    size_t n = s->glob.n;
    double best = 0;
    for (uint32_t max_escapes = 0; max_escapes <= SEARCH_MAX_ESCAPES; max_escapes++) {
        size_t i = 0;
        while (i < n) {
            search_run run;
            memset(&run, 0, sizeof run);
            run.precise = true;
            run.first = (uint32_t)i;
            while (i < n && items[i] < GLOB_STAR && search_run_add(&run, items[i], max_escapes))
                i++;
            run.last = (uint32_t)i;
            if (!run.len) {
                i += glob_item_words(items + i); /* not a literal, or one with too many escapes */
                continue;
            }
            double cost = search_run_plan(&run) + 32 * run.frequency * (search_is_whole(s, &run) ? 10 : 70);
            if (!s->run.len || cost < best) {
                best = cost;
                s->run = run;
            }
        }
    }
    s->at_start = s->run.first == 0;
    s->at_end = s->run.last == n;
    s->whole = search_is_whole(s, &s->run);
}

static inline int search_init(search_state *s, const char *program, size_t n)
{
    memset(s, 0, sizeof *s);
    int status = glob_init(&s->glob, program, n);
    if (status == GLOB_OK)
        search_choose_run(s);
    return status;
}

static inline void search_free(search_state *s)
{
    glob_free(&s->glob);
}

static inline void search_seek(search_state *s, size_t offset)
{
    s->position = s->record = s->next = offset;
    s->hits = 0;
}

static inline bool search_matches(const search_state *s, const char *name, size_t len)
{
    return glob_matches(&s->glob, name, len);
}

/* ---- scanning for the anchor ---- */

static inline bool search_run_at(const search_run *run, const uint8_t *p)
{
    for (uint32_t i = 0; i < run->len; i++)
        if ((p[i] | run->mask[i]) != run->value[i])
            return false;
    return true;
}

static inline bool search_escape_at(const search_run *run, const uint8_t *p)
{
    for (uint32_t e = 0; e < run->n_escapes; e++)
        if (p[0] == run->escape[e][0] && p[1] == run->escape[e][1])
            return true;
    return false;
}

/* A scanner looks at blocks of its own width from `at` on, while all it reads lies before `len`, and stops at
 * the first block with a hit: a position where both probes fit or an escape stands. It returns that block's
 * position with the hits in *hits (bit i: position + i), or, without hits, the first position not seen. */

#define SEARCH_INLINE inline __attribute__((always_inline))
#define SEARCH_ONES 0x0101010101010101u

static inline uint64_t search_load(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

/* The top bit of each byte of x that is zero. */
static inline uint64_t search_zero_bytes(uint64_t x)
{
    const uint64_t low = SEARCH_ONES * 0x7F;
    return ~(((x & low) + low) | x | low);
}

static SEARCH_INLINE size_t search_scan_portable(const search_run *run, const uint8_t *blob, size_t at,
                                                 size_t len, uint64_t *hits, const uint32_t n_escapes)
{
    size_t a = run->probe[0], b = run->probe[1], reach = 7 + (n_escapes && b == 0 ? 2 : b + 1);
    uint64_t mask_a = SEARCH_ONES * run->mask[a], value_a = SEARCH_ONES * run->value[a];
    uint64_t mask_b = SEARCH_ONES * run->mask[b], value_b = SEARCH_ONES * run->value[b];
    for (*hits = 0; at + reach <= len; at += 8) {
        const uint8_t *p = blob + at;
        uint64_t fit = search_zero_bytes(((search_load(p + a) | mask_a) ^ value_a) |
                                         ((search_load(p + b) | mask_b) ^ value_b));
        for (uint32_t e = 0; e < n_escapes; e++)
            fit |= search_zero_bytes((search_load(p) ^ SEARCH_ONES * run->escape[e][0]) |
                                     (search_load(p + 1) ^ SEARCH_ONES * run->escape[e][1]));
        if (fit) {
            for (uint32_t i = 0; i < 8; i++)
                *hits |= (fit >> (8 * i + 7) & 1) << i;
            return at;
        }
    }
    return at;
}

#if defined(__x86_64__)

#define SEARCH_LOAD_SSE2(p) _mm_loadu_si128((const __m128i *)(p))

static SEARCH_INLINE size_t search_scan_sse2(const search_run *run, const uint8_t *blob, size_t at,
                                             size_t len, uint64_t *hits, const uint32_t n_escapes)
{
    size_t a = run->probe[0], b = run->probe[1], reach = 15 + (n_escapes && b == 0 ? 2 : b + 1);
    __m128i mask_a = _mm_set1_epi8((char)run->mask[a]), value_a = _mm_set1_epi8((char)run->value[a]);
    __m128i mask_b = _mm_set1_epi8((char)run->mask[b]), value_b = _mm_set1_epi8((char)run->value[b]);
    __m128i escape[SEARCH_MAX_ESCAPES][2];
    for (uint32_t e = 0; e < n_escapes; e++) {
        escape[e][0] = _mm_set1_epi8((char)run->escape[e][0]);
        escape[e][1] = _mm_set1_epi8((char)run->escape[e][1]);
    }
    for (*hits = 0; at + reach <= len; at += 16) {
        const uint8_t *p = blob + at;
        __m128i fit_a = _mm_cmpeq_epi8(_mm_or_si128(SEARCH_LOAD_SSE2(p + a), mask_a), value_a);
        __m128i fit_b = _mm_cmpeq_epi8(_mm_or_si128(SEARCH_LOAD_SSE2(p + b), mask_b), value_b);
        __m128i fit = _mm_and_si128(fit_a, fit_b);
        for (uint32_t e = 0; e < n_escapes; e++) {
            fit_a = _mm_cmpeq_epi8(SEARCH_LOAD_SSE2(p), escape[e][0]);
            fit_b = _mm_cmpeq_epi8(SEARCH_LOAD_SSE2(p + 1), escape[e][1]);
            fit = _mm_or_si128(fit, _mm_and_si128(fit_a, fit_b));
        }
        uint32_t bits = (uint32_t)_mm_movemask_epi8(fit);
        if (bits) {
            *hits = bits;
            return at;
        }
    }
    return at;
}

#define SEARCH_LOAD_AVX2(p) _mm256_loadu_si256((const __m256i *)(p))

static SEARCH_INLINE SIMD_TARGET_AVX2 size_t search_scan_avx2(const search_run *run, const uint8_t *blob,
                                                              size_t at, size_t len, uint64_t *hits,
                                                              const uint32_t n_escapes)
{
    size_t a = run->probe[0], b = run->probe[1], reach = 63 + (n_escapes && b == 0 ? 2 : b + 1);
    __m256i mask_a = _mm256_set1_epi8((char)run->mask[a]), value_a = _mm256_set1_epi8((char)run->value[a]);
    __m256i mask_b = _mm256_set1_epi8((char)run->mask[b]), value_b = _mm256_set1_epi8((char)run->value[b]);
    __m256i escape[SEARCH_MAX_ESCAPES][2];
    for (uint32_t e = 0; e < n_escapes; e++) {
        escape[e][0] = _mm256_set1_epi8((char)run->escape[e][0]);
        escape[e][1] = _mm256_set1_epi8((char)run->escape[e][1]);
    }
    for (*hits = 0; at + reach <= len; at += 64) {
        __m256i fit[2];
        for (int half = 0; half < 2; half++) {
            const uint8_t *p = blob + at + 32 * half;
            __m256i fit_a = _mm256_cmpeq_epi8(_mm256_or_si256(SEARCH_LOAD_AVX2(p + a), mask_a), value_a);
            __m256i fit_b = _mm256_cmpeq_epi8(_mm256_or_si256(SEARCH_LOAD_AVX2(p + b), mask_b), value_b);
            fit[half] = _mm256_and_si256(fit_a, fit_b);
            for (uint32_t e = 0; e < n_escapes; e++) {
                fit_a = _mm256_cmpeq_epi8(SEARCH_LOAD_AVX2(p), escape[e][0]);
                fit_b = _mm256_cmpeq_epi8(SEARCH_LOAD_AVX2(p + 1), escape[e][1]);
                fit[half] = _mm256_or_si256(fit[half], _mm256_and_si256(fit_a, fit_b));
            }
        }
        __m256i any = _mm256_or_si256(fit[0], fit[1]);
        if (!_mm256_testz_si256(any, any)) {
            uint32_t low = (uint32_t)_mm256_movemask_epi8(fit[0]);
            uint32_t high = (uint32_t)_mm256_movemask_epi8(fit[1]);
            *hits = low | (uint64_t)high << 32;
            return at;
        }
    }
    return at;
}

#endif

/* One function per scanner, with a loop for each number of escapes. */
#define SEARCH_SCANNER(name, attributes)                                                                \
    static attributes size_t search_find_##name(const search_run *run, const uint8_t *blob, size_t at,  \
                                                size_t len, uint64_t *hits)                             \
    {                                                                                                   \
        switch (run->n_escapes) {                                                                       \
        case 0:                                                                                         \
            return search_scan_##name(run, blob, at, len, hits, 0);                                     \
        case 1:                                                                                         \
            return search_scan_##name(run, blob, at, len, hits, 1);                                     \
        default:                                                                                        \
            return search_scan_##name(run, blob, at, len, hits, 2);                                     \
        }                                                                                               \
    }

SEARCH_SCANNER(portable, )
#if defined(__x86_64__)
SEARCH_SCANNER(sse2, )
SEARCH_SCANNER(avx2, SIMD_TARGET_AVX2)
#endif

static inline size_t search_find(const search_run *run, const uint8_t *blob, size_t at, size_t len, uint64_t *hits)
{
    switch (simd_in_use) {
#if defined(__x86_64__)
    case SIMD_AVX512: /* memory is the limit: wider loads, each of two cache lines, gain nothing */
    case SIMD_AVX2:
        return search_find_avx2(run, blob, at, len, hits);
    case SIMD_SSE2:
        return search_find_sse2(run, blob, at, len, hits);
#endif
    default:
        return search_find_portable(run, blob, at, len, hits);
    }
}

/* Moves the state's position to the next place where the run or an escape may stand; false at the end. */
static inline bool search_advance(search_state *s, const uint8_t *blob, size_t len)
{
    const search_run *run = &s->run;
    if (s->hits) {
        size_t seen = s->position - s->base;
        s->hits = seen < 64 ? s->hits >> seen << seen : 0;
    }
    if (!s->hits) {
        s->base = search_find(run, blob, s->position, len, &s->hits);
        if (!s->hits) { /* too near to the end for a block */
            for (size_t at = s->base; at < len; at++)
                if ((len - at >= run->len && search_run_at(run, blob + at)) ||
                    (len - at >= 2 && search_escape_at(run, blob + at))) {
                    s->position = at;
                    return true;
                }
            return false;
        }
    }
    s->position = s->base + (size_t)__builtin_ctzll(s->hits);
    return true;
}

/* ---- records ---- */

static inline size_t search_record_end(const uint8_t *blob, size_t record)
{
    return record + SEARCH_HEADER + (blob[record + 4] | (size_t)blob[record + 5] << 8);
}

static inline uint32_t search_owner(const uint8_t *blob, size_t record)
{
    uint32_t owner;
    memcpy(&owner, blob + record, 4);
    return owner;
}

static inline bool search_judge(const search_state *s, const uint8_t *blob, size_t record, size_t end)
{
    return search_matches(s, (const char *)blob + record + SEARCH_HEADER, end - record - SEARCH_HEADER);
}

/* Moves the state's record to the one that holds byte `at`. */
static inline void search_locate(search_state *s, const uint8_t *blob, size_t at, const uint32_t *sync)
{
    if (at < s->next)
        return;
    size_t record = s->next;
    if (sync)
        for (size_t block = at >> SEARCH_SYNC_BITS; block << SEARCH_SYNC_BITS > record; block--)
            if (sync[block] <= at) { /* SEARCH_NO_SYNC is beyond every position */
                record = sync[block] > record ? sync[block] : record;
                break;
            }
    size_t end;
    while ((end = search_record_end(blob, record)) <= at)
        record = end;
    s->record = record;
    s->next = end;
}

/* The next match of a program without a literal: every record is judged. */
static inline uint32_t search_walk(search_state *s, const uint8_t *blob, size_t len)
{
    while (s->position < len) {
        size_t record = s->position;
        s->position = search_record_end(blob, record);
        uint32_t owner = search_owner(blob, record);
        if (owner != SEARCH_DEAD && search_judge(s, blob, record, s->position))
            return owner;
    }
    return SEARCH_END;
}

static inline uint32_t search_next(search_state *s, const char *blob_chars, size_t len, const uint32_t *sync)
{
    const uint8_t *blob = (const uint8_t *)blob_chars;
    const search_run *run = &s->run;
    if (!run->len)
        return search_walk(s, blob, len);
    while (search_advance(s, blob, len)) {
        size_t at = s->position++;
        bool fits = len - at >= run->len && search_run_at(run, blob + at);
        if (!fits && (len - at < 2 || !search_escape_at(run, blob + at)))
            continue;
        search_locate(s, blob, at, sync);
        size_t name = s->record + SEARCH_HEADER, end = s->next;
        uint32_t owner = search_owner(blob, s->record);
        if (at < name)
            continue;
        bool matches = false;
        if (owner != SEARCH_DEAD && fits && s->whole) {
            size_t after = at + run->len;
            matches = after <= end && (!s->at_start || at == name) && (!s->at_end || after == end);
            if (!matches)
                continue; /* another place in this name may do */
        } else if (owner != SEARCH_DEAD) {
            matches = search_judge(s, blob, s->record, end);
        }
        s->position = end;
        if (matches)
            return owner;
    }
    s->position = len;
    return SEARCH_END;
}

#endif
