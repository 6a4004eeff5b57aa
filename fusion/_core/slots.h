/* The hash index: open addressing over {tag32, id32} slots in many small partitions, each grown alone.
 *
 * The top bits of a hash choose the partition, its low 32 bits are the tag; a tag's home is tag * capacity / 2^32, so a partition
 * grows and shifts without looking at the nodes. Linear probing, load <= 0.8, backward-shift deletion: there are no tombstones
 * here. Id 0 is the root, which is never looked up by hash; a zero slot is empty. */
#ifndef FUSION_SLOTS_H
#define FUSION_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_PARTITION_BITS 12
#define SLOT_PARTITIONS (1u << SLOT_PARTITION_BITS)

typedef struct {
    uint64_t *slots; /* tag << 32 | id */
    uint32_t cap, used;
} slot_partition;

typedef struct {
    slot_partition *partitions;
    size_t bytes; /* heap bytes of all slot arrays */
} slot_table;

static inline bool slots_init(slot_table *t)
{
    t->bytes = 0;
    t->partitions = calloc(SLOT_PARTITIONS, sizeof *t->partitions);
    return t->partitions != NULL;
}

static inline void slots_clear(slot_table *t)
{
    for (uint32_t i = 0; t->partitions && i < SLOT_PARTITIONS; i++) {
        free(t->partitions[i].slots);
        memset(&t->partitions[i], 0, sizeof t->partitions[i]);
    }
    t->bytes = 0;
}

static inline void slots_release(slot_table *t)
{
    slots_clear(t);
    free(t->partitions);
    t->partitions = NULL;
}

static inline slot_partition *slots_partition(const slot_table *t, uint64_t hash)
{
    return &t->partitions[hash >> (64 - SLOT_PARTITION_BITS)];
}

static inline uint32_t slot_home(uint32_t tag, uint32_t cap)
{
    return (uint32_t)((uint64_t)tag * cap >> 32);
}

static inline void slots_prefetch(const slot_table *t, uint64_t hash)
{
    const slot_partition *p = slots_partition(t, hash);
    if (p->cap)
        __builtin_prefetch(&p->slots[slot_home((uint32_t)hash, p->cap)]);
}

static inline void slot_place(uint64_t *slots, uint32_t cap, uint64_t slot)
{
    uint32_t i = slot_home((uint32_t)(slot >> 32), cap);
    while (slots[i])
        i = i + 1 == cap ? 0 : i + 1;
    slots[i] = slot;
}

/* Partitions would all be full at about the same fill; each takes its own threshold between 0.72 and 0.80. */
static inline uint32_t slot_limit(const slot_table *t, const slot_partition *p)
{
    uint32_t nth = (uint32_t)(p - t->partitions);
    return (uint32_t)((uint64_t)p->cap * (738 + (nth * 2654435761u >> 26) * 81 / 64) >> 10);
}

static inline bool slots_grow(slot_table *t, slot_partition *p)
{
    uint32_t cap = p->cap < 8 ? 8 : p->cap + p->cap / 2;
    uint64_t *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < p->cap; i++)
        if (p->slots[i])
            slot_place(slots, cap, p->slots[i]);
    free(p->slots);
    t->bytes += (size_t)(cap - p->cap) * sizeof *slots;
    p->slots = slots;
    p->cap = cap;
    return true;
}

/* Adds an id that is not there yet; false when memory is out, and nothing has changed then. */
static inline bool slots_insert(slot_table *t, uint64_t hash, uint32_t id)
{
    slot_partition *p = slots_partition(t, hash);
    if (p->used >= slot_limit(t, p) && !slots_grow(t, p))
        return false;
    slot_place(p->slots, p->cap, hash << 32 | id);
    p->used++;
    return true;
}

/* Removes an id that is there and shifts the cluster behind it back. */
static inline void slots_erase(slot_table *t, uint64_t hash, uint32_t id)
{
    slot_partition *p = slots_partition(t, hash);
    uint64_t wanted = hash << 32 | id;
    uint64_t *slots = p->slots;
    uint32_t cap = p->cap, hole = slot_home((uint32_t)hash, cap);
    while (slots[hole] != wanted)
        hole = hole + 1 == cap ? 0 : hole + 1;
    for (uint32_t i = hole;;) {
        i = i + 1 == cap ? 0 : i + 1;
        if (!slots[i])
            break;
        uint32_t home = slot_home((uint32_t)(slots[i] >> 32), cap);
        bool stays = hole <= i ? (hole < home && home <= i) : (hole < home || home <= i);
        if (!stays) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole] = 0;
    p->used--;
}

#endif
