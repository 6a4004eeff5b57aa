/* One instant of the arrays, read while they change.
 *
 * The arrays are seen as blocks. Before a writer first changes a block that an open view may still read, it keeps an image of it:
 * a copy that serves all views opened since the block last changed. A view reads a block's image where there is one for it, else
 * the block itself. So an open view costs what is changed meanwhile, and nothing when nothing is.
 *
 * Times are epochs: a counter that each opening moves on. A block's stamp is the epoch of the newest view that was open when the
 * block was last kept; a view sees the live block exactly if the stamp is older than itself.
 *
 * Locks: views are opened and read with the index's lock held for reading, blocks are kept with it held for writing, so that images
 * and reads never overlap. The mutex guards the list of views and the images, because a view may be closed without the lock. */
#ifndef FUSION_VIEWS_H
#define FUSION_VIEWS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "region.h"

#define VIEW_BLOCK_MAX ((size_t)1024) /* bytes of the largest block, partitions of the hash index apart */
#define VIEW_OVERRUN ((size_t)16)      /* bytes behind an image that can be read */
#define VIEW_SLABS_KEPT 8u             /* if no more than these were needed they outlive the last view */

#define VIEW_CLOSE_STEP 256u           /* images that a closing view looks at before others may have the mutex, */
#define VIEW_CLOSE_PAUSE 200000        /* for so many nanoseconds */

typedef enum { VIEW_NODES, VIEW_DIRS, VIEW_NAMES, VIEW_PATHS, VIEW_SLOTS, VIEW_KINDS } view_kind;

typedef struct view_image {
    struct view_image *older;            /* of the same block */
    struct view_image *before, *after;   /* all images, oldest first */
    struct view_block *block;
    uint64_t from, to; /* serves views with from < epoch <= to */
    uint32_t readers;  /* how many of these are open */
    uint32_t bytes;
    view_kind kind;
    _Alignas(8) char data[]; /* records of their own alignment */
} view_image;

typedef struct view_block {
    uint64_t stamp;
    view_image *images; /* newest first */
} view_block;

typedef struct fusion_view {
    struct fusion_view *next;
    view_image *last; /* the newest image when it was opened; the last one let go when it is being closed */
    uint64_t epoch;
    bool whole; /* reads the hash index, too */
    bool closing;
    bool lost;  /* memory for an image ran out: it cannot be read any more */
} fusion_view;

/* Memory for images of blocks: slabs of a huge page each, cut once, so that a writer does not wait for the kernel at every image. */
typedef struct {
    region *slabs;
    size_t n, cap;
    size_t cut; /* bytes of the last slab in use */
    view_image *spare; /* images to take again, by their `older` */
} view_pool;

typedef struct {
    pthread_mutex_t mutex;
    view_pool pool;
    region blocks[VIEW_KINDS]; /* view_block, reserved when the first view is opened */
    fusion_view *open;
    uint64_t clock;            /* the newest epoch given */
    uint64_t newest;           /* epoch of the newest open view, 0 when none is */
    uint64_t newest_whole;     /* of the newest that reads the hash index */
    uint64_t kept;             /* images made so far */
    view_image *oldest_image, *newest_image;
    size_t image_bytes;
} view_set;

static inline void views_init(view_set *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
}

static inline void view_pool_release(view_pool *p)
{
    while (p->n)
        region_release(&p->slabs[--p->n]);
    free(p->slabs);
}

/* Room for an image of a block, NULL when memory is out. */
static inline view_image *view_pool_take(view_pool *p, size_t bytes)
{
    const size_t each = sizeof(view_image) + VIEW_BLOCK_MAX + VIEW_OVERRUN;
    if (bytes > VIEW_BLOCK_MAX)
        return malloc(sizeof(view_image) + bytes);
    view_image *image = p->spare;
    if (image) {
        p->spare = image->older;
        return image;
    }
    if (!p->n || p->cut + each > REGION_HUGE_PAGE) {
        if (p->n == p->cap) {
            size_t cap = p->cap ? p->cap * 2 : 8;
            region *slabs = realloc(p->slabs, cap * sizeof *slabs);
            if (!slabs)
                return NULL;
            p->slabs = slabs;
            p->cap = cap;
        }
        if (!region_reserve(&p->slabs[p->n], REGION_HUGE_PAGE))
            return NULL;
        madvise(p->slabs[p->n].base, REGION_HUGE_PAGE, MADV_HUGEPAGE);
        p->n++;
        p->cut = 0;
    }
    image = (view_image *)(p->slabs[p->n - 1].base + p->cut);
    p->cut += each;
    return image;
}

static inline void view_pool_give(view_pool *p, view_image *image)
{
    if (image->bytes > VIEW_BLOCK_MAX) {
        free(image);
        return;
    }
    image->older = p->spare;
    p->spare = image;
}

static inline void views_release(view_set *s)
{
    view_pool_release(&s->pool);
    for (int kind = 0; kind < VIEW_KINDS; kind++)
        region_release(&s->blocks[kind]);
    pthread_mutex_destroy(&s->mutex);
}

static inline view_block *views_block(const view_set *s, view_kind kind, size_t block)
{
    return (view_block *)s->blocks[kind].base + block;
}

static inline bool view_reads(const fusion_view *v, view_kind kind)
{
    return v->whole || kind != VIEW_SLOTS;
}

/* The newest view that has to do with blocks of this kind. A writer may see one that is just being closed. */
static inline uint64_t views_newest(const view_set *s, view_kind kind)
{
    return __atomic_load_n(kind == VIEW_SLOTS ? &s->newest_whole : &s->newest, __ATOMIC_RELAXED);
}

/* The list changed; the mutex is held. */
static inline void views_recount(view_set *s)
{
    uint64_t newest = 0, newest_whole = 0;
    for (const fusion_view *v = s->open; v; v = v->next) {
        newest = v->epoch > newest ? v->epoch : newest;
        newest_whole = v->whole && v->epoch > newest_whole ? v->epoch : newest_whole;
    }
    __atomic_store_n(&s->newest, newest, __ATOMIC_RELAXED);
    __atomic_store_n(&s->newest_whole, newest_whole, __ATOMIC_RELAXED);
}

/* The mutex is held; others may look at the sum without it. */
static inline void views_count_bytes(view_set *s, int64_t more)
{
    __atomic_store_n(&s->image_bytes, s->image_bytes + (size_t)more, __ATOMIC_RELAXED);
}

static inline size_t views_bytes(const view_set *s)
{
    return __atomic_load_n(&s->image_bytes, __ATOMIC_RELAXED);
}

static inline void view_image_drop(view_set *s, view_image *image)
{
    view_image **at = &image->block->images;
    while (*at != image)
        at = &(*at)->older;
    *at = image->older;
    *(image->before ? &image->before->after : &s->oldest_image) = image->after;
    *(image->after ? &image->after->before : &s->newest_image) = image->before;
    for (fusion_view *v = s->open; v; v = v->next)
        if (v->last == image)
            v->last = image->before;
    views_count_bytes(s, -(int64_t)image->bytes);
    view_pool_give(&s->pool, image);
}

/* Opens a view of this instant; the index's lock is held. `blocks` says how many there can be of each kind. False when memory is out. */
static inline bool views_open(view_set *s, fusion_view *v, bool whole, const size_t blocks[VIEW_KINDS])
{
    bool ok = true;
    pthread_mutex_lock(&s->mutex);
    for (int kind = 0; ok && kind < VIEW_KINDS; kind++)
        ok = s->blocks[kind].base || region_reserve(&s->blocks[kind], blocks[kind] * sizeof(view_block));
    if (ok) {
        *v = (fusion_view){.next = s->open, .last = s->newest_image, .epoch = ++s->clock, .whole = whole};
        s->open = v;
        views_recount(s);
    }
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

/* Closes a view; needs no lock. The images that are left to it are gone through a step at a time: a writer that wants the mutex would
 * wait for hundreds of thousands otherwise, and right behind a step it would not get it. */
static inline void views_close(view_set *s, fusion_view *v)
{
    const struct timespec pause = {.tv_nsec = VIEW_CLOSE_PAUSE};
    view_pool unneeded = {0};
    view_image *image;
    pthread_mutex_lock(&s->mutex);
    v->closing = true;
    for (uint32_t seen = 1; (image = v->last ? v->last->after : s->oldest_image); seen++) {
        v->last = image;
        if (image->from < v->epoch && v->epoch <= image->to && view_reads(v, image->kind) && --image->readers == 0)
            view_image_drop(s, image); /* moves v->last back */
        if (seen % VIEW_CLOSE_STEP == 0) {
            pthread_mutex_unlock(&s->mutex);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&s->mutex);
        }
    }
    fusion_view **at = &s->open;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    views_recount(s);
    if (!s->oldest_image && s->pool.n > VIEW_SLABS_KEPT) {
        unneeded = s->pool;
        s->pool = (view_pool){0};
    }
    pthread_mutex_unlock(&s->mutex);
    view_pool_release(&unneeded);
}

/* Keeps what `bytes` bytes at `live`, a block's, are before the first change of it; the index's lock is held for writing. */
static __attribute__((noinline)) void views_keep(view_set *s, view_kind kind, size_t block, const void *live, size_t bytes)
{
    pthread_mutex_lock(&s->mutex);
    view_block *b = views_block(s, kind, block);
    uint64_t newest = views_newest(s, kind);
    uint32_t readers = 0;
    for (const fusion_view *v = s->open; v; v = v->next)
        readers += v->epoch > b->stamp && view_reads(v, kind);
    if (readers) {
        view_image *image = view_pool_take(&s->pool, bytes);
        if (image) {
            *image = (view_image){.older = b->images, .before = s->newest_image, .block = b, .from = b->stamp, .to = newest,
                                  .readers = readers, .bytes = (uint32_t)bytes, .kind = kind};
            if (bytes)
                memcpy(image->data, live, bytes);
            *(s->newest_image ? &s->newest_image->after : &s->oldest_image) = image;
            s->newest_image = image;
            b->images = image;
            views_count_bytes(s, (int64_t)bytes);
        } else {
            for (fusion_view *v = s->open; v; v = v->next)
                v->lost |= v->epoch > b->stamp && view_reads(v, kind);
        }
        s->kept++;
        b->stamp = newest;
    }
    pthread_mutex_unlock(&s->mutex);
}

/* A writer is about to change a block. */
static inline void views_touch(view_set *s, view_kind kind, size_t block, const void *live, size_t bytes)
{
    uint64_t newest = views_newest(s, kind);
    if (__builtin_expect(newest != 0, 0) && views_block(s, kind, block)->stamp < newest)
        views_keep(s, kind, block, live, bytes);
}

/* A writer begins a block that no open view reads. */
static inline void views_begin(view_set *s, view_kind kind, size_t block)
{
    uint64_t newest = views_newest(s, kind);
    if (__builtin_expect(newest != 0, 0))
        views_block(s, kind, block)->stamp = newest;
}

/* What a view reads of a block: the image kept for it, or `live`. The index's lock is held. */
static inline const void *view_read(view_set *s, const fusion_view *v, view_kind kind, size_t block, const void *live)
{
    view_block *b = views_block(s, kind, block);
    if (b->stamp < v->epoch)
        return live;
    pthread_mutex_lock(&s->mutex);
    const view_image *image = b->images;
    while (image && image->from >= v->epoch)
        image = image->older;
    pthread_mutex_unlock(&s->mutex);
    return image ? image->data : live; /* none only when the view is lost */
}

#endif
