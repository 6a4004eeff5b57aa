/* The hash index: open addressing over {tag32, id32} slots in many small partitions, each grown alone.
 *
 * The top bits of a hash choose the partition, its low 32 bits are the tag; a tag's home is tag * capacity / 2^32, so a partition
 * grows and shifts without looking at the nodes. Linear probing, load <= 0.8, backward-shift deletion: there are no tombstones
 * here. Id 0 is the root, which is never looked up by hash; a zero slot is empty.
 *
 * Partitions take their capacities from one series. All arrays of one capacity lie side by side in reserved address space, the
 * n-th partition's at the n-th place: nothing is searched for or fragments, and as partitions outgrow a capacity in about the
 * order of their numbers, what they leave behind is given back from the front. */
#ifndef FUSION_SLOTS_H
#define FUSION_SLOTS_H

#include <stdlib.h>
#include <string.h>

#include "region.h"

#define SLOT_PARTITION_BITS 12
#define SLOT_PARTITIONS (1u << SLOT_PARTITION_BITS)
#define SLOT_CLASSES 27 /* capacities, each half as large again as the one before */
#define SLOT_FIRST_CAP 8u

typedef struct {
    uint64_t *slots; /* tag << 32 | id */
    uint32_t cap, used;
} slot_partition;

typedef struct {
    region area;    /* the arrays of all partitions at this capacity; a part of the table's space */
    uint32_t cap;
    uint32_t left;  /* partitions [0, left) have outgrown it */
    size_t given;   /* bytes from the front that were given back */
} slot_class;

typedef struct {
    slot_partition *partitions;
    region space; /* of all classes */
    slot_class classes[SLOT_CLASSES];
    unsigned n_classes; /* for which address space is reserved */
    size_t bytes;       /* of all arrays in use */
    size_t used;        /* slots in use */
} slot_table;

static inline void slots_release(slot_table *t)
{
    region_release(&t->space);
    free(t->partitions);
    t->partitions = NULL;
}

static inline size_t slot_class_bytes(uint32_t cap)
{
    return SLOT_PARTITIONS * (size_t)cap * sizeof(uint64_t);
}

/* Fills in the classes for up to about `ids` ids; returns the bytes of address space that they need. */
static inline size_t slots_lay_out(slot_table *t, size_t ids)
{
    size_t bytes = 0;
    t->n_classes = 0;
    for (uint32_t cap = SLOT_FIRST_CAP; t->n_classes < SLOT_CLASSES; cap += cap / 2) {
        slot_class *c = &t->classes[t->n_classes++];
        size_t whole = slot_class_bytes(cap);
        *c = (slot_class){.cap = cap};
        c->area.base = t->space.base ? t->space.base + bytes : NULL;
        c->area.reserved = whole;
        c->area.advised = whole < REGION_HUGE_STEP ? whole : 0; /* huge pages throughout or not at all */
        bytes += (whole + REGION_HUGE_PAGE - 1) / REGION_HUGE_PAGE * REGION_HUGE_PAGE;
        if ((size_t)cap * SLOT_PARTITIONS / 4 * 3 > ids)
            break;
    }
    return bytes;
}

/* Reserves room for up to about `ids` ids; false when there is no address space. */
static inline bool slots_init(slot_table *t, size_t ids)
{
    memset(t, 0, sizeof *t);
    t->partitions = calloc(SLOT_PARTITIONS, sizeof *t->partitions);
    if (!t->partitions || !region_reserve(&t->space, slots_lay_out(t, ids))) {
        slots_release(t);
        return false;
    }
    slots_lay_out(t, ids);
    return true;
}

static inline void slots_clear(slot_table *t)
{
    for (unsigned i = 0; i < t->n_classes; i++) {
        region_trim(&t->classes[i].area, 0);
        t->classes[i].left = 0;
        t->classes[i].given = 0;
    }
    memset(t->partitions, 0, SLOT_PARTITIONS * sizeof *t->partitions);
    t->bytes = t->used = 0;
}

static inline slot_partition *slots_partition(const slot_table *t, uint64_t hash)
{
    return &t->partitions[hash >> (64 - SLOT_PARTITION_BITS)];
}

static inline uint32_t slot_home(uint32_t tag, uint32_t cap)
{
    return (uint32_t)((uint64_t)tag * cap >> 32);
}

static inline __attribute__((always_inline)) void slots_prefetch(const slot_table *t, uint64_t hash)
{
    const slot_partition *p = slots_partition(t, hash);
    if (p->cap)
        __builtin_prefetch(&p->slots[slot_home((uint32_t)hash, p->cap)]);
}

/* The first id with the hash's tag close to its home, 0 when there is none: likely the one that a lookup will find. */
static inline uint32_t slots_likely(const slot_table *t, uint64_t hash)
{
    const slot_partition *p = slots_partition(t, hash);
    if (!p->cap)
        return 0;
    const uint64_t *slot = &p->slots[slot_home((uint32_t)hash, p->cap)], *end = p->slots + p->cap;
    for (unsigned n = 0; n < 4 && slot < end && *slot; n++, slot++)
        if ((uint32_t)(*slot >> 32) == (uint32_t)hash)
            return (uint32_t)*slot;
    return 0;
}

static inline void slot_place(uint64_t *slots, uint32_t cap, uint64_t slot)
{
    uint32_t i = slot_home((uint32_t)(slot >> 32), cap);
    while (slots[i])
        i = i + 1 == cap ? 0 : i + 1;
    slots[i] = slot;
}

/* Partitions would all be full at about the same fill; each takes its own threshold, from 0.72 for the first to 0.80 for the last. */
#define SLOT_LEAST 738u /* in 1024ths */
#define SLOT_SPREAD 81u

static inline uint32_t slot_limit(uint32_t nth, uint32_t cap)
{
    return (uint32_t)((uint64_t)cap * (SLOT_LEAST + nth * SLOT_SPREAD / SLOT_PARTITIONS) >> 10);
}

/* The class of the partitions' present capacity or the next one; the number of classes when there is none. */
static inline unsigned slot_class_after(const slot_table *t, uint32_t cap)
{
    unsigned i = 0;
    while (i < t->n_classes && t->classes[i].cap <= cap)
        i++;
    return i;
}

/* Gives an empty partition its array in a class; false when the reservation ends before it. */
static inline bool slot_class_take(slot_table *t, slot_class *c, uint32_t nth)
{
    size_t array = (size_t)c->cap * sizeof(uint64_t);
    if (!region_use(&c->area, (nth + 1) * array))
        return false;
    t->partitions[nth].slots = (uint64_t *)(c->area.base + nth * array);
    t->partitions[nth].cap = c->cap;
    t->bytes += array;
    return true;
}

/* After a partition has outgrown a class: gives back the front that nobody is left in. */
static inline void slot_class_leave(slot_table *t, slot_class *c)
{
    t->bytes -= (size_t)c->cap * sizeof(uint64_t);
    while (c->left < SLOT_PARTITIONS && t->partitions[c->left].cap > c->cap)
        c->left++;
    size_t whole = slot_class_bytes(c->cap), step = whole < REGION_HUGE_STEP ? whole : REGION_HUGE_PAGE;
    size_t to = c->left == SLOT_PARTITIONS ? whole : (size_t)c->left * c->cap * sizeof(uint64_t) / step * step;
    if (to > c->given) {
        madvise(c->area.base + c->given, to - c->given, MADV_DONTNEED);
        c->given = to;
    }
}

static inline bool slots_grow(slot_table *t, slot_partition *p)
{
    slot_partition old = *p;
    uint32_t nth = (uint32_t)(p - t->partitions);
    unsigned next = slot_class_after(t, old.cap);
    if (next == t->n_classes || !slot_class_take(t, &t->classes[next], nth))
        return false;
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slots[i])
            slot_place(p->slots, p->cap, old.slots[i]);
    if (old.cap)
        slot_class_leave(t, &t->classes[next - 1]);
    return true;
}

/* Whether the id's partition has to grow before the next insert. */
static inline bool slots_full(const slot_table *t, const slot_partition *p)
{
    return p->used >= slot_limit((uint32_t)(p - t->partitions), p->cap);
}

/* Adds an id that is not there yet; false when memory is out, and nothing has changed then. */
static inline bool slots_insert(slot_table *t, uint64_t hash, uint32_t id)
{
    slot_partition *p = slots_partition(t, hash);
    if (slots_full(t, p) && !slots_grow(t, p))
        return false;
    slot_place(p->slots, p->cap, hash << 32 | id);
    p->used++;
    t->used++;
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
    t->used--;
}

/* The stretch of the class that partitions grow into now that should be backed ahead of them. With fills that scatter about their
 * mean m by its root, partitions whose threshold is not above the mean fill and three deviations are about to grow: a huge page is
 * touched by the first of many. */
static inline region_ahead slots_plan(slot_table *t)
{
    const region_ahead none = {NULL, 0};
    unsigned next = slot_class_after(t, t->partitions[SLOT_PARTITIONS - 1].cap);
    if (!next || next == t->n_classes || slot_class_bytes(t->classes[next].cap) < REGION_HUGE_STEP)
        return none;
    slot_class *c = &t->classes[next];
    uint64_t mean = t->used / SLOT_PARTITIONS, cap = t->classes[next - 1].cap;
    uint64_t root = (uint64_t)1 << (64 - __builtin_clzll(mean | 1)) / 2;
    root = (root + mean / root) / 2; /* one step of Newton's */
    uint64_t fill = (mean + 3 * root) * 1024 / cap;
    uint64_t above = fill > SLOT_LEAST ? fill - SLOT_LEAST : 0;
    size_t grown = (above < SLOT_SPREAD ? above : SLOT_SPREAD) * SLOT_PARTITIONS / SLOT_SPREAD;
    size_t from = c->area.backed, to = from + REGION_HUGE_PAGE;
    if (from >= grown * c->cap * sizeof(uint64_t))
        return none;
    if (to > c->area.reserved)
        to = c->area.reserved;
    region_use(&c->area, to);
    c->area.backed = to;
    return (region_ahead){c->area.base + from, to - from};
}

#endif
