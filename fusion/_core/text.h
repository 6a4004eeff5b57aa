/* Text that grows, and what JSON strings are made of: short copies, escapes, base64. */
#ifndef FUSION_TEXT_H
#define FUSION_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

typedef struct {
    char *base;
    size_t len, cap;
} text;

/* Room for `more` bytes; false when memory is out. */
static inline bool text_room(text *t, size_t more)
{
    if (t->cap - t->len >= more)
        return true;
    size_t cap = t->cap ? t->cap : 4096;
    while (cap - t->len < more)
        cap *= 2;
    char *base = realloc(t->base, cap);
    if (!base)
        return false;
    t->base = base;
    t->cap = cap;
    return true;
}

#define COPY_OVERRUN 16u /* bytes that copy_run may read and write past the end */

/* memcpy of a short string without a call: in whole 16-byte steps, so both sides need COPY_OVERRUN bytes of room behind. */
static inline char *copy_run(char *out, const char *from, size_t n)
{
    size_t done = 0;
    do {
        memcpy(out + done, from + done, 16);
        done += 16;
    } while (done < n);
    return out + n;
}

#define TEXT_LITERAL(out, literal) (memcpy(out, literal, sizeof(literal) - 1), (out) + sizeof(literal) - 1)

/* Copies the sequence at *p, U+FFFD for an undecodable byte, and moves on; returns the end of what it wrote. */
static inline char *character_copy(char *out, const unsigned char **p, const unsigned char *end)
{
    size_t bytes = utf8_sequence(*p, (size_t)(end - *p));
    const unsigned char *from = *p;
    *p += bytes ? bytes : 1;
    if (!bytes)
        return TEXT_LITERAL(out, "\xef\xbf\xbd");
    memcpy(out, from, bytes);
    return out + bytes;
}

/* A name as text, not escaped for JSON. At most 3 bytes for 1. */
static inline size_t name_display(char *out, const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes, *end = p + n;
    char *start = out;
    while (p < end)
        out = character_copy(out, &p, end);
    return (size_t)(out - start);
}

/* JSON string content of any bytes: at most 6 for 1. */
static inline char *json_escape(char *out, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)bytes, *end = p + n;
    while (p < end) {
        unsigned char c = *p;
        if (c >= 0x80) {
            out = character_copy(out, &p, end);
            continue;
        }
        p++;
        if (c >= 0x20) {
            if (c == '"' || c == '\\')
                *out++ = '\\';
            *out++ = (char)c;
            continue;
        }
        *out++ = '\\';
        switch (c) {
        case '\b': *out++ = 'b'; break;
        case '\t': *out++ = 't'; break;
        case '\n': *out++ = 'n'; break;
        case '\f': *out++ = 'f'; break;
        case '\r': *out++ = 'r'; break;
        default:
            out = TEXT_LITERAL(out, "u00");
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }
    return out;
}

static inline char *base64_write(char *out, const char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes;
    for (; n; p += 3, n -= n < 3 ? n : 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = n > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = n > 2 ? digits[v & 63] : '=';
    }
    return out;
}

#endif
