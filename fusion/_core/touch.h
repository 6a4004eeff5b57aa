/* Before a change: what open views still read of the block at hand is kept. Every write to a record or an arena is announced here. */
#ifndef FUSION_TOUCH_H
#define FUSION_TOUCH_H

#include "nodes.h"

#ifdef FUSION_SMALL_BLOCKS /* builds for tests: a change that is not announced cannot hide behind a neighbour's */
#define BLOCK_RECORDS 1u
#define BLOCK_BYTES 16u
#else
#define BLOCK_RECORDS 64u /* nodes or directory records in a block */
#define BLOCK_BYTES 4096u /* bytes of an arena in a block */
#endif

static inline void node_touch(fusion_index *ix, uint32_t id)
{
    size_t block = id / BLOCK_RECORDS;
    views_touch(&ix->views, VIEW_NODES, block, ix->nodes + block * BLOCK_RECORDS, BLOCK_RECORDS * sizeof(fusion_node));
}

static inline void dir_touch(fusion_index *ix, uint32_t dir)
{
    size_t block = dir / BLOCK_RECORDS;
    views_touch(&ix->views, VIEW_DIRS, block, ix->dirs + block * BLOCK_RECORDS, BLOCK_RECORDS * sizeof(fusion_dir));
}

static inline void arena_touch(fusion_index *ix, view_kind kind, const arena *a, size_t from, size_t to)
{
    if (__builtin_expect(!views_newest(&ix->views, kind), 1))
        return;
    for (size_t block = from / BLOCK_BYTES; block * BLOCK_BYTES < to; block++)
        views_touch(&ix->views, kind, block, a->blob.base + block * BLOCK_BYTES, BLOCK_BYTES);
}

static inline void slots_touch(fusion_index *ix, uint64_t hash)
{
    const slot_partition *p = slots_partition(&ix->slots, hash);
    views_touch(&ix->views, VIEW_SLOTS, (size_t)(p - ix->slots.partitions), p->slots, (size_t)p->cap * sizeof *p->slots);
}

/* Everything is about to change. */
static inline void index_touch_all(fusion_index *ix)
{
    if (!views_newest(&ix->views, VIEW_NODES))
        return;
    for (uint32_t id = 0; id < ix->n_nodes; id += BLOCK_RECORDS)
        node_touch(ix, id);
    for (uint32_t dir = 0; dir < ix->n_dirs; dir += BLOCK_RECORDS)
        dir_touch(ix, dir);
    arena_touch(ix, VIEW_NAMES, &ix->names, 0, ix->names.used);
    arena_touch(ix, VIEW_PATHS, &ix->paths, 0, ix->paths.used);
    for (uint64_t nth = 0; nth < SLOT_PARTITIONS; nth++)
        slots_touch(ix, nth << (64 - SLOT_PARTITION_BITS));
}

/* ---- strings and keys, announced ---- */

static inline uint32_t string_put(fusion_index *ix, view_kind kind, arena *a, uint32_t owner, const char *bytes, uint16_t length)
{
    uint32_t reused = arena_reusable(a, length);
    if (reused != ARENA_NONE)
        arena_touch(ix, kind, a, reused - ARENA_HEADER, (size_t)reused + length);
    return arena_put(a, owner, bytes, length);
}

static inline void string_free(fusion_index *ix, view_kind kind, arena *a, uint32_t offset)
{
    arena_touch(ix, kind, a, offset - ARENA_HEADER, offset);
    arena_free(a, offset);
}

static inline uint32_t name_put(fusion_index *ix, uint32_t owner, const char *bytes, uint16_t length)
{
    return string_put(ix, VIEW_NAMES, &ix->names, owner, bytes, length);
}

static inline void name_free(fusion_index *ix, uint32_t offset)
{
    string_free(ix, VIEW_NAMES, &ix->names, offset);
}

static inline uint32_t path_put(fusion_index *ix, uint32_t owner, const char *bytes, uint16_t length)
{
    return string_put(ix, VIEW_PATHS, &ix->paths, owner, bytes, length);
}

static inline void path_free(fusion_index *ix, uint32_t offset)
{
    string_free(ix, VIEW_PATHS, &ix->paths, offset);
}

static inline bool key_insert(fusion_index *ix, uint64_t hash, uint32_t id)
{
    slots_touch(ix, hash);
    return slots_insert(&ix->slots, hash, id);
}

static inline void key_erase(fusion_index *ix, uint64_t hash, uint32_t id)
{
    slots_touch(ix, hash);
    slots_erase(&ix->slots, hash, id);
}

#endif
