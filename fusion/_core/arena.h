/* Byte strings in one append-only blob of records, scanned as a whole by the name search.
 *
 * A record is {uint32 owner, uint16 length, bytes}, unaligned; a freed one keeps its length and has ARENA_DEAD as owner.
 * Freed records are reused for strings of exactly their length, so record boundaries stay where they are until the blob is
 * compacted. Offsets are those of the bytes, not of the header. */
#ifndef FUSION_ARENA_H
#define FUSION_ARENA_H

#include <stdlib.h>
#include <string.h>

#include "region.h"

#define ARENA_DEAD UINT32_MAX
#define ARENA_NONE UINT32_MAX /* no offset */
#define ARENA_HEADER 6u
#define ARENA_SLACK 16u /* readable bytes behind the last record */
#define ARENA_SYNC_BYTES ((size_t)1 << 16) /* one sync point per this many bytes of blob */
#define ARENA_LENGTHS 65536u

typedef struct {
    uint32_t *offsets;
    uint32_t n, cap;
} arena_free_list;

typedef struct {
    region blob;
    region sync; /* uint32 per 64 KiB block: offset of the first record that starts in it, ARENA_NONE if none */
    region free; /* arena_free_list per length */
    size_t used; /* bytes of blob, dead records included */
    size_t dead; /* bytes of dead records, headers included */
    size_t free_bytes; /* heap bytes held by the free lists */
} arena;

static inline uint32_t arena_owner(const char *record)
{
    uint32_t v;
    memcpy(&v, record, 4);
    return v;
}

static inline uint16_t arena_length(const char *record)
{
    uint16_t v;
    memcpy(&v, record + 4, 2);
    return v;
}

static inline bool arena_init(arena *a, size_t bytes)
{
    memset(a, 0, sizeof *a);
    if (!region_reserve(&a->blob, bytes) || !region_reserve(&a->sync, (bytes / ARENA_SYNC_BYTES + 2) * 4) ||
        !region_reserve(&a->free, ARENA_LENGTHS * sizeof(arena_free_list)))
        return false;
    ((uint32_t *)a->sync.base)[0] = ARENA_NONE;
    return true;
}

static inline void arena_drop_free_lists(arena *a)
{
    if (!a->free.base || !a->free_bytes)
        return;
    arena_free_list *lists = (arena_free_list *)a->free.base;
    for (uint32_t length = 0; length < ARENA_LENGTHS; length++) {
        free(lists[length].offsets);
        memset(&lists[length], 0, sizeof lists[length]);
    }
    a->free_bytes = 0;
}

static inline void arena_release(arena *a)
{
    arena_drop_free_lists(a);
    region_release(&a->blob);
    region_release(&a->sync);
    region_release(&a->free);
}

static inline void arena_clear(arena *a)
{
    arena_drop_free_lists(a);
    region_trim(&a->blob, 0);
    a->used = a->dead = 0;
    ((uint32_t *)a->sync.base)[0] = ARENA_NONE;
}

/* Keeps the sync points for a record of `record` bytes that is appended at `start`. */
static inline void arena_sync(arena *a, size_t start, size_t record)
{
    uint32_t *sync = (uint32_t *)a->sync.base;
    size_t block = start / ARENA_SYNC_BYTES;
    if (sync[block] == ARENA_NONE)
        sync[block] = (uint32_t)start;
    for (size_t b = block + 1; b <= (start + record) / ARENA_SYNC_BYTES; b++)
        sync[b] = ARENA_NONE; /* until a record starts there; one long record may span several blocks */
}

/* Where the next string of that length goes if a freed one is reused, else ARENA_NONE. */
static inline uint32_t arena_reusable(const arena *a, uint16_t length)
{
    const arena_free_list *list = (const arena_free_list *)a->free.base + length;
    return list->n ? list->offsets[list->n - 1] : ARENA_NONE;
}

/* Stores a string of 1..65535 bytes; returns the offset of its bytes, or ARENA_NONE when the arena is full. */
static inline uint32_t arena_put(arena *a, uint32_t owner, const char *bytes, uint16_t length)
{
    arena_free_list *list = (arena_free_list *)a->free.base + length;
    size_t record = ARENA_HEADER + (size_t)length;
    size_t start;
    if (list->n) {
        start = list->offsets[--list->n] - ARENA_HEADER;
        a->dead -= record;
    } else {
        start = a->used;
        if (start + record + ARENA_SLACK >= ARENA_NONE || !region_use(&a->blob, start + record + ARENA_SLACK))
            return ARENA_NONE;
        arena_sync(a, start, record);
        a->used = start + record;
        memcpy(a->blob.base + start + 4, &length, 2);
    }
    memcpy(a->blob.base + start, &owner, 4);
    memcpy(a->blob.base + start + ARENA_HEADER, bytes, length);
    return (uint32_t)(start + ARENA_HEADER);
}

/* Puts a dead record on the free list of its length. When the list cannot grow the space waits for the next compaction. */
static inline void arena_remember(arena *a, uint32_t offset)
{
    arena_free_list *list = (arena_free_list *)a->free.base + arena_length(a->blob.base + offset - ARENA_HEADER);
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap + list->cap / 2 : 8;
        uint32_t *offsets = realloc(list->offsets, cap * sizeof *offsets);
        if (!offsets)
            return;
        a->free_bytes += (cap - list->cap) * sizeof *offsets;
        list->offsets = offsets;
        list->cap = cap;
    }
    list->offsets[list->n++] = offset;
}

/* Frees the string at `offset`. */
static inline void arena_free(arena *a, uint32_t offset)
{
    char *record = a->blob.base + offset - ARENA_HEADER;
    uint32_t dead = ARENA_DEAD;
    memcpy(record, &dead, 4);
    a->dead += ARENA_HEADER + (size_t)arena_length(record);
    arena_remember(a, offset);
}

static inline bool arena_wants_compaction(const arena *a)
{
    return a->dead > a->used / 2 && a->dead > ((size_t)1 << 20);
}

/* Moves the live records together; moved(ctx, owner, offset) is told each one's new offset. */
static inline void arena_compact(arena *a, void (*moved)(void *, uint32_t, uint32_t), void *ctx)
{
    char *base = a->blob.base;
    size_t from = 0, to = 0, end = a->used;
    arena_drop_free_lists(a);
    ((uint32_t *)a->sync.base)[0] = ARENA_NONE;
    while (from < end) {
        uint32_t owner = arena_owner(base + from);
        size_t record = ARENA_HEADER + (size_t)arena_length(base + from);
        if (owner != ARENA_DEAD) {
            arena_sync(a, to, record);
            memmove(base + to, base + from, record);
            moved(ctx, owner, (uint32_t)(to + ARENA_HEADER));
            to += record;
        }
        from += record;
    }
    a->used = to;
    a->dead = 0;
    region_trim(&a->blob, to);
}

#endif
