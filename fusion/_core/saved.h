/* An index in a file: a header, then the arrays as they are in memory.
 *
 * Saving reads one instant through a view, a slice at a time, so that writers go on meanwhile. The header is written last and holds
 * a checksum of every section and of itself: a file that was cut short, changed or written by another version is refused. */
#ifndef FUSION_SAVED_H
#define FUSION_SAVED_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "checksum.h"
#include "instant.h"

#define SAVED_MAGIC "FUSIONIX"
#define SAVED_VERSION 1u
#define SAVED_ORDER 0x01020304u
#define SAVED_SLICE ((size_t)1 << 20) /* bytes copied under one lock, and checksummed at once */

typedef enum { SAVED_CAPS, SAVED_SLOTS, SAVED_NODES, SAVED_DIRS, SAVED_NAMES, SAVED_PATHS, SAVED_MARKS, SAVED_SECTIONS } saved_section;

typedef enum { SAVED_OK = 0, SAVED_FAILED = 1, SAVED_DAMAGED = 2, SAVED_NO_MEMORY = 3 } saved_status;

typedef struct {
    uint32_t cap, used;
} saved_cap;

typedef struct {
    char magic[8];
    uint32_t version, order, node_bytes, dir_bytes, partitions, slice_bytes;
    uint64_t seed, mask, revision, window_messages;
    uint32_t n_nodes, n_dirs, live_nodes, live_dirs, free_node, free_dir, epoch, window, oldest, padding;
    uint64_t names_dead, paths_dead;
    uint64_t tombstones, overridden; /* entries of the two maps in SAVED_MARKS */
    uint64_t bytes[SAVED_SECTIONS];
    uint64_t sums[SAVED_SECTIONS];
    uint64_t sum; /* of all above */
} saved_header;

/* Where each section begins, and the file's length in the last place. */
static inline void saved_offsets(const saved_header *h, uint64_t offsets[SAVED_SECTIONS + 1])
{
    uint64_t at = sizeof *h;
    for (int s = 0; s < SAVED_SECTIONS; s++) {
        offsets[s] = at;
        at += h->bytes[s];
    }
    offsets[SAVED_SECTIONS] = at;
}

static inline uint64_t saved_header_sum(const saved_header *h)
{
    return checksum(SAVED_VERSION, (const char *)h, offsetof(saved_header, sum));
}

/* ---- maps of paths ---- */

static inline size_t saved_map_bytes(const pathmap *m)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->cap; i++)
        if (m->entries[i].path)
            bytes += sizeof(double) + sizeof(uint32_t) + m->entries[i].len;
    return bytes;
}

static inline char *saved_map_write(char *out, const pathmap *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        const pathmap_entry *e = &m->entries[i];
        if (!e->path)
            continue;
        memcpy(out, &e->value, sizeof e->value);
        memcpy(out + sizeof e->value, &e->len, sizeof e->len);
        memcpy(out + sizeof e->value + sizeof e->len, e->path, e->len);
        out += sizeof e->value + sizeof e->len + e->len;
    }
    return out;
}

/* Reads so many entries from [*p, end); SAVED_DAMAGED when they are not there. */
static inline saved_status saved_map_read(const char **p, const char *end, uint64_t entries, const fusion_index *ix, pathmap *m)
{
    for (; entries; entries--) {
        double value;
        uint32_t len;
        const char *path = *p + sizeof value + sizeof len;
        if ((size_t)(end - *p) < sizeof value + sizeof len)
            return SAVED_DAMAGED;
        memcpy(&value, *p, sizeof value);
        memcpy(&len, *p + sizeof value, sizeof len);
        if (!len || len > (size_t)(end - path))
            return SAVED_DAMAGED;
        if (!pathmap_set(m, path_hash(path, len, ix->seed, ix->mask), path, len, value))
            return SAVED_NO_MEMORY;
        *p = path + len;
    }
    return SAVED_OK;
}

/* ---- saving ---- */

typedef struct {
    int fd;
    fusion_instant at;
    saved_header header;
    uint64_t offsets[SAVED_SECTIONS + 1];
    saved_cap *caps; /* of all partitions */
    char *marks;
    char *slice;
} saved_writer;

static inline bool saved_put(int fd, const char *p, size_t n, uint64_t offset)
{
    while (n) {
        ssize_t done = pwrite(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            errno = done ? errno : EIO;
            return false;
        }
        p += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return true;
}

/* What the file says of this instant; the lock is held. False when memory is out. */
static inline bool saved_begin(saved_writer *w, fusion_index *ix)
{
    saved_header *h = &w->header;
    *h = (saved_header){.version = SAVED_VERSION, .order = SAVED_ORDER, .node_bytes = sizeof(fusion_node), .dir_bytes = sizeof(fusion_dir),
                        .partitions = SLOT_PARTITIONS, .slice_bytes = SAVED_SLICE, .seed = ix->seed, .mask = ix->mask,
                        .revision = ix->revision, .window_messages = ix->window_messages, .n_nodes = ix->n_nodes,
                        .n_dirs = ix->n_dirs, .live_nodes = ix->live_nodes, .live_dirs = ix->live_dirs,
                        .free_node = ix->free_node, .free_dir = ix->free_dir, .epoch = ix->epoch, .window = ix->window,
                        .oldest = __atomic_load_n(&ix->oldest, __ATOMIC_RELAXED), .names_dead = ix->names.dead,
                        .paths_dead = ix->paths.dead, .tombstones = ix->tombstones.used, .overridden = ix->overridden.used};
    memcpy(h->magic, SAVED_MAGIC, sizeof h->magic);
    h->bytes[SAVED_CAPS] = SLOT_PARTITIONS * sizeof(saved_cap);
    h->bytes[SAVED_SLOTS] = ix->slots.bytes;
    h->bytes[SAVED_NODES] = (uint64_t)ix->n_nodes * sizeof(fusion_node);
    h->bytes[SAVED_DIRS] = (uint64_t)ix->n_dirs * sizeof(fusion_dir);
    h->bytes[SAVED_NAMES] = ix->names.used;
    h->bytes[SAVED_PATHS] = ix->paths.used;
    h->bytes[SAVED_MARKS] = saved_map_bytes(&ix->tombstones) + saved_map_bytes(&ix->overridden);
    saved_offsets(h, w->offsets);
    w->caps = malloc(h->bytes[SAVED_CAPS]);
    w->marks = malloc(h->bytes[SAVED_MARKS] + 1);
    w->slice = malloc(SAVED_SLICE);
    if (!w->caps || !w->marks || !w->slice)
        return false;
    for (uint32_t i = 0; i < SLOT_PARTITIONS; i++)
        w->caps[i] = (saved_cap){ix->slots.partitions[i].cap, ix->slots.partitions[i].used};
    saved_map_write(saved_map_write(w->marks, &ix->tombstones), &ix->overridden);
    instant_init(&w->at, ix);
    return instant_open(&w->at, true);
}

static inline void saved_end(saved_writer *w)
{
    instant_close(&w->at);
    free(w->caps);
    free(w->marks);
    free(w->slice);
}

/* Copies bytes [from, from + n) of a section as they were; the lock is held. The slots are read on from partition *nth. */
static inline void saved_copy(saved_writer *w, saved_section section, uint64_t from, size_t n, uint32_t *nth, uint64_t *start, char *out)
{
    fusion_index *ix = w->at.ix;
    switch (section) {
    case SAVED_CAPS: memcpy(out, (char *)w->caps + from, n); return;
    case SAVED_MARKS: memcpy(out, w->marks + from, n); return;
    case SAVED_NODES:
        instant_copy(&w->at, VIEW_NODES, (char *)ix->nodes, BLOCK_RECORDS * sizeof(fusion_node), from, n, out);
        return;
    case SAVED_DIRS:
        instant_copy(&w->at, VIEW_DIRS, (char *)ix->dirs, BLOCK_RECORDS * sizeof(fusion_dir), from, n, out);
        return;
    case SAVED_NAMES: instant_copy(&w->at, VIEW_NAMES, ix->names.blob.base, BLOCK_BYTES, from, n, out); return;
    case SAVED_PATHS: instant_copy(&w->at, VIEW_PATHS, ix->paths.blob.base, BLOCK_BYTES, from, n, out); return;
    default: break;
    }
    while (n) {
        uint64_t bytes = (uint64_t)w->caps[*nth].cap * sizeof(uint64_t), skip = from - *start;
        if (skip == bytes) {
            *start += bytes;
            ++*nth;
            continue;
        }
        size_t part = bytes - skip < n ? (size_t)(bytes - skip) : n;
        memcpy(out, instant_block(&w->at, VIEW_SLOTS, *nth, ix->slots.partitions[*nth].slots) + skip, part);
        out += part;
        from += part;
        n -= part;
    }
}

static inline saved_status saved_write_section(saved_writer *w, saved_section section)
{
    pthread_rwlock_t *lock = &w->at.ix->lock;
    uint64_t bytes = w->header.bytes[section], sum = section, start = 0;
    uint32_t nth = 0;
    for (uint64_t from = 0; from < bytes; from += SAVED_SLICE) {
        size_t n = bytes - from < SAVED_SLICE ? (size_t)(bytes - from) : SAVED_SLICE;
        pthread_rwlock_rdlock(lock);
        bool kept = instant_resume(&w->at);
        if (kept)
            saved_copy(w, section, from, n, &nth, &start, w->slice);
        pthread_rwlock_unlock(lock);
        if (!kept)
            return SAVED_NO_MEMORY;
        sum = checksum(sum, w->slice, n);
        if (!saved_put(w->fd, w->slice, n, w->offsets[section] + from))
            return SAVED_FAILED;
    }
    w->header.sums[section] = sum;
    return SAVED_OK;
}

/* Writes the instant that was begun, and frees what that took. SAVED_FAILED: errno says why. */
static inline saved_status saved_finish(saved_writer *w, uint64_t *bytes)
{
    saved_status status = SAVED_OK;
    for (int section = 0; status == SAVED_OK && section < SAVED_SECTIONS; section++)
        status = saved_write_section(w, (saved_section)section);
    if (status == SAVED_OK) {
        w->header.sum = saved_header_sum(&w->header);
        *bytes = w->offsets[SAVED_SECTIONS];
        status = saved_put(w->fd, (const char *)&w->header, sizeof w->header, 0) ? SAVED_OK : SAVED_FAILED;
    }
    int why = errno;
    saved_end(w);
    errno = why;
    return status;
}

/* Writes the index as it is at this instant to an empty file. SAVED_FAILED: errno says why. */
static inline saved_status index_save(fusion_index *ix, int fd, uint64_t *bytes)
{
    saved_writer w = {.fd = fd};
    pthread_rwlock_rdlock(&ix->lock);
    bool begun = saved_begin(&w, ix);
    pthread_rwlock_unlock(&ix->lock);
    if (begun)
        return saved_finish(&w, bytes);
    saved_end(&w);
    return SAVED_NO_MEMORY;
}

/* ---- loading ---- */

static inline saved_status saved_get(int fd, char *p, size_t n, uint64_t offset)
{
    while (n) {
        ssize_t done = pread(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? SAVED_FAILED : SAVED_DAMAGED;
        p += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return SAVED_OK;
}

/* Reads the header and checks all that can be told from it and the file's length; `why` gets a reason when it is refused. */
static inline saved_status saved_read_header(int fd, saved_header *h, const char **why)
{
    uint64_t offsets[SAVED_SECTIONS + 1];
    *why = "it is no saved index";
    saved_status status = saved_get(fd, (char *)h, sizeof *h, 0);
    if (status != SAVED_OK)
        return status;
    if (memcmp(h->magic, SAVED_MAGIC, sizeof h->magic) != 0)
        return SAVED_DAMAGED;
    *why = "it was saved by another version or on another kind of machine";
    if (h->version != SAVED_VERSION || h->order != SAVED_ORDER || h->node_bytes != sizeof(fusion_node) ||
        h->dir_bytes != sizeof(fusion_dir) || h->partitions != SLOT_PARTITIONS || h->slice_bytes != SAVED_SLICE)
        return SAVED_DAMAGED;
    *why = "its header is damaged";
    if (h->sum != saved_header_sum(h))
        return SAVED_DAMAGED;
    *why = "it is cut short";
    saved_offsets(h, offsets);
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return SAVED_FAILED;
    return (uint64_t)end == offsets[SAVED_SECTIONS] ? SAVED_OK : SAVED_DAMAGED;
}

/* Reads a section to `out`, its checksum on the way. */
static inline saved_status saved_read_section(int fd, const saved_header *h, saved_section section, char *out)
{
    uint64_t offsets[SAVED_SECTIONS + 1], sum = section;
    saved_offsets(h, offsets);
    for (uint64_t from = 0; from < h->bytes[section]; from += SAVED_SLICE) {
        size_t n = h->bytes[section] - from < SAVED_SLICE ? (size_t)(h->bytes[section] - from) : SAVED_SLICE;
        saved_status status = saved_get(fd, out + from, n, offsets[section] + from);
        if (status != SAVED_OK)
            return status;
        sum = checksum(sum, out + from, n);
    }
    return sum == h->sums[section] ? SAVED_OK : SAVED_DAMAGED;
}

static inline saved_status saved_read_region(int fd, const saved_header *h, saved_section section, region *r)
{
    if (h->bytes[section] >= r->reserved || !region_use(r, h->bytes[section] + ARENA_SLACK))
        return SAVED_NO_MEMORY;
    return saved_read_section(fd, h, section, r->base);
}

/* Finds the sync points and the free records of a blob that was just read; SAVED_DAMAGED when its records do not add up. */
static inline saved_status saved_adopt_arena(arena *a, size_t used, size_t dead)
{
    size_t at = 0, found = 0;
    while (at < used) {
        const char *record = a->blob.base + at;
        size_t bytes = used - at < ARENA_HEADER ? used + 1 : ARENA_HEADER + (size_t)arena_length(record);
        if (bytes > used - at)
            return SAVED_DAMAGED;
        arena_sync(a, at, bytes);
        if (arena_owner(record) == ARENA_DEAD) {
            arena_remember(a, (uint32_t)(at + ARENA_HEADER));
            found += bytes;
        }
        at += bytes;
    }
    a->used = used;
    a->dead = dead;
    return found == dead ? SAVED_OK : SAVED_DAMAGED;
}

/* Gives every partition its array. */
static inline saved_status saved_read_caps(int fd, const saved_header *h, slot_table *t)
{
    saved_cap *caps = malloc(h->bytes[SAVED_CAPS] + 1);
    bool whole = h->bytes[SAVED_CAPS] == SLOT_PARTITIONS * sizeof *caps;
    saved_status status = !whole ? SAVED_DAMAGED : caps ? saved_read_section(fd, h, SAVED_CAPS, (char *)caps) : SAVED_NO_MEMORY;
    for (uint32_t nth = 0; status == SAVED_OK && nth < SLOT_PARTITIONS; nth++) {
        unsigned next = slot_class_after(t, caps[nth].cap);
        if (!caps[nth].cap)
            continue;
        if (t->classes[next - 1].cap != caps[nth].cap || !slot_class_take(t, &t->classes[next - 1], nth))
            status = SAVED_NO_MEMORY; /* of a larger index than this one may become */
        t->partitions[nth].used = caps[nth].used;
        t->used += caps[nth].used;
    }
    free(caps);
    return status == SAVED_OK && t->bytes != h->bytes[SAVED_SLOTS] ? SAVED_DAMAGED : status;
}

static inline saved_status saved_read_slots(int fd, const saved_header *h, slot_table *t)
{
    uint64_t offsets[SAVED_SECTIONS + 1], sum = SAVED_SLOTS;
    saved_offsets(h, offsets);
    char *slice = malloc(SAVED_SLICE);
    saved_status status = slice ? saved_read_caps(fd, h, t) : SAVED_NO_MEMORY;
    const slot_partition *p = t->partitions;
    size_t filled = 0; /* bytes of p */
    for (uint64_t from = 0; status == SAVED_OK && from < h->bytes[SAVED_SLOTS]; from += SAVED_SLICE) {
        size_t n = h->bytes[SAVED_SLOTS] - from < SAVED_SLICE ? (size_t)(h->bytes[SAVED_SLOTS] - from) : SAVED_SLICE;
        status = saved_get(fd, slice, n, offsets[SAVED_SLOTS] + from);
        sum = checksum(sum, slice, n);
        for (size_t done = 0, part; status == SAVED_OK && done < n; done += part) {
            for (; filled == p->cap * sizeof *p->slots; filled = 0)
                p++;
            part = p->cap * sizeof *p->slots - filled;
            part = part < n - done ? part : n - done;
            memcpy((char *)p->slots + filled, slice + done, part);
            filled += part;
        }
    }
    free(slice);
    return status == SAVED_OK && sum != h->sums[SAVED_SLOTS] ? SAVED_DAMAGED : status;
}

static inline saved_status saved_read_marks(int fd, const saved_header *h, fusion_index *ix)
{
    char *marks = malloc(h->bytes[SAVED_MARKS] + 1);
    const char *p = marks, *end = marks + h->bytes[SAVED_MARKS];
    saved_status status = marks ? saved_read_section(fd, h, SAVED_MARKS, marks) : SAVED_NO_MEMORY;
    if (status == SAVED_OK)
        status = saved_map_read(&p, end, h->tombstones, ix, &ix->tombstones);
    if (status == SAVED_OK)
        status = saved_map_read(&p, end, h->overridden, ix, &ix->overridden);
    free(marks);
    return status;
}

/* Fills an index that was just made with this header's seed and mask. On failure it is only good to be released. */
static inline saved_status index_load(fusion_index *ix, int fd, const saved_header *h, const char **why)
{
    *why = "its contents are damaged";
    if (h->bytes[SAVED_NODES] != (uint64_t)h->n_nodes * sizeof(fusion_node) ||
        h->bytes[SAVED_DIRS] != (uint64_t)h->n_dirs * sizeof(fusion_dir))
        return SAVED_DAMAGED;
    saved_status status = saved_read_slots(fd, h, &ix->slots);
    if (status == SAVED_OK)
        status = saved_read_region(fd, h, SAVED_NODES, &ix->nodes_region);
    if (status == SAVED_OK)
        status = saved_read_region(fd, h, SAVED_DIRS, &ix->dirs_region);
    if (status == SAVED_OK)
        status = saved_read_region(fd, h, SAVED_NAMES, &ix->names.blob);
    if (status == SAVED_OK)
        status = saved_read_region(fd, h, SAVED_PATHS, &ix->paths.blob);
    if (status == SAVED_OK)
        status = saved_adopt_arena(&ix->names, h->bytes[SAVED_NAMES], h->names_dead);
    if (status == SAVED_OK)
        status = saved_adopt_arena(&ix->paths, h->bytes[SAVED_PATHS], h->paths_dead);
    if (status == SAVED_OK)
        status = saved_read_marks(fd, h, ix);
    ix->n_nodes = h->n_nodes;
    ix->n_dirs = h->n_dirs;
    ix->live_nodes = h->live_nodes;
    ix->live_dirs = h->live_dirs;
    ix->free_node = h->free_node;
    ix->free_dir = h->free_dir;
    ix->revision = h->revision;
    ix->epoch = h->epoch;
    ix->window = h->window;
    ix->window_messages = h->window_messages;
    ix->oldest = h->oldest;
    return status;
}

#endif
