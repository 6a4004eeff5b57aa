/* A reserved stretch of address space that grows in place: no copy, no pointer moves, ids and offsets stay valid. */
#ifndef FUSION_REGION_H
#define FUSION_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; refused before */
#endif

#define REGION_PAGE ((size_t)4096)
#define REGION_HUGE_PAGE ((size_t)2 << 20)
#define REGION_HUGE_STEP ((size_t)8 << 20) /* huge pages are advised in steps of this, past the first step */

typedef struct {
    char *base;
    size_t reserved; /* bytes of address space */
    size_t advised;  /* bytes from base whose paging has been decided */
    size_t backed;   /* bytes from base for which memory has been asked ahead of its use */
} region;

/* A stretch to be backed with memory before it is written. */
typedef struct {
    char *from;
    size_t bytes;
} region_ahead;

/* Reserves address space, which costs no memory until it is written; false when there is none. */
static inline bool region_reserve(region *r, size_t bytes)
{
    size_t whole = bytes + REGION_HUGE_PAGE; /* huge pages lie on their own boundaries, and so does the base */
    char *base = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    size_t before = (size_t)(-(uintptr_t)base & (REGION_HUGE_PAGE - 1));
    bytes = (bytes + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
    if (before)
        munmap(base, before);
    if (whole > before + bytes)
        munmap(base + before + bytes, whole - before - bytes);
    r->base = base + before;
    r->reserved = bytes;
    r->advised = REGION_HUGE_STEP < bytes ? REGION_HUGE_STEP : bytes; /* a small index keeps small pages */
    r->backed = 0;
    return true;
}

static inline void region_release(region *r)
{
    if (r->base)
        munmap(r->base, r->reserved);
    r->base = NULL;
    r->reserved = r->advised = r->backed = 0;
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

/* What lies ahead of the `used` bytes and should be backed now; none for a small region. The first write to a page waits for the
 * kernel, and to one that the machine's host has not backed yet for milliseconds: that is better done without a lock. */
static inline region_ahead region_plan(region *r, size_t used)
{
    region_ahead none = {NULL, 0};
    size_t ahead = used / 8 < REGION_HUGE_PAGE / 2 ? used / 8 : REGION_HUGE_PAGE / 2;
    if (ahead < 16 * REGION_PAGE || used + ahead <= r->backed)
        return none;
    size_t from = r->backed > used ? r->backed : used;
    from = (from + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
    size_t step = used < REGION_HUGE_STEP ? ahead : REGION_HUGE_PAGE;
    size_t to = (from + step) / step * step; /* the end of a huge page where there are such */
    to = (to + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
    if (to > r->reserved || !region_use(r, to))
        return none;
    r->backed = to;
    return (region_ahead){r->base + from, to - from};
}

/* Backs what was planned; needs no lock. */
static inline void region_back(region_ahead ahead)
{
    if (ahead.bytes)
        madvise(ahead.from, ahead.bytes, MADV_POPULATE_WRITE); /* refused: the writes will do it */
}

/* Gives the pages from `keep` bytes on back; they read as zero afterwards. */
static inline void region_trim(region *r, size_t keep)
{
    size_t from = (keep + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
    if (from < r->advised)
        madvise(r->base + from, r->advised - from, MADV_DONTNEED);
    if (r->backed > from)
        r->backed = from;
}

#endif
