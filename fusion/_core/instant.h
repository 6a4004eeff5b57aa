/* An index read at one instant: live while the lock is held for all of it, through a view where the lock is let go in between. */
#ifndef FUSION_INSTANT_H
#define FUSION_INSTANT_H

#include "touch.h"

typedef struct {
    fusion_index *ix;
    fusion_view view;
    bool opened; /* else the lock has been held since the instant */
    bool clean;  /* nothing that the view may read has changed: the live arrays are the instant */
    uint64_t kept; /* images that there were when it was opened */
    struct {
        size_t block;
        const char *data;
    } seen[VIEW_KINDS]; /* the block that was read last */
} fusion_instant;

/* This instant; the lock is held, and to be held until instant_open or the end. */
static inline void instant_init(fusion_instant *at, fusion_index *ix)
{
    memset(at, 0, sizeof *at);
    at->ix = ix;
    at->clean = true;
}

/* Keeps the instant beyond the end of the lock. False when memory is out. */
static inline bool instant_open(fusion_instant *at, bool whole)
{
    const fusion_index *ix = at->ix;
    const size_t blocks[VIEW_KINDS] = {
        [VIEW_NODES] = ix->nodes_region.reserved / (BLOCK_RECORDS * sizeof(fusion_node)) + 1,
        [VIEW_DIRS] = ix->dirs_region.reserved / (BLOCK_RECORDS * sizeof(fusion_dir)) + 1,
        [VIEW_NAMES] = ix->names.blob.reserved / BLOCK_BYTES + 1,
        [VIEW_PATHS] = ix->paths.blob.reserved / BLOCK_BYTES + 1,
        [VIEW_SLOTS] = SLOT_PARTITIONS,
    };
    at->kept = ix->views.kept;
    at->opened = views_open(&at->ix->views, &at->view, whole, blocks);
    return at->opened;
}

/* Needs no lock. */
static inline void instant_close(fusion_instant *at)
{
    if (at->opened)
        views_close(&at->ix->views, &at->view);
    at->opened = false;
}

/* Call whenever the lock has been taken again; false when the instant could not be kept. */
static inline bool instant_resume(fusion_instant *at)
{
    at->clean = at->ix->views.kept == at->kept;
    for (int kind = 0; kind < VIEW_KINDS; kind++)
        at->seen[kind].block = SIZE_MAX;
    return !at->view.lost;
}

static __attribute__((noinline)) const char *instant_look(fusion_instant *at, view_kind kind, size_t block, const void *live)
{
    at->seen[kind].block = block;
    at->seen[kind].data = view_read(&at->ix->views, &at->view, kind, block, live);
    return at->seen[kind].data;
}

/* The block as it was. */
static inline const char *instant_block(fusion_instant *at, view_kind kind, size_t block, const void *live)
{
    if (at->clean)
        return live;
    return at->seen[kind].block == block ? at->seen[kind].data : instant_look(at, kind, block, live);
}

static inline const fusion_node *instant_node(fusion_instant *at, uint32_t id)
{
    const fusion_node *live = at->ix->nodes;
    if (__builtin_expect(at->clean, 1))
        return live + id;
    size_t block = id / BLOCK_RECORDS;
    return (const fusion_node *)instant_block(at, VIEW_NODES, block, live + block * BLOCK_RECORDS) + id % BLOCK_RECORDS;
}

static inline const fusion_dir *instant_dir(fusion_instant *at, uint32_t dir)
{
    const fusion_dir *live = at->ix->dirs;
    if (__builtin_expect(at->clean, 1))
        return live + dir;
    size_t block = dir / BLOCK_RECORDS;
    return (const fusion_dir *)instant_block(at, VIEW_DIRS, block, live + block * BLOCK_RECORDS) + dir % BLOCK_RECORDS;
}

/* Copies bytes [from, from + n) of an array of blocks. */
static inline void instant_copy(fusion_instant *at, view_kind kind, const char *live, size_t block_bytes, size_t from, size_t n, char *out)
{
    if (at->clean) {
        memcpy(out, live + from, n);
        return;
    }
    while (n) {
        size_t block = from / block_bytes, start = from % block_bytes;
        size_t part = block_bytes - start < n ? block_bytes - start : n;
        memcpy(out, instant_block(at, kind, block, live + block * block_bytes) + start, part);
        out += part;
        from += part;
        n -= part;
    }
}

/* A node's name: where it lies, or copied to `spare` when two blocks share it. VIEW_OVERRUN bytes behind it can be read. */
static inline const char *instant_name(fusion_instant *at, const fusion_node *n, char *spare)
{
    const char *live = at->ix->names.blob.base;
    if (__builtin_expect(at->clean, 1) || !n->name_len)
        return live + n->name;
    size_t block = n->name / BLOCK_BYTES, start = n->name % BLOCK_BYTES;
    if (start + n->name_len <= BLOCK_BYTES)
        return instant_block(at, VIEW_NAMES, block, live + block * BLOCK_BYTES) + start;
    instant_copy(at, VIEW_NAMES, live, BLOCK_BYTES, n->name, n->name_len, spare);
    return spare;
}

/* Bytes of a node's path. */
static inline size_t instant_path_length(fusion_instant *at, uint32_t id)
{
    const fusion_node *n = instant_node(at, id);
    if (id == ROOT)
        return 1;
    size_t name_len = n->name_len, dir_len = instant_dir(at, instant_node(at, n->parent)->dir)->path_len;
    return dir_len + (dir_len > 1) + name_len;
}

/* Writes a node's path, instant_path_length bytes. */
static inline void instant_write_path(fusion_instant *at, uint32_t id, char *out)
{
    size_t end = instant_path_length(at, id);
    if (id == ROOT)
        out[0] = '/';
    while (id != ROOT) {
        const fusion_node *n = instant_node(at, id);
        const fusion_dir *d = node_is_dir(n) ? instant_dir(at, n->dir) : NULL;
        if (d && d->path != ARENA_NONE) {
            instant_copy(at, VIEW_PATHS, at->ix->paths.blob.base, BLOCK_BYTES, d->path, end, out);
            return;
        }
        end -= n->name_len;
        instant_copy(at, VIEW_NAMES, at->ix->names.blob.base, BLOCK_BYTES, n->name, n->name_len, out + end);
        out[--end] = '/';
        id = n->parent;
    }
}

/* The node after this one in a walk over `top` and all below it, parents first; NIL at the end. Needs no stack. */
static inline uint32_t instant_walk(fusion_instant *at, uint32_t top, uint32_t id)
{
    const fusion_node *n = instant_node(at, id);
    if (node_is_dir(n)) {
        uint32_t first = instant_dir(at, n->dir)->first;
        if (first != NIL)
            return first;
    }
    while (id != top && n->next == NIL) {
        id = n->parent;
        n = instant_node(at, id);
    }
    return id == top ? NIL : n->next;
}

#endif
