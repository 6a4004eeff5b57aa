/* An index in a file: a header, a note of the file's user, then the arrays as they are in memory.
 *
 * Saving reads one instant through a view, a slice at a time, so that writers go on meanwhile. The header is written last and holds
 * a checksum of every section and of itself: a file that was cut short, changed or written by another version is refused.
 *
 * A file that is synced at the end is given its space at the beginning and to the disk as it grows: else the whole of it would go
 * there in one piece, and the sync of any small file would wait for that. */
#ifndef FUSION_SAVED_H
#define FUSION_SAVED_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "checksum.h"
#include "instant.h"

#define SAVED_MAGIC "FUSIONIX"
#define SAVED_VERSION 2u
#define SAVED_ORDER 0x01020304u
#define SAVED_SLICE ((size_t)1 << 20) /* bytes copied under one lock, and checksummed at once */
#define SAVED_STEP ((size_t)2 << 20)  /* bytes that go to the disk together */
#define SAVED_NOTE_MAX ((size_t)1 << 30)
#define SAVED_BAD_CONTENTS "its contents are damaged"

typedef enum {
    SAVED_NOTE, SAVED_CAPS, SAVED_SLOTS, SAVED_NODES, SAVED_DIRS, SAVED_NAMES, SAVED_PATHS, SAVED_MARKS, SAVED_SECTIONS
} saved_section;

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
    fusion_instant at;
    saved_header header;
    uint64_t offsets[SAVED_SECTIONS + 1];
    const char *note; /* the caller's */
    saved_cap *caps;  /* of all partitions */
    char *marks;
    char *slice;
    int fd;
    bool sync; /* the file will be synced: give it to the disk as it grows */
    bool done;
    saved_section section; /* what comes next: its bytes from here on */
    uint64_t from;
    uint32_t partition; /* of the slots the same: the array, and where it begins */
    uint64_t partition_at;
    uint64_t waiting; /* where in the file that begins which the disk has not been waited for */
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

/* Keeps this instant for a file; the lock is held, *w zeroed. The note stays the caller's and has to stay. False when memory is out. */
static inline bool saved_begin(saved_writer *w, fusion_index *ix, const char *note, size_t note_bytes)
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
    w->note = note;
    h->bytes[SAVED_NOTE] = note_bytes;
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
    if (!w->caps || !w->marks)
        return false;
    for (uint32_t i = 0; i < SLOT_PARTITIONS; i++)
        w->caps[i] = (saved_cap){ix->slots.partitions[i].cap, ix->slots.partitions[i].used};
    saved_map_write(saved_map_write(w->marks, &ix->tombstones), &ix->overridden);
    instant_init(&w->at, ix);
    return instant_open(&w->at, true);
}

/* Lets go of the instant and of all that it took; needs no lock. Once more does nothing. */
static inline void saved_end(saved_writer *w)
{
    instant_close(&w->at);
    free(w->caps);
    free(w->marks);
    free(w->slice);
    w->caps = NULL;
    w->marks = w->slice = NULL;
}

/* Copies the next n bytes of the section to the slice, as they were; the lock is held. */
static inline void saved_copy(saved_writer *w, size_t n)
{
    fusion_index *ix = w->at.ix;
    uint64_t from = w->from;
    char *out = w->slice;
    switch (w->section) {
    case SAVED_NOTE: memcpy(out, w->note + from, n); return;
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
        uint32_t nth = w->partition;
        uint64_t bytes = (uint64_t)w->caps[nth].cap * sizeof(uint64_t), skip = from - w->partition_at;
        if (skip == bytes) {
            w->partition_at += bytes;
            w->partition++;
            continue;
        }
        size_t part = bytes - skip < n ? (size_t)(bytes - skip) : n;
        memcpy(out, instant_block(&w->at, VIEW_SLOTS, nth, ix->slots.partitions[nth].slots) + skip, part);
        out += part;
        from += part;
        n -= part;
    }
}

/* Writes the next slice; the next section is next when this one has no more. */
static inline saved_status saved_write_slice(saved_writer *w)
{
    const uint64_t left = w->header.bytes[w->section] - w->from;
    const size_t n = left < SAVED_SLICE ? (size_t)left : SAVED_SLICE;
    uint64_t *sum = &w->header.sums[w->section];
    if (!w->from)
        *sum = w->section;
    if (!n) {
        w->section++;
        w->from = 0;
        return SAVED_OK;
    }
    pthread_rwlock_rdlock(&w->at.ix->lock);
    bool kept = instant_resume(&w->at);
    if (kept)
        saved_copy(w, n);
    pthread_rwlock_unlock(&w->at.ix->lock);
    if (!kept)
        return SAVED_NO_MEMORY;
    *sum = checksum(*sum, w->slice, n);
    if (!saved_put(w->fd, w->slice, n, w->offsets[w->section] + w->from))
        return SAVED_FAILED;
    w->from += n;
    return SAVED_OK;
}

/* Whether errno tells of the disk; else it tells that the file system cannot do what only would have been better. */
static inline bool saved_disk_failed(void)
{
    return errno == EIO || errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
}

/* Asks for the space of the whole file, so that a full disk is told before anything is written. */
static inline saved_status saved_allocate(const saved_writer *w)
{
#ifdef __linux__
    int done;
    do
        done = fallocate(w->fd, 0, 0, (off_t)w->offsets[SAVED_SECTIONS]);
    while (done && errno == EINTR);
    if (done && saved_disk_failed())
        return SAVED_FAILED;
#endif
    return SAVED_OK;
}

/* Gives bytes [from, to) to the disk and waits for those before. An error has to be told here: the fsync at the end would not tell
 * it a second time. */
static inline saved_status saved_write_back(saved_writer *w, uint64_t from, uint64_t to)
{
#ifdef __linux__
    const unsigned wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(w->fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE) && saved_disk_failed())
        return SAVED_FAILED;
    if (from > w->waiting && sync_file_range(w->fd, (off_t)w->waiting, (off_t)(from - w->waiting), wait) && saved_disk_failed())
        return SAVED_FAILED;
    w->waiting = from;
#endif
    return SAVED_OK;
}

/* The instant goes to this empty file; sync tells that it will be synced. SAVED_FAILED: errno says why. */
static inline saved_status saved_open(saved_writer *w, int fd, bool sync)
{
    w->fd = fd;
    w->sync = sync;
    w->slice = malloc(SAVED_SLICE);
    if (!w->slice)
        return SAVED_NO_MEMORY;
    return sync ? saved_allocate(w) : SAVED_OK;
}

/* Writes the next step; w->done when it was the last one. SAVED_FAILED: errno says why. */
static inline saved_status saved_write_step(saved_writer *w)
{
    const uint64_t first = w->offsets[w->section] + w->from;
    uint64_t end = first;
    saved_status status = SAVED_OK;
    while (status == SAVED_OK && w->section < SAVED_SECTIONS && end - first < SAVED_STEP) {
        status = saved_write_slice(w);
        end = w->offsets[w->section] + w->from;
    }
    if (status == SAVED_OK && w->sync)
        status = saved_write_back(w, first, end);
    if (status == SAVED_OK && w->section == SAVED_SECTIONS) {
        w->header.sum = saved_header_sum(&w->header);
        status = saved_put(w->fd, (const char *)&w->header, sizeof w->header, 0) ? SAVED_OK : SAVED_FAILED;
        w->done = true;
    }
    return status;
}

/* The bytes of the whole file. */
static inline uint64_t saved_bytes(const saved_writer *w)
{
    return w->offsets[SAVED_SECTIONS];
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

/* Reads a section, its checksum on the way. `stride`: how far `out` moves for each slice. */
static inline saved_status saved_read_slices(int fd, const saved_header *h, saved_section section, char *out, size_t stride)
{
    uint64_t offsets[SAVED_SECTIONS + 1], sum = section;
    saved_offsets(h, offsets);
    for (uint64_t from = 0; from < h->bytes[section]; from += SAVED_SLICE, out += stride) {
        size_t n = h->bytes[section] - from < SAVED_SLICE ? (size_t)(h->bytes[section] - from) : SAVED_SLICE;
        saved_status status = saved_get(fd, out, n, offsets[section] + from);
        if (status != SAVED_OK)
            return status;
        sum = checksum(sum, out, n);
    }
    return sum == h->sums[section] ? SAVED_OK : SAVED_DAMAGED;
}

/* Reads a section to `out`. */
static inline saved_status saved_read_section(int fd, const saved_header *h, saved_section section, char *out)
{
    return saved_read_slices(fd, h, section, out, SAVED_SLICE);
}

/* Checks a section without keeping it. */
static inline saved_status saved_check_section(int fd, const saved_header *h, saved_section section)
{
    char *slice = malloc(SAVED_SLICE);
    saved_status status = slice ? saved_read_slices(fd, h, section, slice, 0) : SAVED_NO_MEMORY;
    free(slice);
    return status;
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

/* Reads the whole file for its checksums alone. */
static inline saved_status saved_verify(int fd, const char **why)
{
    saved_header h;
    saved_status status = saved_read_header(fd, &h, why);
    if (status == SAVED_OK)
        *why = SAVED_BAD_CONTENTS;
    for (int section = 0; status == SAVED_OK && section < SAVED_SECTIONS; section++)
        status = saved_check_section(fd, &h, (saved_section)section);
    return status;
}

/* Fills an index that was just made with this header's seed and mask; of the note it takes the checksum only. On failure the index
 * is only good to be released. */
static inline saved_status index_load(fusion_index *ix, int fd, const saved_header *h, const char **why)
{
    *why = SAVED_BAD_CONTENTS;
    if (h->bytes[SAVED_NODES] != (uint64_t)h->n_nodes * sizeof(fusion_node) ||
        h->bytes[SAVED_DIRS] != (uint64_t)h->n_dirs * sizeof(fusion_dir))
        return SAVED_DAMAGED;
    saved_status status = saved_check_section(fd, h, SAVED_NOTE);
    if (status == SAVED_OK)
        status = saved_read_slots(fd, h, &ix->slots);
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
    if (status == SAVED_OK)
        index_measure_paths(ix);
    return status;
}

#endif
