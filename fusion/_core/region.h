/* A reserved stretch of address space that grows in place: no copy, no pointer moves, ids and offsets stay valid. */
#ifndef FUSION_REGION_H
#define FUSION_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define REGION_HUGE_STEP ((size_t)8 << 20) /* huge pages are advised in steps of this, past the first step */

typedef struct {
    char *base;
    size_t reserved; /* bytes of address space */
    size_t advised;  /* bytes from base whose paging has been decided */
} region;

/* Reserves address space, which costs no memory until it is written; false when there is none. */
static inline bool region_reserve(region *r, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    r->base = base;
    r->reserved = bytes;
    r->advised = REGION_HUGE_STEP < bytes ? REGION_HUGE_STEP : bytes; /* a small index keeps small pages */
    return true;
}

static inline void region_release(region *r)
{
    if (r->base)
        munmap(r->base, r->reserved);
    r->base = NULL;
    r->reserved = r->advised = 0;
}

/* Call before writing at [.., used): asks for huge pages ahead. False when the reservation is used up. */
static inline bool region_use(region *r, size_t used)
{
    if (__builtin_expect(used <= r->advised, 1))
        return true;
    if (used > r->reserved)
        return false;
    while (r->advised < used) {
        size_t step = r->reserved - r->advised < REGION_HUGE_STEP ? r->reserved - r->advised : REGION_HUGE_STEP;
        madvise(r->base + r->advised, step, MADV_HUGEPAGE); /* advice: refusal costs speed only */
        r->advised += step;
    }
    return true;
}

/* Gives the pages from `keep` bytes on back; they read as zero afterwards. */
static inline void region_trim(region *r, size_t keep)
{
    const size_t page = 4096;
    size_t from = (keep + page - 1) / page * page;
    if (from < r->advised)
        madvise(r->base + from, r->advised - from, MADV_DONTNEED);
}

#endif
