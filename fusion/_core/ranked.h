/* Nodes in an order: the first so many of those that were offered, in a heap whose top is the last of them, or all of them. */
#ifndef FUSION_RANKED_H
#define FUSION_RANKED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum { RANKED_BY_KEY, RANKED_BY_NAME, RANKED_BY_PATH } ranked_by;

typedef struct {
    unsigned __int128 key; /* what comes before names and paths */
    char *path;            /* owned by the ranking once it is in it */
    uint32_t path_len;
    uint32_t cap; /* bytes of room at path */
    uint32_t id;
    uint16_t name_len; /* the name ends the path */
} ranked;

typedef struct {
    ranked *items;
    size_t n, cap;
    size_t most; /* how many are kept */
    ranked_by by;
    bool descending; /* ties go by path, ascending */
} ranking;

static inline int ranked_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* Below zero when a comes before b. */
static inline int ranked_compare(const ranking *r, const ranked *a, const ranked *b)
{
    int order = (a->key > b->key) - (a->key < b->key);
    if (!order && r->by == RANKED_BY_NAME)
        order = ranked_bytes(a->path + a->path_len - a->name_len, a->name_len, b->path + b->path_len - b->name_len, b->name_len);
    if (order)
        return r->descending ? -order : order;
    order = ranked_bytes(a->path, a->path_len, b->path, b->path_len);
    return r->by == RANKED_BY_PATH && r->descending ? -order : order;
}

static inline bool ranking_is_full(const ranking *r)
{
    return r->n == r->most;
}

/* Whether a node of that key may belong to the ranking: false only if it surely does not. */
static inline bool ranking_admits(const ranking *r, unsigned __int128 key)
{
    if (!ranking_is_full(r))
        return true;
    return r->most && (r->descending ? key >= r->items[0].key : key <= r->items[0].key);
}

static inline bool ranked_take_path(ranked *item, const ranked *from)
{
    if (item->cap < from->path_len || !item->path) {
        free(item->path);
        item->cap = from->path_len < 32 ? 32 : from->path_len;
        item->path = malloc(item->cap);
        if (!item->path)
            return false;
    }
    memcpy(item->path, from->path, from->path_len);
    item->key = from->key;
    item->path_len = from->path_len;
    item->id = from->id;
    item->name_len = from->name_len;
    return true;
}

static inline void ranking_sink(ranking *r, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < r->n; i = child) {
        child += child + 1 < r->n && ranked_compare(r, &r->items[child + 1], &r->items[child]) > 0;
        if (ranked_compare(r, &r->items[i], &r->items[child]) >= 0)
            return;
        ranked moved = r->items[i];
        r->items[i] = r->items[child];
        r->items[child] = moved;
    }
}

/* Offers a node, whose path is copied if it is kept. False when memory is out. */
static inline bool ranking_offer(ranking *r, const ranked *item)
{
    if (ranking_is_full(r)) {
        if (!r->most || ranked_compare(r, item, &r->items[0]) >= 0)
            return true;
        if (!ranked_take_path(&r->items[0], item))
            return false;
        ranking_sink(r, 0);
        return true;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 32;
        ranked *items = realloc(r->items, cap * sizeof *items);
        if (!items)
            return false;
        r->items = items;
        r->cap = cap;
    }
    r->items[r->n] = (ranked){0};
    if (!ranked_take_path(&r->items[r->n], item))
        return false;
    if (++r->n == r->most) /* a heap from now on */
        for (size_t i = r->n / 2; i-- > 0;)
            ranking_sink(r, i);
    return true;
}

static int ranked_compare_in(const void *a, const void *b, void *r)
{
    return ranked_compare(r, a, b);
}

/* Puts what was kept into its order; nothing can be offered afterwards. */
static inline void ranking_sort(ranking *r)
{
    if (r->n)
        qsort_r(r->items, r->n, sizeof *r->items, ranked_compare_in, r);
}

static inline void ranking_free(ranking *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->items[i].path);
    free(r->items);
    r->items = NULL;
    r->n = r->cap = 0;
}

#endif
