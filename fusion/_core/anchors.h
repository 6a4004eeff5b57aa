/* Places between siblings that outlive what stands at them: where the pages of a tree go on.
 *
 * A place is "behind this child of that directory", or before its first one. An anchor holds one while the tree changes: when its
 * child goes it moves to the sibling before; when its directory goes it is lost. New children come last, so what stands behind an
 * anchor is what stood there, without what went and with what came. Anchors are taken from a ring: the oldest give way.
 *
 * Anchors at one place share a spot, which is found by the place and moves as one. Two spots that meet become one, the smaller one's
 * anchors going over, so that however many anchors there are, each moves a few times in all its life.
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

#define ANCHORS_BITS 16
#define ANCHORS (1u << ANCHORS_BITS)
#define ANCHOR_NONE UINT32_MAX /* no node, no anchor, no spot */

typedef struct {
    uint32_t dir;  /* node id of the directory */
    uint32_t node; /* the child, NONE: before the first */
} tree_place;

typedef struct {
    uint64_t number; /* of all anchors ever set; its place in the ring is the number modulo ANCHORS. 0: never set */
    uint32_t spot;   /* NONE: lost */
    uint32_t before, after; /* anchors of the same spot */
} anchor;

typedef struct {
    tree_place at;
    uint32_t first, count;  /* anchors, one at least; none: not in use */
    uint32_t before, after; /* spots whose keys have the same hash; the next one that is not in use */
} anchor_spot;

typedef struct {
    anchor ring[ANCHORS];
    anchor_spot spots[ANCHORS];
    uint32_t heads[ANCHORS]; /* of the spots' hash chains */
    uint32_t free_spot, n_spots; /* the first one not in use any more; those ever used */
} anchor_table;

typedef struct {
    pthread_mutex_t mutex;
    anchor_table *table; /* NULL until the first anchor is set; its memory is touched as they are */
    uint64_t newest;     /* number of the newest anchor */
    uint32_t in_use;     /* spots */
} anchor_set;

static inline void anchors_init(anchor_set *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
}

static inline void anchors_release(anchor_set *s)
{
    free(s->table);
    pthread_mutex_destroy(&s->mutex);
}

/* Of memory that was touched. */
static inline size_t anchors_bytes(const anchor_set *s)
{
    const uint64_t newest = __atomic_load_n(&s->newest, __ATOMIC_RELAXED);
    const size_t heads = sizeof ((anchor_table *)0)->heads;
    return newest ? heads + (newest < ANCHORS ? newest : ANCHORS) * (sizeof(anchor) + sizeof(anchor_spot)) : 0;
}

/* The node whose end concerns a spot at that place. */
static inline uint32_t place_key(tree_place at)
{
    return at.node == ANCHOR_NONE ? at.dir : at.node;
}

static inline uint32_t *anchors_head(anchor_table *t, uint32_t key)
{
    return &t->heads[key * UINT32_C(0x9e3779b1) >> (32 - ANCHORS_BITS)];
}

/* The spot at that place, or NONE. */
static inline uint32_t spot_find(anchor_table *t, tree_place at)
{
    uint32_t i = *anchors_head(t, place_key(at));
    while (i != ANCHOR_NONE && (t->spots[i].at.dir != at.dir || t->spots[i].at.node != at.node))
        i = t->spots[i].after;
    return i;
}

static inline void spot_link(anchor_table *t, uint32_t i)
{
    anchor_spot *p = &t->spots[i];
    uint32_t *head = anchors_head(t, place_key(p->at));
    p->before = ANCHOR_NONE;
    p->after = *head;
    if (*head != ANCHOR_NONE)
        t->spots[*head].before = i;
    *head = i;
}

static inline void spot_unlink(anchor_table *t, uint32_t i)
{
    const anchor_spot *p = &t->spots[i];
    *(p->before == ANCHOR_NONE ? anchors_head(t, place_key(p->at)) : &t->spots[p->before].after) = p->after;
    if (p->after != ANCHOR_NONE)
        t->spots[p->after].before = p->before;
}

/* A new spot without an anchor. There are no fewer spots than anchors. */
static inline uint32_t spot_take(anchor_set *s, tree_place at)
{
    anchor_table *t = s->table;
    uint32_t i = t->free_spot;
    if (i != ANCHOR_NONE)
        t->free_spot = t->spots[i].after;
    else
        i = t->n_spots++;
    t->spots[i] = (anchor_spot){.at = at, .first = ANCHOR_NONE};
    spot_link(t, i);
    s->in_use++;
    return i;
}

/* A spot that no anchor is at any more and that is not linked. */
static inline void spot_give_back(anchor_set *s, uint32_t i)
{
    s->table->spots[i].count = 0;
    s->table->spots[i].after = s->table->free_spot;
    s->table->free_spot = i;
    s->in_use--;
}

static inline void anchor_join(anchor_table *t, uint32_t i, uint32_t spot)
{
    anchor_spot *p = &t->spots[spot];
    anchor *a = &t->ring[i];
    a->spot = spot;
    a->before = ANCHOR_NONE;
    a->after = p->first;
    if (p->first != ANCHOR_NONE)
        t->ring[p->first].before = i;
    p->first = i;
    p->count++;
}

static inline void anchor_leave(anchor_set *s, uint32_t i)
{
    anchor_table *t = s->table;
    const anchor *a = &t->ring[i];
    anchor_spot *p = &t->spots[a->spot];
    *(a->before == ANCHOR_NONE ? &p->first : &t->ring[a->before].after) = a->after;
    if (a->after != ANCHOR_NONE)
        t->ring[a->after].before = a->before;
    if (--p->count == 0) {
        spot_unlink(t, a->spot);
        spot_give_back(s, a->spot);
    }
}

/* ---- readers, with the index's lock held for reading ---- */

static inline bool anchors_prepare(anchor_set *s)
{
    if (s->table)
        return true;
    anchor_table *t = calloc(1, sizeof *t);
    if (!t)
        return false;
    memset(t->heads, 0xff, sizeof t->heads);
    t->free_spot = ANCHOR_NONE;
    s->table = t;
    return true;
}

/* Sets n anchors, numbered one after the other, and gives the first one's number; 0 when memory is out. */
static inline uint64_t anchors_set(anchor_set *s, const tree_place *places, uint32_t n)
{
    uint64_t first = 0;
    pthread_mutex_lock(&s->mutex);
    if (anchors_prepare(s)) {
        anchor_table *t = s->table;
        first = s->newest + 1;
        for (uint32_t k = 0; k < n; k++) {
            const uint64_t number = first + k;
            const uint32_t i = number % ANCHORS;
            if (t->ring[i].number && t->ring[i].spot != ANCHOR_NONE)
                anchor_leave(s, i);
            uint32_t spot = spot_find(t, places[k]);
            if (spot == ANCHOR_NONE)
                spot = spot_take(s, places[k]);
            t->ring[i].number = number;
            anchor_join(t, i, spot);
        }
        __atomic_store_n(&s->newest, first + n - 1, __ATOMIC_RELAXED);
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
    const anchor *a = s->table && number ? &s->table->ring[number % ANCHORS] : NULL;
    if (a && a->number == number) {
        state = a->spot == ANCHOR_NONE ? ANCHOR_LOST : ANCHOR_SET;
        if (state == ANCHOR_SET)
            *at = s->table->spots[a->spot].at;
    }
    pthread_mutex_unlock(&s->mutex);
    return state;
}

/* ---- the writer; each function only if in_use is not 0 ---- */

/* All anchors of a spot are lost. */
static inline void spot_lose(anchor_set *s, uint32_t i)
{
    anchor_table *t = s->table;
    for (uint32_t a = t->spots[i].first; a != ANCHOR_NONE; a = t->ring[a].after)
        t->ring[a].spot = ANCHOR_NONE;
    spot_unlink(t, i);
    spot_give_back(s, i);
}

/* A child is about to be taken from between its siblings; `before` is the sibling before it or NONE. */
static __attribute__((noinline)) void anchors_step_back(anchor_set *s, uint32_t dir, uint32_t child, uint32_t before)
{
    anchor_table *t = s->table;
    uint32_t moved = spot_find(t, (tree_place){dir, child}), met = spot_find(t, (tree_place){dir, before});
    if (moved == ANCHOR_NONE)
        return;
    spot_unlink(t, moved);
    t->spots[moved].at.node = before;
    if (met == ANCHOR_NONE) {
        spot_link(t, moved);
        return;
    }
    if (t->spots[met].count < t->spots[moved].count) {
        spot_unlink(t, met);
        spot_link(t, moved);
        uint32_t larger = moved;
        moved = met;
        met = larger;
    }
    for (uint32_t a = t->spots[moved].first, after; a != ANCHOR_NONE; a = after) {
        after = t->ring[a].after;
        anchor_join(t, a, met);
    }
    spot_give_back(s, moved);
}

/* The node is gone, and its siblings and its directory are not asked for any more; or (only_dir) it is no directory any more. */
static __attribute__((noinline)) void anchors_forget(anchor_set *s, uint32_t id, bool only_dir)
{
    anchor_table *t = s->table;
    for (uint32_t i = *anchors_head(t, id), after; i != ANCHOR_NONE; i = after) {
        const tree_place at = t->spots[i].at;
        after = t->spots[i].after;
        if (place_key(at) == id && !(only_dir && at.node == id))
            spot_lose(s, i);
    }
}

/* All nodes are gone. */
static inline void anchors_forget_all(anchor_set *s)
{
    for (uint32_t i = 0; s->in_use && i < s->table->n_spots; i++)
        if (s->table->spots[i].count)
            spot_lose(s, i);
}

#endif
