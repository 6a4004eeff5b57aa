/* The node and directory records, the index that owns them, and finding nodes by path. Nothing here changes the tree. */
#ifndef FUSION_NODES_H
#define FUSION_NODES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memrchr, MAP_NORESERVE */
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "anchors.h"
#include "arena.h"
#include "hash.h"
#include "pathmap.h"
#include "region.h"
#include "slots.h"
#include "views.h"

#define NIL UINT32_MAX
#define ROOT 0u
#define MAX_NODES ((size_t)1 << 30)
#define MAX_DIRS ((size_t)1 << 28)
#define STORED_PATH_MAX 4096u /* a longer directory path is verified name by name: deep chains must not cost depth^2 bytes */

enum {
    NODE_LIVE = 1u << 0,
    NODE_DIR = 1u << 1,
    NODE_DESCRIBED = 1u << 2, /* a row gave size and times */
    NODE_ESCAPE = 1u << 3,    /* the name needs escapes in JSON, or is RAW */
    NODE_RAW = 1u << 4,       /* the name is not UTF-8 */
    /* marks of the snapshot window in which the epoch bits were written; of any other epoch they mean nothing */
    MARK_CARRIED = 1u << 5,    /* a snapshot row named it */
    MARK_MESSAGE = 1u << 6,    /* a message row wrote it */
    MARK_TOUCHED = 1u << 7,    /* a message row wrote below it */
    MARK_OVERRIDDEN = 1u << 8, /* a newer snapshot row replaced a message's; the message's mtime is in index.overridden */
    MARK_ABOVE = 1u << 9,      /* within one sweep: something below it is kept */
    MARKS = MARK_CARRIED | MARK_MESSAGE | MARK_TOUCHED | MARK_OVERRIDDEN | MARK_ABOVE,
    EPOCH_SHIFT = 10, /* bits 10..15 */
    EPOCH_MAX = 63,
    NODE_LASTING = NODE_LIVE | NODE_DIR | NODE_DESCRIBED | NODE_ESCAPE | NODE_RAW, /* what no window ends */
};

typedef struct {
    uint32_t parent; /* id of the parent directory; the root is its own */
    uint32_t dir;    /* index of the directory record, NIL for a file */
    uint32_t next;   /* sibling ids in insertion order, NIL at the ends; a free node's next free one */
    uint32_t prev;
    uint32_t name; /* offset of the name's bytes in the name arena; ARENA_NONE for the root */
    uint16_t name_len;
    uint16_t flags;
    int64_t size; /* bytes, >= 0 */
    double mtime; /* seconds since the epoch */
    double ctime;
} fusion_node;

typedef struct {
    uint64_t hash;     /* of its path: the seed of its children's hashes */
    uint64_t bytes_lo; /* sum of the sizes of all files below, 96 bits: sizes reach 2^63 - 1 each */
    uint64_t version;  /* revision of the newest change at or below */
    uint32_t bytes_hi;
    uint32_t node;
    uint32_t first, last; /* ends of the children list, NIL when empty */
    uint32_t count;       /* children */
    uint32_t files, dirs; /* below, at any depth, itself not counted */
    uint32_t path;        /* offset in the path arena, ARENA_NONE for the root and paths over STORED_PATH_MAX; a free record's next free one */
    uint32_t path_len;    /* bytes; 1 for the root */
    uint32_t raw_children; /* children whose names are not UTF-8 */
} fusion_dir;

_Static_assert(sizeof(fusion_node) == 48, "a node is 48 bytes");
_Static_assert(sizeof(fusion_dir) == 64, "a directory record is one cache line");

typedef struct {
    region nodes_region, dirs_region;
    fusion_node *nodes;
    fusion_dir *dirs;
    uint32_t n_nodes, n_dirs;       /* high-water marks: ids below them have been used */
    uint32_t live_nodes, live_dirs; /* the root counts */
    uint32_t free_node, free_dir;   /* heads of the free lists */
    arena names, paths;
    slot_table slots;
    uint64_t seed, mask;
    uint64_t revision; /* counts changes to the tree */

    /* what a run of rows in one directory still owes its ancestors */
    struct {
        uint32_t node; /* the directory, NIL when nothing is owed */
        int64_t files, dirs;
        __int128 bytes;
    } owed;

    /* the snapshot window */
    uint32_t epoch;
    bool window;
    uint64_t window_messages; /* message rows since it opened */
    pathmap tombstones; /* path -> time of a message's delete, seconds */
    pathmap overridden; /* path -> mtime of the message that a newer snapshot row replaced in this window */

    uint32_t oldest; /* described directory with the smallest mtime; OLDEST_NONE or OLDEST_UNKNOWN */
    uint32_t longest_path; /* bytes of the longest path that any node had so far */
    view_set views;  /* of readers that need one instant for longer than they can hold the lock */
    anchor_set anchors; /* where the pages of trees go on */
    pthread_rwlock_t lock;
} fusion_index;

#define OLDEST_NONE NIL
#define OLDEST_UNKNOWN (NIL - 1)

static inline const char *node_name(const fusion_index *ix, const fusion_node *n)
{
    return ix->names.blob.base + n->name;
}

static inline const char *dir_path(const fusion_index *ix, const fusion_dir *d)
{
    return ix->paths.blob.base + d->path;
}

static inline fusion_dir *dir_of(const fusion_index *ix, uint32_t id)
{
    return &ix->dirs[ix->nodes[id].dir];
}

static inline bool node_is_dir(const fusion_node *n)
{
    return n->flags & NODE_DIR;
}

/* The marks that belong to the open window. */
static inline uint32_t node_marks(const fusion_index *ix, const fusion_node *n)
{
    return (uint32_t)(n->flags >> EPOCH_SHIFT) == ix->epoch ? n->flags & MARKS : 0;
}

static inline unsigned __int128 dir_bytes(const fusion_dir *d)
{
    return (unsigned __int128)d->bytes_hi << 64 | d->bytes_lo;
}

static inline void dir_add_bytes(fusion_dir *d, __int128 delta)
{
    unsigned __int128 sum = dir_bytes(d) + (unsigned __int128)delta;
    d->bytes_lo = (uint64_t)sum;
    d->bytes_hi = (uint32_t)(sum >> 64);
}

/* Whether the directory's path is exactly these bytes. */
static inline bool dir_has_path(const fusion_index *ix, const fusion_dir *d, const char *path, size_t len)
{
    for (;;) {
        if (d->path_len != len)
            return false;
        if (d->node == ROOT)
            return true;
        if (d->path != ARENA_NONE)
            return memcmp(dir_path(ix, d), path, len) == 0;
        const fusion_node *n = &ix->nodes[d->node];
        size_t rest = len - n->name_len - 1; /* the lengths add up: they were checked against this directory's */
        if (path[rest] != '/' || memcmp(path + rest + 1, node_name(ix, n), n->name_len) != 0)
            return false;
        d = dir_of(ix, n->parent);
        len = rest ? rest : 1;
    }
}

/* The child of that name, or NIL. `hash` is the child's path hash. */
static inline uint32_t find_child(const fusion_index *ix, uint32_t parent, uint64_t hash, const char *name, size_t len)
{
    const slot_partition *p = slots_partition(&ix->slots, hash);
    if (!p->cap)
        return NIL;
    uint32_t tag = (uint32_t)hash, i = slot_home(tag, p->cap);
    for (uint64_t slot; (slot = p->slots[i]); i = i + 1 == p->cap ? 0 : i + 1) {
        if ((uint32_t)(slot >> 32) != tag)
            continue;
        const fusion_node *n = &ix->nodes[(uint32_t)slot];
        if (n->name_len == len && memcmp(node_name(ix, n), name, len) == 0 && n->parent == parent)
            return (uint32_t)slot;
    }
    return NIL;
}

/* The directory of that path, or NIL. */
static inline uint32_t find_dir(const fusion_index *ix, uint64_t hash, const char *path, size_t len)
{
    if (len == 1)
        return ROOT;
    const slot_partition *p = slots_partition(&ix->slots, hash);
    if (!p->cap)
        return NIL;
    uint32_t tag = (uint32_t)hash, i = slot_home(tag, p->cap);
    for (uint64_t slot; (slot = p->slots[i]); i = i + 1 == p->cap ? 0 : i + 1) {
        if ((uint32_t)(slot >> 32) != tag)
            continue;
        const fusion_node *n = &ix->nodes[(uint32_t)slot];
        if (!node_is_dir(n))
            continue;
        const fusion_dir *d = &ix->dirs[n->dir];
        if (d->hash == hash && dir_has_path(ix, d, path, len))
            return (uint32_t)slot;
    }
    return NIL;
}

/* Length of the parent directory's path in a normalised path that is not "/". */
static inline size_t parent_length(const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len);
    return slash == path ? 1 : (size_t)(slash - path);
}

/* The node at a normalised path, or NIL. */
static inline uint32_t find_path(const fusion_index *ix, const char *path, size_t len)
{
    if (len == 1)
        return ROOT;
    size_t dir_len = parent_length(path, len);
    const char *name = path + dir_len + (dir_len > 1);
    size_t name_len = (size_t)(path + len - name);
    uint64_t dir_hash = path_hash(path, dir_len, ix->seed, ix->mask);
    uint64_t hash = name_hash(name, name_len, dir_hash) & ix->mask;
    slots_prefetch(&ix->slots, hash); /* both misses at once */
    uint32_t dir = find_dir(ix, dir_hash, path, dir_len);
    return dir == NIL ? NIL : find_child(ix, dir, hash, name, name_len);
}

/* Bytes of a node's path. */
static inline size_t node_path_length(const fusion_index *ix, uint32_t id)
{
    if (id == ROOT)
        return 1;
    const fusion_node *n = &ix->nodes[id];
    size_t dir_len = dir_of(ix, n->parent)->path_len;
    return dir_len + (dir_len > 1) + n->name_len;
}

/* Writes a node's path, node_path_length bytes. */
static inline void node_write_path(const fusion_index *ix, uint32_t id, char *out)
{
    size_t end = node_path_length(ix, id);
    if (id == ROOT) {
        out[0] = '/';
        return;
    }
    while (id != ROOT) {
        const fusion_node *n = &ix->nodes[id];
        if (node_is_dir(n) && ix->dirs[n->dir].path != ARENA_NONE) {
            memcpy(out, dir_path(ix, &ix->dirs[n->dir]), end);
            return;
        }
        end -= n->name_len;
        memcpy(out + end, node_name(ix, n), n->name_len);
        out[--end] = '/';
        id = n->parent;
    }
}

#endif
