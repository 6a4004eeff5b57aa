/* What takes the most bytes: the children of a directory, and the files below it, best first.
 *
 * Directories know the sum of all files below, so those are gone through that hold the most bytes, until none is left that could hold
 * a file as large as the last of those found. The lock is held for some thousand children at a time. */
#ifndef FUSION_LARGEST_H
#define FUSION_LARGEST_H

#include "instant.h"
#include "ranked.h"
#include "text.h"

#ifdef FUSION_SMALL_BLOCKS
#define LARGEST_NODES 3u
#else
#define LARGEST_NODES 2048u /* that are looked at before others get the lock */
#endif

typedef enum { LARGEST_OK, LARGEST_MORE, LARGEST_NO_MEMORY, LARGEST_UNKNOWN } largest_status;

typedef struct {
    unsigned __int128 bytes;
    uint32_t id;
} largest_dir;

/* A node of the answer; sums are a directory's. */
typedef struct {
    fusion_node node;
    uint64_t bytes_lo;
    uint32_t bytes_hi, files, dirs;
} largest_entry;

typedef struct {
    fusion_instant at;
    ranking children, files;
    largest_entry *entries; /* of the children, then of the files */
    uint32_t top;
    fusion_node node; /* the top as it is at the instant, */
    fusion_dir sums;  /* and its sums, or those of a file's directory */
    uint64_t revision;
    uint32_t dir, next; /* the directory that is gone through, and its next child */
    text path;          /* of `dir`, with a slash behind it */
    size_t dir_len;
    largest_dir *waiting; /* directories, a heap */
    size_t n, cap;
    bool begun;
    bool found; /* nothing is left but to describe it */
} largest;

static inline void largest_init(largest *l, size_t most)
{
    memset(l, 0, sizeof *l);
    l->children.most = l->files.most = most;
    l->children.descending = l->files.descending = true;
}

static inline void largest_close(largest *l)
{
    instant_close(&l->at);
    ranking_free(&l->children);
    ranking_free(&l->files);
    free(l->entries);
    free(l->path.base);
    free(l->waiting);
    memset(l, 0, sizeof *l);
}

static inline bool largest_wait(largest *l, uint32_t id, unsigned __int128 bytes)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        largest_dir *waiting = realloc(l->waiting, cap * sizeof *waiting);
        if (!waiting)
            return false;
        l->waiting = waiting;
        l->cap = cap;
    }
    size_t i = l->n++;
    for (size_t above; i && l->waiting[above = (i - 1) / 2].bytes < bytes; i = above)
        l->waiting[i] = l->waiting[above];
    l->waiting[i] = (largest_dir){bytes, id};
    return true;
}

/* Takes the directory with the most bytes out of the heap. */
static inline largest_dir largest_take(largest *l)
{
    largest_dir first = l->waiting[0], last = l->waiting[--l->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < l->n; i = child) {
        child += child + 1 < l->n && l->waiting[child + 1].bytes > l->waiting[child].bytes;
        if (l->waiting[child].bytes <= last.bytes)
            break;
        l->waiting[i] = l->waiting[child];
    }
    l->waiting[i] = last;
    return first;
}

static inline bool largest_enter(largest *l, uint32_t dir)
{
    size_t len = instant_path_length(&l->at, dir);
    l->path.len = 0;
    if (!text_room(&l->path, len + 1 + UINT16_MAX))
        return false;
    instant_write_path(&l->at, dir, l->path.base);
    l->path.base[len] = '/';
    l->dir_len = dir == ROOT ? 1 : len + 1;
    l->dir = dir;
    l->next = instant_dir(&l->at, instant_node(&l->at, dir)->dir)->first;
    return true;
}

/* Offers a child of `dir`. */
static inline bool largest_offer(largest *l, ranking *to, uint32_t id, const fusion_node *n, unsigned __int128 bytes)
{
    if (!ranking_admits(to, bytes))
        return true;
    instant_copy(&l->at, VIEW_NAMES, l->at.ix->names.blob.base, BLOCK_BYTES, n->name, n->name_len, l->path.base + l->dir_len);
    ranked item = {.key = bytes, .path = l->path.base, .path_len = (uint32_t)l->dir_len + n->name_len, .id = id, .name_len = n->name_len};
    return ranking_offer(to, &item);
}

static inline bool largest_see(largest *l, uint32_t id, const fusion_node *n)
{
    const fusion_dir *d = node_is_dir(n) ? instant_dir(&l->at, n->dir) : NULL;
    unsigned __int128 bytes = d ? dir_bytes(d) : (uint64_t)n->size;
    if (l->dir == l->top && !largest_offer(l, &l->children, id, n, bytes))
        return false;
    if (!d)
        return largest_offer(l, &l->files, id, n, bytes);
    return !d->files || !ranking_admits(&l->files, bytes) || largest_wait(l, id, bytes);
}

static inline largest_status largest_begin(largest *l, fusion_index *ix, const char *path, size_t len)
{
    instant_init(&l->at, ix);
    l->top = find_path(ix, path, len);
    if (l->top == NIL)
        return LARGEST_UNKNOWN;
    l->begun = true;
    const fusion_node *n = &ix->nodes[l->top];
    l->node = *n;
    l->sums = ix->dirs[node_is_dir(n) ? n->dir : ix->nodes[n->parent].dir];
    l->revision = ix->revision;
    if (node_is_dir(n))
        return largest_enter(l, l->top) ? LARGEST_OK : LARGEST_NO_MEMORY;
    l->next = NIL;
    l->dir = NIL;
    ranked item = {.key = (uint64_t)n->size, .path = (char *)path, .path_len = (uint32_t)len, .id = l->top, .name_len = n->name_len};
    return ranking_offer(&l->files, &item) ? LARGEST_OK : LARGEST_NO_MEMORY;
}

/* One slice; the lock is held. */
static inline largest_status largest_look(largest *l)
{
    size_t left = LARGEST_NODES;
    while (left) {
        if (l->next == NIL) {
            if (!l->n)
                return LARGEST_OK;
            largest_dir most = largest_take(l);
            if (!ranking_admits(&l->files, most.bytes)) {
                l->n = 0;
                return LARGEST_OK;
            }
            if (!largest_enter(l, most.id))
                return LARGEST_NO_MEMORY;
            size_t cost = l->dir_len > STORED_PATH_MAX ? l->dir_len / 16 : 1; /* of its path, put together name by name */
            left = left > cost ? left - cost : 1;
        }
        for (size_t cost = 1 + l->dir_len / 256; l->next != NIL && left; left = left > cost ? left - cost : 0) {
            const fusion_node *n = instant_node(&l->at, l->next);
            __builtin_prefetch(&l->at.ix->nodes[n->next]);
            if (!largest_see(l, l->next, n))
                return LARGEST_NO_MEMORY;
            l->next = instant_node(&l->at, l->next)->next;
        }
    }
    return LARGEST_MORE;
}

/* Copies what the answer says of its nodes; the lock is held. */
static inline bool largest_describe(largest *l)
{
    l->entries = malloc((l->children.n + l->files.n + 1) * sizeof *l->entries);
    if (!l->entries)
        return false;
    for (size_t i = 0; i < l->children.n + l->files.n; i++) {
        const uint32_t id = i < l->children.n ? l->children.items[i].id : l->files.items[i - l->children.n].id;
        const fusion_node *n = instant_node(&l->at, id);
        largest_entry *e = &l->entries[i];
        *e = (largest_entry){.node = *n};
        if (node_is_dir(&e->node)) {
            const fusion_dir *d = instant_dir(&l->at, e->node.dir);
            e->bytes_lo = d->bytes_lo;
            e->bytes_hi = d->bytes_hi;
            e->files = d->files;
            e->dirs = d->dirs;
        }
    }
    return true;
}

/* One step, with the lock for a slice; LARGEST_OK at the end. The path is a normalised one. */
static inline largest_status largest_step(largest *l, fusion_index *ix, const char *path, size_t len)
{
    largest_status status = LARGEST_OK;
    bool found = l->found;
    if (found) {
        ranking_sort(&l->children);
        ranking_sort(&l->files);
    }
    pthread_rwlock_rdlock(&ix->lock);
    if (!l->begun)
        status = largest_begin(l, ix, path, len);
    else if (!instant_resume(&l->at))
        status = LARGEST_NO_MEMORY;
    if (status == LARGEST_OK && found) {
        status = largest_describe(l) ? LARGEST_OK : LARGEST_NO_MEMORY;
    } else if (status == LARGEST_OK) {
        status = largest_look(l);
        l->found = status == LARGEST_OK;
        if (status < LARGEST_NO_MEMORY)
            status = l->at.opened || instant_open(&l->at, false) ? LARGEST_MORE : LARGEST_NO_MEMORY;
    }
    pthread_rwlock_unlock(&ix->lock);
    return status;
}

#endif
