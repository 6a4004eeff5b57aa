/* Glob programs: one compiled pattern against one name, upper and lower case alike (fold.h).
 *
 * A program comes from fusion/patterns.py. A name is a sequence of code points; a byte that is not UTF-8
 * is one of its own. A literal takes the code points that fold like it, a class those of which one case lies
 * in one of its ranges. */
#ifndef FUSION_GLOB_H
#define FUSION_GLOB_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fold.h"
#include "utf8.h"

/* A program is 32-bit words: a code point below 0x110000 stands for itself, the others for: */
#define GLOB_STAR 0x80000000u          /* any number of code points */
#define GLOB_ANY 0x80000001u           /* one code point */
#define GLOB_CLASS 0x80000002u         /* then n, then n ranges as two words each: first, last */
#define GLOB_NEGATED_CLASS 0x80000003u /* the same; a code point outside of them */

/* A class in glob_program.items: operation, n, 4 words of ASCII bitmap, ranges. */
#define GLOB_CLASS_WORDS 6

typedef struct {
    uint32_t *items; /* the program, literals folded, classes with their bitmap */
    size_t n;        /* words */
} glob_program;

enum { GLOB_OK = 0, GLOB_BAD_PROGRAM = 1, GLOB_NO_MEMORY = 2 };

/* The code point at p < end, U+DC00 + byte for an undecodable byte (surrogateescape); returns its length. */
static inline size_t glob_decode(const uint8_t *p, const uint8_t *end, uint32_t *c)
{
    size_t bytes = utf8_sequence(p, (size_t)(end - p));
    *c = bytes ? utf8_code_point(p, bytes) : 0xDC00u + p[0];
    return bytes ? bytes : 1;
}

/* The bytes of a code point that glob_decode can yield; returns how many. */
static inline size_t glob_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c >= 0xDC80 && c <= 0xDCFF) {
        out[0] = (uint8_t)(c - 0xDC00);
        return 1;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

static inline bool glob_is_ascii(const uint8_t *p, size_t n)
{
    uint64_t seen = 0, word;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        seen |= word;
    }
    for (; n; p++, n--)
        seen |= *p;
    return !(seen & 0x8080808080808080u);
}

static inline size_t glob_item_words(const uint32_t *item)
{
    bool is_class = *item == GLOB_CLASS || *item == GLOB_NEGATED_CLASS;
    return is_class ? GLOB_CLASS_WORDS + 2 * (size_t)item[1] : 1;
}

/* Whether one of the code points that fold like c lies in one of n ranges. */
static inline bool glob_in_ranges(const uint32_t *ranges, uint32_t n, uint32_t c)
{
    uint32_t variants[FOLD_MAX_VARIANTS];
    int n_variants = fold_variants(c, variants);
    for (uint32_t i = 0; i < n; i++)
        for (int v = 0; v < n_variants; v++)
            if (ranges[2 * i] <= variants[v] && variants[v] <= ranges[2 * i + 1])
                return true;
    return false;
}

/* Whether the item, not a star, takes the code point c. */
static inline bool glob_takes(const uint32_t *item, uint32_t c)
{
    switch (*item) {
    case GLOB_ANY:
        return true;
    case GLOB_CLASS:
    case GLOB_NEGATED_CLASS:
        if (c < 0x80)
            return item[2 + c / 32] >> c % 32 & 1;
        return glob_in_ranges(item + GLOB_CLASS_WORDS, item[1], c) == (*item == GLOB_CLASS);
    default:
        return fold_code_point(c) == *item;
    }
}

static inline uint32_t glob_program_word(const char *program, size_t i)
{
    uint32_t word;
    memcpy(&word, program + 4 * i, 4);
    return word;
}

/* Number of classes in a program, -1 when it is not well-formed. */
static inline int64_t glob_check(const char *program, size_t n)
{
    size_t words = n / 4;
    int64_t n_classes = 0;
    if (n == 0 || n % 4 || n > UINT32_MAX)
        return -1;
    for (size_t i = 0; i < words; i++) {
        uint32_t op = glob_program_word(program, i);
        if (op == GLOB_STAR || op == GLOB_ANY)
            continue;
        if (op == GLOB_CLASS || op == GLOB_NEGATED_CLASS) {
            if (words - i < 2 || glob_program_word(program, i + 1) > (words - i - 2) / 2)
                return -1;
            i += 1 + 2 * (size_t)glob_program_word(program, i + 1);
            n_classes++;
        } else if (op >= 0x110000 || (op >= 0xD800 && op < 0xDC80) || (op >= 0xDD00 && op < 0xE000)) {
            return -1;
        }
    }
    return n_classes;
}

/* GLOB_OK, GLOB_BAD_PROGRAM or GLOB_NO_MEMORY. Call glob_free in every case. */
static inline int glob_init(glob_program *g, const char *program, size_t n)
{
    g->items = NULL;
    g->n = 0;
    int64_t n_classes = glob_check(program, n);
    if (n_classes < 0)
        return GLOB_BAD_PROGRAM;
    size_t words = n / 4;
    g->items = malloc((words + 4 * (size_t)n_classes) * sizeof *g->items);
    if (!g->items)
        return GLOB_NO_MEMORY;
    uint32_t *item = g->items;
    for (size_t i = 0; i < words; i++) {
        uint32_t op = glob_program_word(program, i);
        if (op != GLOB_CLASS && op != GLOB_NEGATED_CLASS) {
            *item++ = op < GLOB_STAR ? fold_code_point(op) : op;
            continue;
        }
        uint32_t n_ranges = glob_program_word(program, i + 1), *ranges = item + GLOB_CLASS_WORDS;
        item[0] = op;
        item[1] = n_ranges;
        memset(item + 2, 0, 16);
        memcpy(ranges, program + 4 * (i + 2), 8 * (size_t)n_ranges);
        for (uint32_t c = 0; c < 0x80; c++)
            if (glob_in_ranges(ranges, n_ranges, c) == (op == GLOB_CLASS))
                item[2 + c / 32] |= 1u << c % 32;
        item = ranges + 2 * (size_t)n_ranges;
        i += 1 + 2 * (size_t)n_ranges;
    }
    g->n = (size_t)(item - g->items);
    return GLOB_OK;
}

static inline void glob_free(glob_program *g)
{
    free(g->items);
    g->items = NULL;
}

/* One point of return is enough, the last star: what precedes it may as well match as early as it can. */
static inline __attribute__((always_inline)) bool glob_match(const glob_program *g, const uint8_t *p,
                                                             const uint8_t *end, const bool ascii)
{
    const uint32_t *item = g->items, *last = item + g->n;
    const uint32_t *after_star = NULL;
    const uint8_t *star = NULL; /* where the text taken by the last star ends */
    uint32_t c;
    for (;;) {
        if (item == last) {
            if (p == end)
                return true;
        } else if (*item == GLOB_STAR) {
            after_star = ++item;
            star = p;
            if (item == last)
                return true;
            continue;
        } else if (p == end) {
            return false; /* a longer star would leave still less for the items that are left */
        } else {
            size_t n = ascii ? (c = *p, 1) : glob_decode(p, end, &c);
            if (glob_takes(item, c)) {
                p += n;
                item += glob_item_words(item);
                continue;
            }
        }
        if (!after_star || star == end)
            return false;
        star += ascii ? 1 : glob_decode(star, end, &c);
        p = star;
        item = after_star;
    }
}

static inline bool glob_matches(const glob_program *g, const char *name, size_t len)
{
    const uint8_t *p = (const uint8_t *)name;
    if (glob_is_ascii(p, len))
        return glob_match(g, p, p + len, true);
    return glob_match(g, p, p + len, false);
}

#endif
