/* Every invariant of the index, checked in O(nodes x depth). For tests and for `_check()`. */
#ifndef FUSION_CHECK_H
#define FUSION_CHECK_H

#include <stdio.h>

#include "index.h"

#define CHECK(condition, ...)                      \
    do {                                           \
        if (!(condition)) {                        \
            snprintf(why, size, __VA_ARGS__);      \
            goto failed;                           \
        }                                          \
    } while (0)

static inline size_t check_arena(const arena *a, char *why, size_t size)
{
    size_t live = 0, dead = 0, at = 0;
    const uint32_t *sync = (const uint32_t *)a->sync.base;
    uint32_t first_in_block = ARENA_NONE;
    size_t block = 0;
    while (at < a->used) {
        size_t record = ARENA_HEADER + (size_t)arena_length(a->blob.base + at);
        while (at / ARENA_SYNC_BYTES > block) {
            CHECK(sync[block] == first_in_block, "arena: block %zu has a wrong sync point", block);
            first_in_block = ARENA_NONE;
            block++;
        }
        if (first_in_block == ARENA_NONE)
            first_in_block = (uint32_t)at;
        if (arena_owner(a->blob.base + at) == ARENA_DEAD)
            dead += record;
        else
            live++;
        at += record;
    }
    CHECK(sync[block] == first_in_block, "arena: block %zu has a wrong sync point", block);
    CHECK(at == a->used, "arena: the last record ends at %zu of %zu", at, a->used);
    CHECK(dead == a->dead, "arena: %zu dead bytes, %zu counted", dead, a->dead);
    return live;
failed:
    return SIZE_MAX;
}

/* Whether the images kept for open views are those that are counted, each for someone. */
static inline bool check_views(view_set *s, char *why, size_t size)
{
    size_t bytes = 0;
    bool sound = false;
    pthread_mutex_lock(&s->mutex);
    for (const view_image *image = s->oldest_image; image; image = image->after) {
        uint32_t readers = 0, closing = 0; /* of these some may have let it go */
        for (const fusion_view *v = s->open; v; v = v->next)
            if (image->from < v->epoch && v->epoch <= image->to && view_reads(v, image->kind))
                ++*(v->closing ? &closing : &readers);
        CHECK(image->readers && image->readers >= readers && image->readers <= readers + closing, "an image counts %u readers, has %u + %u",
              image->readers, readers, closing);
        CHECK(image->to <= image->block->stamp, "an image is newer than its block");
        bytes += image->bytes;
    }
    CHECK(bytes == s->image_bytes, "%zu bytes of images, %zu counted", bytes, s->image_bytes);
    sound = true;
failed:
    pthread_mutex_unlock(&s->mutex);
    return sound;
}

/* Whether every anchor that is not lost is at a place that is there, and every spot is found by its place. */
static inline bool check_anchors(fusion_index *ix, char *why, size_t size)
{
    anchor_set *s = &ix->anchors;
    uint32_t set = 0, counted = 0, spots = 0, free_spots = 0;
    bool sound = false;
    pthread_mutex_lock(&s->mutex);
    anchor_table *t = s->table;
    for (uint32_t i = 0; t && i < ANCHORS; i++) {
        const anchor *a = &t->ring[i];
        if (!a->number)
            continue;
        CHECK(a->number % ANCHORS == i && a->number <= s->newest && a->number + ANCHORS > s->newest, "anchor %u has a wrong number", i);
        set += a->spot != ANCHOR_NONE;
    }
    for (uint32_t h = 0; t && h < ANCHORS; h++)
        for (uint32_t i = t->heads[h], before = ANCHOR_NONE; i != ANCHOR_NONE; before = i, i = t->spots[i].after) {
            const anchor_spot *p = &t->spots[i];
            uint32_t anchors = 0, anchor_before = ANCHOR_NONE;
            CHECK(++spots <= s->in_use && p->before == before, "the chain of spot %u is damaged", i);
            CHECK(anchors_head(t, place_key(p->at)) == &t->heads[h] && spot_find(t, p->at) == i, "spot %u is not found by its place", i);
            CHECK(p->at.dir < ix->n_nodes && node_is_dir(&ix->nodes[p->at.dir]), "spot %u is in no directory", i);
            CHECK(p->at.node == ANCHOR_NONE || (p->at.node < ix->n_nodes && ix->nodes[p->at.node].flags & NODE_LIVE &&
                                                ix->nodes[p->at.node].parent == p->at.dir), "spot %u is behind no child", i);
            for (uint32_t a = p->first; a != ANCHOR_NONE; anchor_before = a, a = t->ring[a].after) {
                CHECK(++anchors <= p->count && t->ring[a].spot == i && t->ring[a].before == anchor_before, "anchor %u is at no spot", a);
                counted++;
            }
            CHECK(anchors == p->count && anchors, "spot %u counts %u anchors, has %u", i, p->count, anchors);
        }
    for (uint32_t i = t ? t->free_spot : ANCHOR_NONE; i != ANCHOR_NONE; i = t->spots[i].after)
        CHECK(++free_spots <= t->n_spots && !t->spots[i].count, "the free list holds the spot %u, which is in use", i);
    CHECK(spots == s->in_use && set == counted, "%u spots, %u counted; %u anchors, %u at spots", spots, s->in_use, set, counted);
    CHECK(!t || spots + free_spots == t->n_spots, "%u spots and %u free ones of %u", spots, free_spots, t->n_spots);
    sound = true;
failed:
    pthread_mutex_unlock(&s->mutex);
    return sound;
}

/* True when all is well, else false with the reason in why. */
static inline bool index_check(fusion_index *ix, char *why, size_t size)
{
    typedef struct {
        unsigned __int128 bytes;
        uint64_t files, dirs;
    } sums;
    sums *below = calloc(ix->n_dirs, sizeof *below);
    uint32_t live = 0, live_dirs = 0, free_nodes = 0, free_dirs = 0;
    size_t used_slots = 0, slot_bytes = 0, stored_paths = 0, count;
    CHECK(below, "no memory for the check");
    if (!check_views(&ix->views, why, size) || !check_anchors(ix, why, size))
        goto failed;
    CHECK(ix->owed.node == NIL, "sums are owed between changes");
    for (uint32_t id = 0; id < ix->n_nodes; id++) {
        const fusion_node *n = &ix->nodes[id];
        if (!(n->flags & NODE_LIVE)) {
            CHECK(n->flags == 0, "free node %u has flags", id);
            continue;
        }
        live++;
        CHECK(!(node_marks(ix, n) & MARK_ABOVE), "node %u keeps a sweep's mark", id);
        if (node_is_dir(n)) {
            const fusion_dir *d = &ix->dirs[n->dir];
            char path[STORED_PATH_MAX * 2];
            uint32_t children = 0, raw = 0, before = NIL;
            live_dirs++;
            CHECK(n->dir < ix->n_dirs && d->node == id, "directory record of node %u belongs to another", id);
            CHECK(d->path_len == node_path_length(ix, id), "directory %u has a wrong path length", id);
            if (id == ROOT) {
                CHECK(d->hash == ix->seed && d->path_len == 1, "the root's record is damaged");
            } else if (d->path_len <= sizeof path) {
                const fusion_dir *p = dir_of(ix, n->parent);
                node_write_path(ix, n->parent, path);
                size_t at = p->path_len > 1 ? p->path_len : 0;
                path[at++] = '/';
                memcpy(path + at, node_name(ix, n), n->name_len);
                CHECK(dir_has_path(ix, d, path, d->path_len), "directory %u does not have its path", id);
                CHECK(d->hash == path_hash(path, d->path_len, ix->seed, ix->mask), "directory %u has a wrong hash", id);
            }
            stored_paths += d->path != ARENA_NONE;
            for (uint32_t c = d->first; c != NIL; c = ix->nodes[c].next) {
                CHECK(c < ix->n_nodes && ix->nodes[c].flags & NODE_LIVE, "directory %u lists a dead child", id);
                CHECK(ix->nodes[c].parent == id, "child %u of %u has another parent", c, id);
                CHECK(ix->nodes[c].prev == before, "child %u of %u has a wrong predecessor", c, id);
                before = c;
                children++;
                raw += (ix->nodes[c].flags & NODE_RAW) != 0;
                CHECK(children <= ix->n_nodes, "directory %u has a cycle", id);
            }
            CHECK(d->last == before && d->count == children, "directory %u counts %u children, has %u", id, d->count, children);
            CHECK(d->raw_children == raw, "directory %u counts %u raw children, has %u", id, d->raw_children, raw);
        } else {
            CHECK(n->dir == NIL, "file %u has a directory record", id);
            CHECK(n->flags & NODE_DESCRIBED, "file %u is not described", id);
        }
        CHECK(n->size >= 0, "node %u has size %lld", id, (long long)n->size);
        if (!(n->flags & NODE_DESCRIBED))
            CHECK(n->size == 0 && n->mtime == 0.0 && n->ctime == 0.0, "undescribed node %u has attributes", id);
        if (id == ROOT)
            continue;
        CHECK(n->parent < ix->n_nodes && node_is_dir(&ix->nodes[n->parent]), "node %u hangs on no directory", id);
        CHECK(node_path_length(ix, id) <= ix->longest_path, "node %u has a longer path than is known", id);
        const char *record = node_name(ix, n) - ARENA_HEADER;
        CHECK(arena_owner(record) == id && arena_length(record) == n->name_len, "the name of node %u is another's", id);
        CHECK((n->flags & (NODE_ESCAPE | NODE_RAW)) == name_flags(node_name(ix, n), n->name_len), "node %u: name flags", id);
        uint64_t hash = name_hash(node_name(ix, n), n->name_len, dir_of(ix, n->parent)->hash) & ix->mask;
        CHECK(find_child(ix, n->parent, hash, node_name(ix, n), n->name_len) == id, "node %u is not found by its name", id);
        for (uint32_t up = n->parent;; up = ix->nodes[up].parent) {
            sums *s = &below[ix->nodes[up].dir];
            if (node_is_dir(n)) {
                s->dirs++;
                CHECK(dir_of(ix, up)->version >= ix->dirs[n->dir].version, "node %u is newer than one above it", id);
            } else {
                s->files++;
                s->bytes += (uint64_t)n->size;
            }
            if (up == ROOT)
                break;
        }
    }
    for (uint32_t i = 0; i < ix->n_dirs; i++) {
        const fusion_dir *d = &ix->dirs[i];
        if (d->node == NIL)
            continue;
        CHECK(d->files == below[i].files && d->dirs == below[i].dirs && dir_bytes(d) == below[i].bytes,
              "directory record %u sums up wrongly: %u files, %u directories", i, d->files, d->dirs);
        CHECK(d->version <= ix->revision, "directory record %u is newer than the index", i);
    }
    for (uint32_t id = ix->free_node; id != NIL; id = ix->nodes[id].next, free_nodes++)
        CHECK(id < ix->n_nodes && !(ix->nodes[id].flags & NODE_LIVE), "the free list holds the live node %u", id);
    for (uint32_t i = ix->free_dir; i != NIL; i = ix->dirs[i].path, free_dirs++)
        CHECK(i < ix->n_dirs && ix->dirs[i].node == NIL, "the free list holds the live directory record %u", i);
    CHECK(live == ix->live_nodes && live + free_nodes == ix->n_nodes, "%u live and %u free nodes of %u", live, free_nodes, ix->n_nodes);
    CHECK(live_dirs == ix->live_dirs && live_dirs + free_dirs == ix->n_dirs, "%u live and %u free directory records of %u", live_dirs,
          free_dirs, ix->n_dirs);
    for (uint32_t i = 0; i < SLOT_PARTITIONS; i++) {
        const slot_partition *p = &ix->slots.partitions[i];
        uint32_t used = 0;
        for (uint32_t j = 0; j < p->cap; j++)
            used += p->slots[j] != 0;
        CHECK(!p->cap || p->cap == ix->slots.classes[slot_class_after(&ix->slots, p->cap) - 1].cap, "partition %u: capacity %u", i, p->cap);
        slot_bytes += (size_t)p->cap * sizeof *p->slots;
        CHECK(used == p->used && (used < p->cap || !p->cap), "partition %u holds %u slots, counts %u", i, used, p->used);
        used_slots += used;
    }
    CHECK(used_slots + 1 == live, "%zu slots for %u nodes", used_slots, live);
    CHECK(used_slots == ix->slots.used && slot_bytes == ix->slots.bytes, "%zu slots of %zu bytes, counted %zu of %zu", used_slots,
          slot_bytes, ix->slots.used, ix->slots.bytes);
    count = check_arena(&ix->names, why, size);
    if (count == SIZE_MAX)
        goto failed;
    CHECK(count + 1 == live, "%zu names for %u nodes", count, live);
    count = check_arena(&ix->paths, why, size);
    if (count == SIZE_MAX)
        goto failed;
    CHECK(count == stored_paths, "%zu stored paths, %zu directories have one", count, stored_paths);
    const uint32_t oldest = __atomic_load_n(&ix->oldest, __ATOMIC_RELAXED); /* readers may be finding it */
    if (oldest != OLDEST_UNKNOWN) {
        double least = oldest == OLDEST_NONE ? 0.0 : ix->nodes[oldest].mtime;
        CHECK(oldest == OLDEST_NONE || (node_is_dir(&ix->nodes[oldest]) && ix->nodes[oldest].flags & NODE_DESCRIBED),
              "the oldest directory is none");
        for (uint32_t i = 1; i < ix->n_dirs; i++) {
            uint32_t id = ix->dirs[i].node;
            if (id != NIL && ix->nodes[id].flags & NODE_DESCRIBED)
                CHECK(oldest != OLDEST_NONE && ix->nodes[id].mtime >= least, "directory %u is older than the oldest", id);
        }
    }
    free(below);
    return true;
failed:
    free(below);
    return false;
}

#undef CHECK

#endif
