/* A small hash map from byte strings to doubles, for what is rare beside the nodes: tombstones, overridden message times, taken keys. */
#ifndef FUSION_PATHMAP_H
#define FUSION_PATHMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *path; /* owned copy; NULL marks an empty entry */
    uint64_t hash;
    double value;
    uint32_t len;
} pathmap_entry;

typedef struct {
    pathmap_entry *entries;
    size_t cap; /* a power of two, or 0 */
    size_t used;
    size_t bytes; /* heap bytes of keys and entries */
} pathmap;

static inline pathmap_entry *pathmap_slot(const pathmap *m, uint64_t hash, const char *path, uint32_t len)
{
    size_t i = hash & (m->cap - 1);
    while (m->entries[i].path) {
        const pathmap_entry *e = &m->entries[i];
        if (e->hash == hash && e->len == len && memcmp(e->path, path, len) == 0)
            break;
        i = (i + 1) & (m->cap - 1);
    }
    return &m->entries[i];
}

static inline const pathmap_entry *pathmap_find(const pathmap *m, uint64_t hash, const char *path, uint32_t len)
{
    if (!m->used)
        return NULL;
    const pathmap_entry *e = pathmap_slot(m, hash, path, len);
    return e->path ? e : NULL;
}

static inline bool pathmap_grow(pathmap *m)
{
    pathmap next = {.cap = m->cap ? m->cap * 2 : 16};
    next.entries = calloc(next.cap, sizeof *next.entries);
    if (!next.entries)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->entries[i].path)
            *pathmap_slot(&next, m->entries[i].hash, m->entries[i].path, m->entries[i].len) = m->entries[i];
    m->bytes += (next.cap - m->cap) * sizeof *next.entries;
    free(m->entries);
    m->entries = next.entries;
    m->cap = next.cap;
    return true;
}

/* Sets or overwrites; false when memory is out. */
static inline bool pathmap_set(pathmap *m, uint64_t hash, const char *path, uint32_t len, double value)
{
    if (m->used * 2 >= m->cap && !pathmap_grow(m))
        return false;
    pathmap_entry *e = pathmap_slot(m, hash, path, len);
    if (!e->path) {
        char *copy = malloc(len ? len : 1);
        if (!copy)
            return false;
        memcpy(copy, path, len);
        e->path = copy;
        e->hash = hash;
        e->len = len;
        m->used++;
        m->bytes += len;
    }
    e->value = value;
    return true;
}

static inline void pathmap_remove(pathmap *m, uint64_t hash, const char *path, uint32_t len)
{
    if (!m->used)
        return;
    pathmap_entry *e = pathmap_slot(m, hash, path, len);
    if (!e->path)
        return;
    free(e->path);
    m->bytes -= e->len;
    m->used--;
    size_t mask = m->cap - 1, hole = (size_t)(e - m->entries);
    for (size_t i = (hole + 1) & mask; m->entries[i].path; i = (i + 1) & mask) {
        size_t home = m->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    m->entries[hole].path = NULL;
}

static inline void pathmap_clear(pathmap *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->entries[i].path);
    free(m->entries);
    memset(m, 0, sizeof *m);
}

#endif
