/* Places between siblings that outlive what stands at them: where the pages of a tree go on.
 *
 * A place is "behind this child of that directory", or before its first one. An anchor holds one while the tree changes: when its
 * child goes it moves to the sibling before; when its directory goes it is lost. New children come last, so what stands behind an
 * anchor is what stood there, without what went and with what came. Anchors are taken from a ring: the oldest give way.
 *
 * Locks: anchors are set and read with the index's lock held for reading, and moved with it held for writing, so a writer is alone.
 * The mutex is between readers. Without an anchor in use a writer pays a test of one word. */
#ifndef FUSION_ANCHORS_H
#define FUSION_ANCHORS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ANCHORS_BITS 16 /* memory is touched as they are set: 40 bytes each at most */
#define ANCHORS (1u << ANCHORS_BITS)
#define ANCHOR_NONE UINT32_MAX /* no node, no anchor */

typedef struct {
    uint32_t dir;  /* node id of the directory */
    uint32_t node; /* the child, NONE: before the first */
} tree_place;

typedef struct {
    uint64_t number; /* of all anchors ever set; its place in the ring is the number modulo ANCHORS. 0: never set */
    tree_place at;   /* dir is NONE when it is lost */
    uint32_t before, after; /* anchors whose keys have the same hash */
} anchor;

typedef struct {
    pthread_mutex_t mutex;
    anchor *ring;     /* NULL until the first one is set; the heads of the hash chains lie behind it */
    uint32_t *heads;
    uint64_t newest;  /* number of the newest anchor */
    uint32_t in_use;  /* set and not lost */
} anchor_set;

static inline void anchors_init(anchor_set *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
}

static inline void anchors_release(anchor_set *s)
{
    free(s->ring);
    pthread_mutex_destroy(&s->mutex);
}

static inline size_t anchors_bytes(const anchor_set *s)
{
    return __atomic_load_n(&s->ring, __ATOMIC_RELAXED) ? ANCHORS * (sizeof *s->ring + sizeof *s->heads) : 0;
}

/* The node whose end concerns an anchor at that place. */
static inline uint32_t place_key(tree_place at)
{
    return at.node == ANCHOR_NONE ? at.dir : at.node;
}

static inline uint32_t *anchors_head(const anchor_set *s, uint32_t key)
{
    return &s->heads[key * UINT32_C(0x9e3779b1) >> (32 - ANCHORS_BITS)];
}

static inline void anchor_link(anchor_set *s, uint32_t i)
{
    anchor *a = &s->ring[i];
    uint32_t *head = anchors_head(s, place_key(a->at));
    a->before = ANCHOR_NONE;
    a->after = *head;
    if (*head != ANCHOR_NONE)
        s->ring[*head].before = i;
    *head = i;
}

static inline void anchor_unlink(anchor_set *s, uint32_t i)
{
    anchor *a = &s->ring[i];
    *(a->before == ANCHOR_NONE ? anchors_head(s, place_key(a->at)) : &s->ring[a->before].after) = a->after;
    if (a->after != ANCHOR_NONE)
        s->ring[a->after].before = a->before;
}

static inline void anchor_lose(anchor_set *s, uint32_t i)
{
    anchor_unlink(s, i);
    s->ring[i].at.dir = ANCHOR_NONE;
    s->in_use--;
}

/* ---- readers, with the index's lock held for reading ---- */

/* Sets n anchors, numbered one after the other, and gives the first one's number; 0 when memory is out. */
static inline uint64_t anchors_set(anchor_set *s, const tree_place *places, uint32_t n)
{
    uint64_t first = 0;
    pthread_mutex_lock(&s->mutex);
    if (!s->ring) {
        anchor *ring = calloc(ANCHORS, sizeof *s->ring + sizeof *s->heads);
        if (ring) {
            s->heads = (uint32_t *)(ring + ANCHORS);
            memset(s->heads, 0xff, ANCHORS * sizeof *s->heads);
            __atomic_store_n(&s->ring, ring, __ATOMIC_RELAXED);
        }
    }
    if (s->ring) {
        first = s->newest + 1;
        for (uint32_t k = 0; k < n; k++) {
            uint64_t number = ++s->newest;
            uint32_t i = number % ANCHORS;
            anchor *a = &s->ring[i];
            if (a->number && a->at.dir != ANCHOR_NONE)
                anchor_lose(s, i);
            a->number = number;
            a->at = places[k];
            anchor_link(s, i);
            s->in_use++;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return first;
}

typedef enum { ANCHOR_SET, ANCHOR_LOST, ANCHOR_OVERWRITTEN } anchor_state;

/* Where the anchor of that number is now. */
static inline anchor_state anchors_find(anchor_set *s, uint64_t number, tree_place *at)
{
    anchor_state state = ANCHOR_OVERWRITTEN;
    pthread_mutex_lock(&s->mutex);
    if (s->ring && number && s->ring[number % ANCHORS].number == number) {
        *at = s->ring[number % ANCHORS].at;
        state = at->dir == ANCHOR_NONE ? ANCHOR_LOST : ANCHOR_SET;
    }
    pthread_mutex_unlock(&s->mutex);
    return state;
}

/* ---- the writer; each function only if in_use is not 0 ---- */

/* A child is about to be taken from between its siblings; `before` is the sibling before it or NONE. */
static __attribute__((noinline)) void anchors_step_back(anchor_set *s, uint32_t child, uint32_t before)
{
    uint32_t after;
    for (uint32_t i = *anchors_head(s, child); i != ANCHOR_NONE; i = after) {
        after = s->ring[i].after;
        if (s->ring[i].at.node != child)
            continue;
        anchor_unlink(s, i);
        s->ring[i].at.node = before;
        anchor_link(s, i);
    }
}

/* A node is gone, and its siblings and its directory are not asked for any more; or (only_dir) it is no directory any more. */
static __attribute__((noinline)) void anchors_forget(anchor_set *s, uint32_t id, bool only_dir)
{
    uint32_t after;
    for (uint32_t i = *anchors_head(s, id); i != ANCHOR_NONE; i = after) {
        const tree_place at = s->ring[i].at;
        after = s->ring[i].after;
        if (place_key(at) == id && !(only_dir && at.node == id))
            anchor_lose(s, i);
    }
}

/* All nodes are gone. */
static inline void anchors_forget_all(anchor_set *s)
{
    for (uint32_t i = 0; s->in_use && i < ANCHORS; i++)
        if (s->ring[i].number && s->ring[i].at.dir != ANCHOR_NONE)
            anchor_lose(s, i);
}

#endif
