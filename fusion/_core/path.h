/* Paths as bytes: the POSIX normpath form with a leading slash. No Unicode, no file system. */
#ifndef FUSION_PATH_H
#define FUSION_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "simd.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

/* Writes the normal form of in[0..n) to out and returns its length, at least 1: "/" for an empty path. Empty
 * and "." components are dropped, ".." takes the component before it, the root's parent is the root.
 * out has room for n + 1 bytes; it may overlap in when it begins at least one byte before it. */
static inline size_t path_normalise(const char *in, size_t n, char *out)
{
    const char *end = in + n;
    size_t len = 0;

    while (in < end) {
        const char *slash = memchr(in, '/', (size_t)(end - in));
        size_t part = (size_t)((slash ? slash : end) - in);
        if (part == 2 && in[0] == '.' && in[1] == '.') {
            while (len && out[--len] != '/')
                ;
        } else if (part && !(part == 1 && in[0] == '.')) {
            memmove(out + len + 1, in, part);
            out[len] = '/';
            len += part + 1;
        }
        if (!slash)
            break;
        in = slash + 1;
    }
    if (!len)
        out[len++] = '/';
    return len;
}

/* Whether one of the components is "", "." or "..", given that path begins with a slash. */
static inline bool path_has_odd_component(const char *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (path[i] != '/')
            continue;
        size_t next = i + 1;
        while (next < n && next < i + 3 && path[next] == '.')
            next++;
        if (next == n || path[next] == '/')
            return true;
    }
    return false;
}

/* Whether path_normalise would leave the path as it is. */
static inline bool path_is_normal(const char *path, size_t n)
{
    if (n == 0 || path[0] != '/')
        return false;
    if (n == 1)
        return true;
#if defined(__x86_64__)
    /* A slash before a slash or a dot is rare enough to leave the rest to the careful loop; so is a short path. */
    if (simd_in_use >= SIMD_SSE2 && n > 16 && path[n - 1] != '/') {
        const __m128i slash = _mm_set1_epi8('/'), dot = _mm_set1_epi8('.');
        __m128i odd = _mm_setzero_si128();
        for (size_t i = 0;;) {
            __m128i here = _mm_loadu_si128((const __m128i *)(path + i));
            __m128i next = _mm_loadu_si128((const __m128i *)(path + i + 1));
            __m128i after = _mm_or_si128(_mm_cmpeq_epi8(next, slash), _mm_cmpeq_epi8(next, dot));
            odd = _mm_or_si128(odd, _mm_and_si128(_mm_cmpeq_epi8(here, slash), after));
            if (i == n - 17)
                break;
            i = i + 16 < n - 17 ? i + 16 : n - 17;
        }
        if (!_mm_movemask_epi8(odd))
            return true;
    }
#endif
    return !path_has_odd_component(path, n);
}

#endif
