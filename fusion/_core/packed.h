/* A decoded batch as few bytes that read back without parsing: what a journal keeps. Equal batches give equal bytes.
 *
 *   byte      version
 *   byte      source, and from bit 2 whether it is a snapshot's end
 *   number    bytes of the session's id, and these
 *   number    bytes of all heads
 *   number    rows
 *   number    events; for each a number, its rows << 1 | is_delete, and the zigzag difference of its index from the one before's
 *   heads     one for each row
 *   names     of each row what its path does not share with the beginning of the row before's
 *
 * A number has 7 bits in a byte, the lowest first, bit 7 where more follow. The head of an upsert's row:
 *
 *   byte      bit 0 is_dir; bit 1 alike: shares and adds as many bytes as the row before, and does not say them;
 *             bits 2-4 bytes of mtime - 1; bits 5-7 bytes of ctime - 1, 0 where it is mtime bit by bit
 *   number    bytes shared, unless alike
 *   number    bytes added, unless alike
 *   number    size
 *   mtime     the low bytes of its bits XOR those of the row before's, little-endian
 *   ctime     the same
 *
 * Of a delete's row there are the two numbers of its path alone. What is unpacked is checked: nothing reaches the engine that
 * the decoder could not have made. */
#ifndef FUSION_PACKED_H
#define FUSION_PACKED_H

#include "bits.h"
#include "path.h"
#include "rows.h"
#include "text.h"
#include "utf8.h"

#define PACKED_VERSION 1u
#define PACKED_NUMBER 10u                          /* bytes of the longest number */
#define PACKED_HEAD (1 + 3 * PACKED_NUMBER + 2 * 8) /* no head is read or written beyond */
#define PACKED_MAX_PATHS ((size_t)1 << 30)         /* bytes of all paths: front coding could expand without a bound */

enum { PACKED_OK = 0, PACKED_DAMAGED = 1, PACKED_NO_MEMORY = 2, PACKED_TOO_LARGE = 3 };

static inline char *packed_put(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

/* A number that PACKED_NUMBER readable bytes hold; UINT64_MAX, which no field may be, when it is too long. */
static inline uint64_t packed_get(const char **p)
{
    const unsigned char *q = (const unsigned char *)*p;
    uint64_t v = *q++;
    if (__builtin_expect(v >= 0x80, 0)) {
        v &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            uint64_t c = *q++;
            v |= (c & 0x7f) << (shift & 63);
            if (c < 0x80) {
                if (shift == 63 && c > 1)
                    v = UINT64_MAX;
                break;
            }
            if (shift == 63) {
                v = UINT64_MAX;
                break;
            }
        }
    }
    *p = (const char *)q;
    return v;
}

/* The same where the bytes may end; false when they do before the number. */
static inline bool packed_get_within(const char **p, const char *end, uint64_t *v)
{
    char room[PACKED_NUMBER] = {0};
    size_t left = (size_t)(end - *p) < sizeof room ? (size_t)(end - *p) : sizeof room;
    const char *q = room;
    memcpy(room, *p, left);
    *v = packed_get(&q);
    *p += q - room;
    return (size_t)(q - room) <= left;
}

/* How many low bytes hold v, at least one. */
static inline unsigned packed_width(uint64_t v)
{
    return 8 - (unsigned)__builtin_clzll(v | 1) / 8;
}

/* ---- packing ---- */

typedef struct {
    char *front, *heads, *names; /* one block of memory, that begins at front */
    size_t front_len, heads_len, names_len;
} packed_parts;

/* How many bytes two paths share at their beginning. */
static inline uint32_t packed_shared(const char *a, const char *b, uint32_t n)
{
    uint32_t i = 0;
    if (n < 8) {
        while (i < n && a[i] == b[i])
            i++;
        return i;
    }
    for (;; i = i + 8 < n - 8 ? i + 8 : n - 8) {
        const uint64_t differ = word_load(a + i) ^ word_load(b + i);
        if (differ)
            return i + (uint32_t)__builtin_ctzll(differ) / 8;
        if (i == n - 8)
            return n;
    }
}

static inline char *packed_write_front(char *p, const fusion_batch *b, size_t heads_len)
{
    size_t row = 0;
    uint64_t before = 0;
    *p++ = (char)PACKED_VERSION;
    *p++ = (char)((unsigned)b->source | (unsigned)b->is_snapshot_end << 2);
    p = packed_put(p, b->session_id_len);
    if (b->session_id_len)
        memcpy(p, b->session_id, b->session_id_len);
    p = packed_put(p + b->session_id_len, heads_len);
    p = packed_put(p, b->n_rows);
    p = packed_put(p, b->n_events);
    for (size_t i = 0; i < b->n_events; i++) {
        const size_t first = row;
        while (row < b->n_rows && b->rows[row].event == i)
            row++;
        const uint64_t index = (uint64_t)b->events[i].index, step = index - before;
        p = packed_put(p, (uint64_t)(row - first) << 1 | b->events[i].is_delete);
        p = packed_put(p, step << 1 ^ (0 - (step >> 63)));
        before = index;
    }
    return p;
}

static inline void packed_write_rows(packed_parts *out, const fusion_batch *b)
{
    char *p = out->heads, *names = out->names;
    const char *path = "";
    uint32_t path_len = 0, shared = 0, added = 0;
    uint64_t mtime = 0, ctime = 0;
    for (const fusion_row *row = b->rows, *end = b->rows + b->n_rows; row < end; row++) {
        const uint32_t n = packed_shared(path, row->path, row->path_len < path_len ? row->path_len : path_len);
        const bool alike = n == shared && row->path_len - n == added;
        path = row->path;
        path_len = row->path_len;
        shared = n;
        added = path_len - n;
        memcpy(names, path + shared, added);
        names += added;
        if (row->is_delete) {
            p = packed_put(packed_put(p, shared), added);
            continue;
        }
        const uint64_t m = double_to_bits(row->mtime), c = double_to_bits(row->ctime), m_step = m ^ mtime, c_step = c ^ ctime;
        const unsigned m_width = packed_width(m_step);
        const unsigned c_width = c == m ? 0 : packed_width(c_step | 0x100) - 1; /* two bytes at least, so that 0 is free */
        *p++ = (char)((unsigned)row->is_dir | (unsigned)alike << 1 | (m_width - 1) << 2 | c_width << 5);
        if (!alike)
            p = packed_put(packed_put(p, shared), added);
        p = packed_put(p, (uint64_t)row->size);
        word_store(p, m_step);
        p += m_width;
        word_store(p, c_step);
        p += c_width ? c_width + 1 : 0;
        mtime = m;
        ctime = c;
    }
    out->heads_len = (size_t)(p - out->heads);
    out->names_len = (size_t)(names - out->names);
}

/* Packs a batch into memory that packed_free gives back; PACKED_OK, PACKED_NO_MEMORY or PACKED_TOO_LARGE. */
static inline int packed_make(packed_parts *out, const fusion_batch *b)
{
    size_t paths = 0;
    for (size_t i = 0; i < b->n_rows; i++)
        paths += b->rows[i].path_len;
    *out = (packed_parts){0};
    if (paths > PACKED_MAX_PATHS)
        return PACKED_TOO_LARGE;
    const size_t front = 2 + 4 * PACKED_NUMBER + b->session_id_len + b->n_events * 2 * PACKED_NUMBER;
    const size_t heads = b->n_rows * PACKED_HEAD;
    out->front = malloc(front + heads + paths);
    if (!out->front)
        return PACKED_NO_MEMORY;
    out->heads = out->front + front;
    out->names = out->heads + heads;
    packed_write_rows(out, b);
    out->front_len = (size_t)(packed_write_front(out->front, b, out->heads_len) - out->front);
    return PACKED_OK;
}

static inline size_t packed_bytes(const packed_parts *parts)
{
    return parts->front_len + parts->heads_len + parts->names_len;
}

/* Writes the packed_bytes bytes of the packed batch. */
static inline void packed_join(const packed_parts *parts, char *out)
{
    memcpy(out, parts->front, parts->front_len);
    memcpy(out + parts->front_len, parts->heads, parts->heads_len);
    memcpy(out + parts->front_len + parts->heads_len, parts->names, parts->names_len);
}

static inline void packed_free(packed_parts *parts)
{
    free(parts->front);
}

/* ---- unpacking ---- */

/* A count whose items take at least `least` bytes each before `end`: so memory is asked only in proportion to what is there. */
static inline bool packed_get_count(const char **p, const char *end, size_t least, uint64_t *count)
{
    return packed_get_within(p, end, count) && *count <= (size_t)(end - *p) / least;
}

/* All before the heads, which begin at *p afterwards; every row gets its event. */
static inline int packed_read_front(const char **p, const char *end, fusion_batch *out, uint64_t *heads_len)
{
    uint64_t id_len, n_rows, n_events, rows, step, index = 0;
    if (end - *p < 2 || **p != PACKED_VERSION)
        return PACKED_DAMAGED;
    const unsigned char source = (unsigned char)(*p)[1];
    if (source >> 3 || (source & 3) > FUSION_ANOMALY)
        return PACKED_DAMAGED;
    out->source = (fusion_source)(source & 3);
    out->is_snapshot_end = source >> 2;
    *p += 2;
    if (!packed_get_count(p, end, 1, &id_len) || !utf8_valid(*p, *p + id_len))
        return PACKED_DAMAGED;
    out->session_id = *p;
    out->session_id_len = id_len;
    *p += id_len;
    if (!packed_get_count(p, end, 1, heads_len) || !packed_get_count(p, end, 2, &n_rows) ||
        !packed_get_count(p, end, 2, &n_events) || n_events > UINT32_MAX || (n_events && out->source == FUSION_ANOMALY))
        return PACKED_DAMAGED;
    out->events = malloc(n_events * sizeof *out->events + 1);
    if (!out->events || !batch_reserve_rows(out, n_rows))
        return PACKED_NO_MEMORY;
    for (; out->n_events < n_events; out->n_events++) {
        if (!packed_get_within(p, end, &rows) || !packed_get_within(p, end, &step) || rows >> 1 > n_rows - out->n_rows)
            return PACKED_DAMAGED;
        const fusion_row row = {.event = (uint32_t)out->n_events, .is_delete = rows & 1};
        for (rows >>= 1; rows; rows--)
            out->rows[out->n_rows++] = row;
        index += step >> 1 ^ (0 - (step & 1));
        out->events[out->n_events] = (fusion_event){.index = (int64_t)index, .is_delete = row.is_delete};
    }
    return out->n_rows == n_rows && *heads_len <= (size_t)(end - *p) ? PACKED_OK : PACKED_DAMAGED;
}

static inline bool packed_finite(uint64_t bits)
{
    return (bits >> 52 & 0x7ff) != 0x7ff;
}

/* What the heads say: sizes, times and lengths; dir_len holds what the path shares until rows_prepare. Sums of the bytes that
 * the rows add and of all paths. */
static inline bool packed_read_heads(const char *p, size_t n, fusion_batch *out, size_t *added_sum, size_t *path_sum)
{
    char rest[2 * PACKED_HEAD] = {0}; /* the last heads are read from here, where there is room behind */
    const char *end = p + n;
    bool at_rest = false, sound = true;
    uint64_t shared = 0, added = 0, mtime = 0, ctime = 0;
    uint32_t path_len = 0;
    *added_sum = *path_sum = 0;
    for (fusion_row *row = out->rows, *last = row + out->n_rows; row < last; row++) {
        if (__builtin_expect(end - p < (ptrdiff_t)PACKED_HEAD, 0) && !at_rest) {
            const size_t left = (size_t)(end - p);
            memcpy(rest, p, left);
            p = rest;
            end = rest + left;
            at_rest = true;
        }
        const unsigned head = row->is_delete ? 0 : (unsigned char)*p++;
        if (!(head & 2)) {
            shared = packed_get(&p);
            added = packed_get(&p);
        }
        if (shared > path_len || added > FUSION_MAX_PATH || shared + added - 1 >= FUSION_MAX_PATH)
            return false;
        row->path_len = path_len = (uint32_t)(shared + added);
        row->dir_len = (uint32_t)shared;
        *added_sum += added;
        *path_sum += path_len;
        if (!row->is_delete) {
            const unsigned m_width = (head >> 2 & 7) + 1, c_width = head >> 5 ? (head >> 5) + 1 : 0;
            row->is_dir = head & 1;
            row->size = (int64_t)packed_get(&p);
            mtime ^= word_load(p) & UINT64_MAX >> (64 - 8 * m_width);
            p += m_width;
            ctime = c_width ? ctime ^ (word_load(p) & UINT64_MAX >> (64 - 8 * c_width)) : mtime;
            p += c_width;
            row->mtime = double_from_bits(mtime);
            row->ctime = double_from_bits(ctime);
            sound &= row->size >= 0 && packed_finite(mtime) && packed_finite(ctime) && (row->is_dir || path_len > 1);
        }
        if (p > end)
            return false;
    }
    return sound && p == end;
}

/* The paths, from what they share and what they add. */
static inline bool packed_read_paths(const char *names, const char *end, fusion_batch *out)
{
    char *at = out->scratch;
    const char *before = at;
    for (fusion_row *row = out->rows, *last = row + out->n_rows; row < last; row++) {
        const size_t shared = row->dir_len, added = row->path_len - shared;
        copy_run_wide(at, before, shared);
        if ((size_t)(end - names) >= added + COPY_WIDE_OVERRUN)
            copy_run_wide(at + shared, names, added);
        else
            memcpy(at + shared, names, added);
        if (!path_is_normal(at, row->path_len))
            return false;
        row->path = before = at;
        row->dir_len = 0;
        names += added;
        at += row->path_len;
    }
    return true;
}

static inline int packed_read(const char *p, const char *end, fusion_batch *out)
{
    uint64_t heads_len;
    size_t added, paths;
    const int status = packed_read_front(&p, end, out, &heads_len);
    if (status != PACKED_OK)
        return status;
    if (!packed_read_heads(p, heads_len, out, &added, &paths))
        return PACKED_DAMAGED;
    p += heads_len;
    if (added != (size_t)(end - p) || memchr(p, 0, added) || paths > PACKED_MAX_PATHS)
        return PACKED_DAMAGED;
    out->scratch = malloc(paths + 2 * COPY_WIDE_OVERRUN);
    if (!out->scratch)
        return PACKED_NO_MEMORY;
    return packed_read_paths(p, end, out) ? PACKED_OK : PACKED_DAMAGED;
}

/* Reads packed[0..n) into out, which is empty and stays so unless PACKED_OK is returned. The session's id points into it. */
static inline int batch_unpack(const char *packed, size_t n, fusion_batch *out)
{
    const int status = packed_read(packed, packed + n, out);
    if (status != PACKED_OK)
        batch_free(out);
    return status;
}

#endif
