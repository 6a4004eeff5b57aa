/* Strict UTF-8: no surrogates, no overlong forms, nothing past U+10FFFF. */
#ifndef FUSION_UTF8_H
#define FUSION_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the sequence at p (1..4), or 0 when none begins there within n > 0 bytes. */
static inline size_t utf8_sequence(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || n < 2)
        return 0;
    if (p[0] < 0xE0)
        return (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if (p[0] < 0xF0) {
        unsigned char least = p[0] == 0xE0 ? 0xA0 : 0x80, most = p[0] == 0xED ? 0x9F : 0xBF;
        return n >= 3 && p[1] >= least && p[1] <= most && (p[2] & 0xC0) == 0x80 ? 3 : 0;
    }
    unsigned char least = p[0] == 0xF0 ? 0x90 : 0x80, most = p[0] == 0xF4 ? 0x8F : 0xBF;
    return n >= 4 && p[1] >= least && p[1] <= most && (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80 ? 4 : 0;
}

/* Whether the bytes p..end are sequences throughout. */
static inline bool utf8_valid(const char *p, const char *end)
{
    while (p < end) {
        uint64_t ascii;
        if (end - p >= 8) {
            memcpy(&ascii, p, sizeof ascii);
            if (!(ascii & 0x8080808080808080u)) {
                p += 8;
                continue;
            }
        }
        size_t bytes = utf8_sequence((const unsigned char *)p, (size_t)(end - p));
        if (!bytes)
            return false;
        p += bytes;
    }
    return true;
}

/* The code point of a sequence of that many bytes. */
static inline uint32_t utf8_code_point(const unsigned char *p, size_t bytes)
{
    switch (bytes) {
    case 1: return p[0];
    case 2: return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    case 3: return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    default: return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    }
}

#endif
