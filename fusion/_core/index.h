/* Changes to the tree: insert, update, delete, and the sums that every directory keeps of what is below it.
 *
 * The caller holds the write lock. A function that can run out of memory returns false (or NIL) with the tree still sound. */
#ifndef FUSION_INDEX_H
#define FUSION_INDEX_H

#include <sys/resource.h>

#include "touch.h"
#include "utf8.h"

#define INDEX_MAX_SHIFT 10 /* a million nodes */

static inline void index_release(fusion_index *ix)
{
    region_release(&ix->nodes_region);
    region_release(&ix->dirs_region);
    arena_release(&ix->names);
    arena_release(&ix->paths);
    slots_release(&ix->slots);
    pathmap_clear(&ix->tombstones);
    pathmap_clear(&ix->overridden);
    views_release(&ix->views);
    anchors_release(&ix->anchors);
    pthread_rwlock_destroy(&ix->lock);
}

/* The tree of nothing but an undescribed root, in zeroed regions. */
static inline void index_plant_root(fusion_index *ix)
{
    ix->nodes = (fusion_node *)ix->nodes_region.base;
    ix->dirs = (fusion_dir *)ix->dirs_region.base;
    ix->nodes[ROOT] = (fusion_node){.dir = 0, .next = NIL, .prev = NIL, .name = ARENA_NONE, .flags = NODE_LIVE | NODE_DIR};
    ix->dirs[0] = (fusion_dir){.hash = ix->seed, .version = ix->revision, .node = ROOT, .first = NIL, .last = NIL,
                               .path = ARENA_NONE, .path_len = 1};
    ix->n_nodes = ix->live_nodes = 1;
    ix->n_dirs = ix->live_dirs = 1;
    ix->free_node = ix->free_dir = NIL;
    ix->owed.node = NIL;
    ix->oldest = OLDEST_NONE;
}

/* How far the reservations must shrink for several indexes, and all else, to fit below the limit of the address space. */
static inline unsigned index_first_shift(void)
{
    slot_table slots = {0};
    const size_t whole = MAX_NODES * sizeof(fusion_node) + MAX_DIRS * sizeof(fusion_dir) + 2 * (size_t)UINT32_MAX +
                         slots_lay_out(&slots, MAX_NODES);
    struct rlimit limit;
    unsigned shift = 0;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        while (shift < INDEX_MAX_SHIFT && whole >> shift > limit.rlim_cur / 8)
            shift++;
    return shift;
}

/* Reserves every region, 2^shift times smaller than usual; all or none. */
static inline bool index_reserve(fusion_index *ix, unsigned shift)
{
    if (region_reserve(&ix->nodes_region, (MAX_NODES * sizeof(fusion_node)) >> shift) &&
        region_reserve(&ix->dirs_region, (MAX_DIRS * sizeof(fusion_dir)) >> shift) &&
        arena_init(&ix->names, (size_t)UINT32_MAX >> shift) && arena_init(&ix->paths, (size_t)UINT32_MAX >> shift) &&
        slots_init(&ix->slots, MAX_NODES >> shift))
        return true;
    region_release(&ix->nodes_region);
    region_release(&ix->dirs_region);
    arena_release(&ix->names);
    arena_release(&ix->paths);
    return false;
}

static inline bool index_init(fusion_index *ix, uint64_t seed, uint64_t mask)
{
    memset(ix, 0, sizeof *ix);
    ix->seed = seed;
    ix->mask = mask;
    unsigned shift = index_first_shift();
    while (!index_reserve(ix, shift)) {
        if (++shift > INDEX_MAX_SHIFT)
            return false;
    }
    index_plant_root(ix);
    ix->longest_path = 1; /* the root's */
    views_init(&ix->views);
    anchors_init(&ix->anchors);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&ix->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return true;
}

/* ---- sums ---- */

/* Adds to a directory and all above it, and stamps them with this revision. */
static inline void index_add_up(fusion_index *ix, uint32_t dir, int64_t files, int64_t dirs, __int128 bytes)
{
    for (;;) {
        fusion_node *n = &ix->nodes[dir];
        fusion_dir *d = &ix->dirs[n->dir];
        dir_touch(ix, n->dir);
        d->files += (uint32_t)files;
        d->dirs += (uint32_t)dirs;
        if (bytes)
            dir_add_bytes(d, bytes);
        d->version = ix->revision;
        if (dir == ROOT)
            return;
        dir = n->parent;
    }
}

/* Pays what the current run owes. Needed before anything reads sums or takes nodes away. */
static inline void index_settle(fusion_index *ix)
{
    uint32_t dir = ix->owed.node;
    if (dir == NIL)
        return;
    ix->owed.node = NIL;
    index_add_up(ix, dir, ix->owed.files, ix->owed.dirs, ix->owed.bytes);
}

static inline void index_owe(fusion_index *ix, uint32_t dir, int64_t files, int64_t dirs, __int128 bytes)
{
    if (ix->owed.node != dir) {
        index_settle(ix);
        ix->owed.node = dir;
        ix->owed.files = ix->owed.dirs = 0;
        ix->owed.bytes = 0;
    }
    ix->owed.files += files;
    ix->owed.dirs += dirs;
    ix->owed.bytes += bytes;
}

/* ---- the oldest described directory ---- */

static inline void oldest_forget(fusion_index *ix, uint32_t id)
{
    if (ix->oldest == id)
        ix->oldest = OLDEST_UNKNOWN;
}

static inline void oldest_consider(fusion_index *ix, uint32_t id)
{
    if (id == ROOT || ix->oldest == OLDEST_UNKNOWN)
        return;
    if (ix->oldest == OLDEST_NONE || ix->nodes[id].mtime < ix->nodes[ix->oldest].mtime)
        ix->oldest = id;
}

/* Readers call this too: they all find the same answer, so a relaxed store is enough. */
static inline uint32_t index_oldest(fusion_index *ix)
{
    uint32_t oldest = __atomic_load_n(&ix->oldest, __ATOMIC_RELAXED);
    if (oldest != OLDEST_UNKNOWN)
        return oldest;
    oldest = OLDEST_NONE;
    for (uint32_t i = 1; i < ix->n_dirs; i++) {
        uint32_t id = ix->dirs[i].node;
        if (id == NIL || !(ix->nodes[id].flags & NODE_DESCRIBED))
            continue;
        if (oldest == OLDEST_NONE || ix->nodes[id].mtime < ix->nodes[oldest].mtime)
            oldest = id;
    }
    __atomic_store_n(&ix->oldest, oldest, __ATOMIC_RELAXED);
    return oldest;
}

/* ---- records ---- */

static inline uint32_t node_take(fusion_index *ix)
{
    uint32_t id = ix->free_node;
    if (id != NIL) {
        ix->free_node = ix->nodes[id].next;
    } else {
        if (ix->n_nodes == MAX_NODES || !region_use(&ix->nodes_region, ((size_t)ix->n_nodes + 1) * sizeof(fusion_node)))
            return NIL;
        id = ix->n_nodes++;
        if (id % BLOCK_RECORDS == 0)
            views_begin(&ix->views, VIEW_NODES, id / BLOCK_RECORDS);
    }
    ix->live_nodes++;
    return id;
}

static inline void node_give_back(fusion_index *ix, uint32_t id)
{
    node_touch(ix, id);
    ix->nodes[id].flags = 0;
    ix->nodes[id].next = ix->free_node;
    ix->free_node = id;
    ix->live_nodes--;
}

/* Makes a node a directory without children; false when memory is out. */
static inline bool dir_make(fusion_index *ix, uint32_t id, uint64_t hash)
{
    fusion_node *n = &ix->nodes[id];
    const fusion_dir *parent = dir_of(ix, n->parent);
    uint32_t path_len = parent->path_len + (parent->path_len > 1) + n->name_len;
    uint32_t i = ix->free_dir;
    if (i != NIL) {
        ix->free_dir = ix->dirs[i].path;
    } else {
        if (ix->n_dirs == MAX_DIRS || !region_use(&ix->dirs_region, ((size_t)ix->n_dirs + 1) * sizeof(fusion_dir)))
            return false;
        i = ix->n_dirs++;
        if (i % BLOCK_RECORDS == 0)
            views_begin(&ix->views, VIEW_DIRS, i / BLOCK_RECORDS);
    }
    node_touch(ix, id);
    dir_touch(ix, i);
    ix->dirs[i] = (fusion_dir){.hash = hash, .version = ix->revision, .node = id, .first = NIL, .last = NIL,
                               .path = ARENA_NONE, .path_len = path_len};
    if (path_len <= STORED_PATH_MAX) {
        char path[STORED_PATH_MAX];
        node_write_path(ix, id, path);                                    /* the node is no directory yet */
        ix->dirs[i].path = path_put(ix, i, path, (uint16_t)path_len); /* a full arena: verified by name */
    }
    n->dir = i;
    n->flags |= NODE_DIR;
    ix->live_dirs++;
    return true;
}

/* Takes the directory record away from a node without children. */
static inline void dir_unmake(fusion_index *ix, uint32_t id)
{
    fusion_node *n = &ix->nodes[id];
    fusion_dir *d = &ix->dirs[n->dir];
    oldest_forget(ix, id);
    if (__builtin_expect(ix->anchors.in_use != 0, 0))
        anchors_forget(&ix->anchors, id, true);
    if (d->path != ARENA_NONE)
        path_free(ix, d->path);
    node_touch(ix, id);
    dir_touch(ix, n->dir);
    d->node = NIL;
    d->path = ix->free_dir;
    ix->free_dir = n->dir;
    n->dir = NIL;
    n->flags &= (uint16_t)~NODE_DIR;
    ix->live_dirs--;
}

/* Whether any of eight bytes needs an escape in JSON or is beyond ASCII. A borrow marks a byte wrongly only above one marked rightly. */
static inline uint64_t eight_odd(uint64_t text)
{
    const uint64_t ones = 0x0101010101010101u;
    return ((text - ones * ' ') | ((text ^ ones * '"') - ones) | ((text ^ ones * '\\') - ones) | text) & ones * 0x80;
}

/* Whether a name surely stands in JSON as it is: false says nothing. */
static inline bool name_is_plain(const char *name, size_t len)
{
    uint64_t odd = 0;
    size_t done = 0;
    for (; done + 8 < len; done += 8)
        odd |= eight_odd(hash_load8(name + done));
    if (len >= 8)
        odd |= eight_odd(hash_load8(name + len - 8));
    else if (len >= 4)
        odd |= eight_odd(hash_load4(name) | hash_load4(name + len - 4) << 32);
    else
        return false; /* a byte or three are looked at one by one */
    return !odd;
}

/* NODE_ESCAPE and NODE_RAW as they apply to a name. */
static inline uint16_t name_flags(const char *name, size_t len)
{
    if (name_is_plain(name, len))
        return 0;
    const unsigned char *p = (const unsigned char *)name, *end = p + len;
    uint16_t flags = 0;
    while (p < end) {
        if (*p < 0x80) {
            if (*p < 0x20 || *p == '"' || *p == '\\')
                flags |= NODE_ESCAPE;
            p++;
            continue;
        }
        size_t n = utf8_sequence(p, (size_t)(end - p));
        if (!n)
            return NODE_ESCAPE | NODE_RAW;
        p += n;
    }
    return flags;
}

/* A new last child, undescribed, without a directory record; sums are the caller's. NIL when memory is out. */
static inline uint32_t node_attach(fusion_index *ix, uint32_t parent, uint64_t hash, const char *name, size_t len)
{
    uint32_t id = node_take(ix);
    if (id == NIL)
        return NIL;
    uint32_t offset = name_put(ix, id, name, (uint16_t)len);
    if (offset == ARENA_NONE || !key_insert(ix, hash, id)) {
        if (offset != ARENA_NONE)
            name_free(ix, offset);
        node_give_back(ix, id);
        return NIL;
    }
    fusion_dir *d = dir_of(ix, parent);
    node_touch(ix, id);
    dir_touch(ix, ix->nodes[parent].dir);
    ix->nodes[id] = (fusion_node){.parent = parent, .dir = NIL, .next = NIL, .prev = d->last, .name = offset,
                                  .name_len = (uint16_t)len, .flags = NODE_LIVE | name_flags(name, len)};
    if (d->last == NIL) {
        d->first = id;
    } else {
        node_touch(ix, d->last);
        ix->nodes[d->last].next = id;
    }
    d->last = id;
    d->count++;
    d->raw_children += (ix->nodes[id].flags & NODE_RAW) != 0;
    uint32_t path_len = d->path_len + (d->path_len > 1) + (uint32_t)len;
    if (path_len > ix->longest_path)
        ix->longest_path = path_len;
    return id;
}

/* Finds the longest path of those that are there. */
static inline void index_measure_paths(fusion_index *ix)
{
    for (uint32_t id = 0; id < ix->n_nodes; id++) {
        size_t len = ix->nodes[id].flags & NODE_LIVE ? node_path_length(ix, id) : 0;
        if (len > ix->longest_path)
            ix->longest_path = (uint32_t)len;
    }
}

/* ---- deletion ---- */

#define ERASE_AHEAD 64

/* Frees all nodes of a sibling chain and everything below them. Their records stay readable until they are taken again, so a
 * child finds its parent's hash even when the parent went first. */
static inline void nodes_free_chain(fusion_index *ix, uint32_t head)
{
    struct {
        uint64_t hash;
        uint32_t id;
    } batch[ERASE_AHEAD];
    const bool anchored = ix->anchors.in_use != 0;
    while (head != NIL) {
        size_t n = 0;
        for (; n < ERASE_AHEAD && head != NIL; n++) {
            fusion_node *node = &ix->nodes[head];
            const fusion_dir *parent = dir_of(ix, node->parent);
            batch[n].id = head;
            batch[n].hash = name_hash(node_name(ix, node), node->name_len, parent->hash) & ix->mask;
            slots_prefetch(&ix->slots, batch[n].hash);
            uint32_t next = node->next;
            if (node_is_dir(node) && ix->dirs[node->dir].first != NIL) {
                node_touch(ix, ix->dirs[node->dir].last);
                ix->nodes[ix->dirs[node->dir].last].next = next; /* its children come next: no stack */
                next = ix->dirs[node->dir].first;
            }
            head = next;
            if (head != NIL)
                __builtin_prefetch(&ix->nodes[head]);
        }
        for (size_t i = 0; i < n; i++) {
            fusion_node *node = &ix->nodes[batch[i].id];
            key_erase(ix, batch[i].hash, batch[i].id);
            name_free(ix, node->name);
        }
        for (size_t i = 0; i < n; i++) {
            fusion_node *node = &ix->nodes[batch[i].id];
            if (node_is_dir(node)) {
                fusion_dir *d = &ix->dirs[node->dir];
                oldest_forget(ix, batch[i].id);
                if (d->path != ARENA_NONE)
                    path_free(ix, d->path);
                dir_touch(ix, node->dir);
                d->node = NIL;
                d->path = ix->free_dir;
                ix->free_dir = node->dir;
                ix->live_dirs--;
            }
            if (__builtin_expect(anchored, 0))
                anchors_forget(&ix->anchors, batch[i].id, false);
            node_give_back(ix, batch[i].id);
        }
    }
}

static inline void node_moved(void *ctx, uint32_t owner, uint32_t offset)
{
    ((fusion_index *)ctx)->nodes[owner].name = offset;
}

static inline void dir_moved(void *ctx, uint32_t owner, uint32_t offset)
{
    ((fusion_index *)ctx)->dirs[owner].path = offset;
}

static inline void index_compact(fusion_index *ix)
{
    bool names = arena_wants_compaction(&ix->names), paths = arena_wants_compaction(&ix->paths);
    if (!names && !paths)
        return;
    index_touch_all(ix);
    if (names)
        arena_compact(&ix->names, node_moved, ix);
    if (paths)
        arena_compact(&ix->paths, dir_moved, ix);
}

/* Removes everything below a directory; returns the number of nodes. */
static inline uint32_t index_empty_dir(fusion_index *ix, uint32_t id)
{
    index_settle(ix);
    fusion_dir *d = dir_of(ix, id);
    uint32_t removed = d->files + d->dirs;
    if (!removed)
        return 0;
    uint32_t first = d->first;
    nodes_free_chain(ix, first);
    index_add_up(ix, id, -(int64_t)d->files, -(int64_t)d->dirs, -(__int128)dir_bytes(d)); /* and touches it */
    d->first = d->last = NIL;
    d->count = d->raw_children = 0;
    return removed;
}

/* Removes a node other than the root with all below it; returns the number of nodes. */
static inline uint32_t index_remove(fusion_index *ix, uint32_t id)
{
    index_settle(ix);
    fusion_node *n = &ix->nodes[id];
    uint32_t parent = n->parent;
    fusion_dir *p = dir_of(ix, parent);
    int64_t files = 1, dirs = 0;
    __int128 bytes = n->size;
    if (node_is_dir(n)) {
        const fusion_dir *d = &ix->dirs[n->dir];
        files = d->files;
        dirs = (int64_t)d->dirs + 1;
        bytes = (__int128)dir_bytes(d);
    }
    if (__builtin_expect(ix->anchors.in_use != 0, 0))
        anchors_step_back(&ix->anchors, parent, id, n->prev);
    node_touch(ix, id);
    dir_touch(ix, ix->nodes[parent].dir);
    if (n->prev == NIL) {
        p->first = n->next;
    } else {
        node_touch(ix, n->prev);
        ix->nodes[n->prev].next = n->next;
    }
    if (n->next == NIL) {
        p->last = n->prev;
    } else {
        node_touch(ix, n->next);
        ix->nodes[n->next].prev = n->prev;
    }
    p->count--;
    p->raw_children -= (n->flags & NODE_RAW) != 0;
    n->next = NIL;
    nodes_free_chain(ix, id);
    index_add_up(ix, parent, -files, -dirs, -bytes);
    return (uint32_t)(files + dirs);
}

/* Takes back a node that was attached and is not in the sums yet. */
static inline void node_withdraw(fusion_index *ix, uint32_t id)
{
    index_settle(ix);
    index_add_up(ix, ix->nodes[id].parent, 1, 0, 0);
    index_remove(ix, id);
}

/* ---- type switches and parents ---- */

/* Turns a file into an undescribed directory at its place. */
static inline bool node_to_dir(fusion_index *ix, uint32_t id)
{
    fusion_node *n = &ix->nodes[id];
    uint64_t hash = name_hash(node_name(ix, n), n->name_len, dir_of(ix, n->parent)->hash) & ix->mask;
    if (!dir_make(ix, id, hash))
        return false;
    index_settle(ix);
    index_add_up(ix, n->parent, -1, 1, -(__int128)n->size);
    node_touch(ix, id);
    n->flags &= (uint16_t)~NODE_DESCRIBED;
    n->size = 0;
    n->mtime = n->ctime = 0.0;
    return true;
}

/* Turns a directory into an undescribed file of size 0 at its place; what was below goes. */
static inline uint32_t node_to_file(fusion_index *ix, uint32_t id)
{
    uint32_t removed = index_empty_dir(ix, id);
    fusion_node *n = &ix->nodes[id];
    dir_unmake(ix, id);
    index_add_up(ix, n->parent, 1, -1, 0);
    node_touch(ix, id);
    n->flags &= (uint16_t)~NODE_DESCRIBED;
    n->size = 0;
    n->mtime = n->ctime = 0.0;
    return removed;
}

/* The stretch that should be backed with memory before the next batch, by region_back and without the lock; at most one at a
 * time, for the pause that it is. */
static inline region_ahead index_plan(fusion_index *ix)
{
    region_ahead ahead = region_plan(&ix->nodes_region, ix->n_nodes * sizeof(fusion_node));
    if (!ahead.bytes)
        ahead = region_plan(&ix->names.blob, ix->names.used);
    if (!ahead.bytes)
        ahead = slots_plan(&ix->slots);
    if (!ahead.bytes)
        ahead = region_plan(&ix->dirs_region, ix->n_dirs * sizeof(fusion_dir));
    if (!ahead.bytes)
        ahead = region_plan(&ix->paths.blob, ix->paths.used);
    return ahead;
}

/* Empties the tree; the window, its epoch and the tombstones stay. */
static inline void index_clear(fusion_index *ix)
{
    index_touch_all(ix);
    region_trim(&ix->nodes_region, 0);
    region_trim(&ix->dirs_region, 0);
    arena_clear(&ix->names);
    arena_clear(&ix->paths);
    slots_clear(&ix->slots);
    ix->revision++;
    anchors_forget_all(&ix->anchors);
    index_plant_root(ix);
}

#endif
