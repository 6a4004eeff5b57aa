/* Sizes and times of many files as columns, at one instant: of the whole index in the order of its records, else of a subtree by a
 * walk. The lock is held for some thousand nodes at a time. */
#ifndef FUSION_GATHER_H
#define FUSION_GATHER_H

#include "instant.h"

#ifdef FUSION_SMALL_BLOCKS
#define GATHER_RECORDS 7u
#define GATHER_WALKED 3u
#else
#define GATHER_RECORDS 32768u /* that are looked at before others get the lock */
#define GATHER_WALKED 8192u   /* the same of a walk, whose nodes lie anywhere */
#endif

typedef enum { GATHER_OK, GATHER_NO_MEMORY, GATHER_UNKNOWN } gather_status;

typedef struct {
    fusion_instant at;
    uint32_t top;
    uint32_t next; /* node to look at next, NIL: none */
    uint32_t end;  /* of the records */
} gather;

/* This instant, kept: takes the lock. The path is a normalised one. */
static inline gather_status gather_begin(gather *g, fusion_index *ix, const char *path, size_t len)
{
    gather_status status = GATHER_OK;
    memset(g, 0, sizeof *g);
    pthread_rwlock_rdlock(&ix->lock);
    instant_init(&g->at, ix);
    g->top = g->next = find_path(ix, path, len);
    g->end = ix->n_nodes;
    if (g->top == NIL)
        status = GATHER_UNKNOWN;
    else if (!instant_open(&g->at, false))
        status = GATHER_NO_MEMORY;
    pthread_rwlock_unlock(&ix->lock);
    return status;
}

static inline void gather_close(gather *g)
{
    instant_close(&g->at);
    g->next = NIL;
}

/* Some of the next files, at most `room`; the lock is held. */
static inline size_t gather_slice(gather *g, int64_t *sizes, double *times, size_t room)
{
    size_t n = 0;
    for (uint32_t left = g->top == ROOT ? GATHER_RECORDS : GATHER_WALKED; left && n < room && g->next != NIL; left--) {
        const fusion_node *node = instant_node(&g->at, g->next);
        sizes[n] = node->size; /* stays if it is a file's */
        times[n] = node->mtime;
        n += (node->flags & (NODE_LIVE | NODE_DIR)) == NODE_LIVE;
        if (g->top != ROOT)
            g->next = instant_walk(&g->at, g->top, g->next);
        else if (++g->next == g->end)
            g->next = NIL;
    }
    return n;
}

/* The next `room` files, fewer at the end only; takes the lock. */
static inline gather_status gather_next(gather *g, int64_t *sizes, double *times, size_t room, size_t *n)
{
    pthread_rwlock_t *lock = &g->at.ix->lock;
    for (*n = 0; *n < room && g->next != NIL;) {
        pthread_rwlock_rdlock(lock);
        bool kept = instant_resume(&g->at);
        if (kept)
            *n += gather_slice(g, sizes + *n, times + *n, room - *n);
        pthread_rwlock_unlock(lock);
        if (!kept)
            return GATHER_NO_MEMORY;
    }
    if (g->next == NIL)
        gather_close(g);
    return GATHER_OK;
}

#endif
