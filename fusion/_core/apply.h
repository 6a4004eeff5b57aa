/* Applying a decoded batch: messages, snapshots and the window in which the one must not undo the other.
 *
 * The rules are those of docs/semantics.md. A window is open while a snapshot runs; marks on the nodes say what its rows carried and
 * what messages wrote since it opened, tombstones say what messages deleted. The caller holds the write lock. */
#ifndef FUSION_APPLY_H
#define FUSION_APPLY_H

#include "index.h"
#include "rows.h"

#define LOOK_AHEAD 16 /* rows whose slots are fetched before they are needed */
#define NODE_AHEAD 8  /* rows whose nodes are */

typedef struct {
    uint64_t upserts; /* upsert rows applied */
    uint64_t deletes; /* delete rows applied, whether or not the path was there */
    uint64_t ignored; /* snapshot rows that lost to a message or a tombstone */
    uint64_t removed; /* nodes that a snapshot end took away */
    bool ended;       /* a snapshot ended */
} apply_result;

typedef enum { APPLY_OK = 0, APPLY_NO_MEMORY = 1 } apply_status;

/* Splits and hashes the rows' paths; needs no lock. */
static inline void rows_prepare(fusion_batch *b, uint64_t seed, uint64_t mask)
{
    const fusion_row *before = NULL;
    for (size_t i = 0; i < b->n_rows; i++) {
        fusion_row *row = &b->rows[i];
        row->same_dir = false;
        row->dir_len = 0;
        row->dir_hash = row->hash = seed;
        if (row->path_len > 1) {
            row->dir_len = (uint32_t)parent_length(row->path, row->path_len);
            row->same_dir = before && before->dir_len == row->dir_len && memcmp(before->path, row->path, row->dir_len) == 0;
            row->dir_hash = row->same_dir ? before->dir_hash : path_hash(row->path, row->dir_len, seed, mask);
            const char *name = row->path + row->dir_len + (row->dir_len > 1);
            row->hash = name_hash(name, (size_t)(row->path + row->path_len - name), row->dir_hash) & mask;
        }
        before = row;
    }
}

/* ---- what a snapshot row may not undo ---- */

/* Whether a message deleted the row's path or one above it, no earlier than the row's mtime. */
static inline bool row_is_buried(const fusion_index *ix, const fusion_row *row)
{
    uint64_t hash = ix->seed;
    const char *p = row->path + 1, *end = row->path + row->path_len;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        hash = name_hash(p, (size_t)(stop - p), hash) & ix->mask;
        const pathmap_entry *e = pathmap_find(&ix->tombstones, hash, row->path, (uint32_t)(stop - row->path));
        if (e && row->mtime <= e->value)
            return true;
        p = stop + 1;
    }
    return false;
}

/* The mtime of the message row that wrote this node in the open window; false when none did. */
static inline bool node_message_mtime(const fusion_index *ix, uint32_t id, double *mtime)
{
    const fusion_node *n = &ix->nodes[id];
    uint32_t marks = node_marks(ix, n);
    if (!(marks & MARK_MESSAGE))
        return false;
    *mtime = n->mtime;
    if (marks & MARK_OVERRIDDEN) {
        char path[FUSION_MAX_PATH];
        size_t len = node_path_length(ix, id);
        node_write_path(ix, id, path);
        const pathmap_entry *e = pathmap_find(&ix->overridden, path_hash(path, len, ix->seed, ix->mask), path, (uint32_t)len);
        if (e)
            *mtime = e->value;
    }
    return true;
}

/* The next node of top's subtree in tree order after id and all below it, or NIL. */
static inline uint32_t node_after(const fusion_index *ix, uint32_t id, uint32_t top)
{
    while (id != top && ix->nodes[id].next == NIL)
        id = ix->nodes[id].parent;
    return id == top ? NIL : ix->nodes[id].next;
}

static inline uint32_t node_following(const fusion_index *ix, uint32_t id, uint32_t top)
{
    const fusion_node *n = &ix->nodes[id];
    if (node_is_dir(n) && ix->dirs[n->dir].first != NIL)
        return ix->dirs[n->dir].first;
    return node_after(ix, id, top);
}

/* Whether a snapshot row that would change the node at top yields to the messages of this window: to a row that wrote this node
 * (below: or one below it) with an mtime no earlier than its own, or to a delete that was followed by such a row. */
static inline bool message_wins(const fusion_index *ix, uint32_t top, const fusion_row *row, bool below)
{
    double mtime;
    if (!ix->window_messages)
        return false;
    if (node_marks(ix, &ix->nodes[top]) & (below ? MARK_MESSAGE | MARK_TOUCHED : MARK_MESSAGE) && ix->tombstones.used &&
        row_is_buried(ix, row))
        return true;
    for (uint32_t id = top; id != NIL; id = below ? node_following(ix, id, top) : NIL)
        if (node_message_mtime(ix, id, &mtime) && row->mtime <= mtime)
            return true;
    return false;
}

/* ---- upserts ---- */

static inline void node_set_marks(fusion_index *ix, fusion_node *n, uint32_t marks)
{
    node_touch(ix, (uint32_t)(n - ix->nodes));
    n->flags = (uint16_t)((n->flags & NODE_LASTING) | marks | ix->epoch << EPOCH_SHIFT);
}

/* A node that became a parent: no row describes it as that. */
static inline void node_mark_parent(fusion_index *ix, uint32_t id)
{
    fusion_node *n = &ix->nodes[id];
    uint32_t marks = node_marks(ix, n);
    if (marks & MARK_MESSAGE)
        marks |= MARK_TOUCHED;
    if (ix->window)
        node_set_marks(ix, n, marks & ~(uint32_t)(MARK_MESSAGE | MARK_OVERRIDDEN));
}

/* A message row writes below this directory: it and all above it outlive the window. */
static inline void dirs_touch(fusion_index *ix, uint32_t dir)
{
    for (;; dir = ix->nodes[dir].parent) {
        uint32_t marks = node_marks(ix, &ix->nodes[dir]);
        if (marks & MARK_TOUCHED)
            return; /* and so are those above */
        node_set_marks(ix, &ix->nodes[dir], marks | MARK_TOUCHED);
        if (dir == ROOT)
            return;
    }
}

/* The row's parent directory, made with all above it where missing. NIL when a message's file stands in the way of a snapshot
 * row (*refused), or when memory is out. */
static inline uint32_t dirs_make(fusion_index *ix, const fusion_row *row, bool snapshot, bool *refused)
{
    uint32_t top = ROOT;
    uint64_t hash = ix->seed;
    const char *p = row->path + 1, *end = row->path + row->dir_len;
    index_settle(ix);
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        uint64_t below = name_hash(p, (size_t)(stop - p), hash) & ix->mask;
        uint32_t id = find_child(ix, top, below, p, (size_t)(stop - p));
        if (id == NIL)
            break;
        if (!node_is_dir(&ix->nodes[id])) {
            if (snapshot && message_wins(ix, id, row, false)) {
                *refused = true;
                return NIL;
            }
            if (!node_to_dir(ix, id))
                return NIL;
            node_mark_parent(ix, id);
        }
        top = id;
        hash = below;
        p = stop + 1;
    }
    uint32_t last = top, made = 0;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        hash = name_hash(p, (size_t)(stop - p), hash) & ix->mask;
        uint32_t id = node_attach(ix, last, hash, p, (size_t)(stop - p));
        if (id == NIL)
            break;
        if (!dir_make(ix, id, hash)) {
            node_withdraw(ix, id);
            break;
        }
        last = id;
        made++;
        p = stop + 1;
    }
    uint32_t below = 0; /* the chain's sums in one walk, not one walk per link */
    for (uint32_t id = last; id != top; id = ix->nodes[id].parent) /* all new, and touched when they were made */
        dir_of(ix, id)->dirs = below++;
    if (made)
        index_add_up(ix, top, 0, made, 0);
    return p < end ? NIL : last;
}

static inline bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0; /* -0.0 is not 0.0 */
}

/* Keeps the mtime of the message whose node a newer snapshot row is about to replace; false when memory is out. */
static inline bool node_keep_message(fusion_index *ix, uint32_t id, const fusion_row *row)
{
    fusion_node *n = &ix->nodes[id];
    uint32_t marks = node_marks(ix, n);
    if (!(marks & MARK_MESSAGE) || marks & MARK_OVERRIDDEN)
        return true;
    node_set_marks(ix, n, marks | MARK_OVERRIDDEN);
    return pathmap_set(&ix->overridden, row->hash, row->path, row->path_len, n->mtime);
}

/* Gives a node what the row says, keeping sums, versions and marks. */
static inline void node_write(fusion_index *ix, uint32_t id, const fusion_row *row, bool snapshot, bool fresh)
{
    fusion_node *n = &ix->nodes[id];
    bool changed = fresh || !(n->flags & NODE_DESCRIBED) || n->size != row->size || !same_double(n->mtime, row->mtime) ||
                   !same_double(n->ctime, row->ctime);
    if (changed) {
        int64_t grown = row->size - n->size;
        double before = n->mtime;
        node_touch(ix, id);
        n->size = row->size;
        n->mtime = row->mtime;
        n->ctime = row->ctime;
        n->flags |= NODE_DESCRIBED;
        if (node_is_dir(n)) {
            if (row->mtime > before)
                oldest_forget(ix, id);
            oldest_consider(ix, id);
            dir_touch(ix, n->dir);
            ix->dirs[n->dir].version = ix->revision;
            grown = 0;
        }
        if (!fresh)
            index_owe(ix, n->parent, 0, 0, grown);
    }
    if (ix->window) {
        uint32_t marks = node_marks(ix, n);
        node_set_marks(ix, n, snapshot ? marks | MARK_CARRIED : (marks & ~(uint32_t)MARK_OVERRIDDEN) | MARK_MESSAGE);
    }
}

static inline apply_status row_upsert(fusion_index *ix, const fusion_row *row, bool snapshot, uint32_t *run, apply_result *r)
{
    uint32_t id = ROOT;
    bool fresh = false;
    if (row->path_len > 1) {
        const char *name = row->path + row->dir_len + (row->dir_len > 1);
        size_t name_len = (size_t)(row->path + row->path_len - name);
        uint32_t dir = *run != NIL ? *run : find_dir(ix, row->dir_hash, row->path, row->dir_len);
        *run = dir;
        id = dir == NIL ? NIL : find_child(ix, dir, row->hash, name, name_len);
        if (id == NIL) {
            if (snapshot && ix->tombstones.used && row_is_buried(ix, row)) {
                r->ignored++;
                return APPLY_OK;
            }
            if (dir == NIL) {
                bool refused = false;
                dir = dirs_make(ix, row, snapshot, &refused);
                if (dir == NIL) {
                    r->ignored += refused;
                    return refused ? APPLY_OK : APPLY_NO_MEMORY;
                }
                *run = dir;
            }
            id = node_attach(ix, dir, row->hash, name, name_len);
            if (id == NIL)
                return APPLY_NO_MEMORY;
            if (row->is_dir && !dir_make(ix, id, row->hash)) {
                node_withdraw(ix, id);
                return APPLY_NO_MEMORY;
            }
            index_owe(ix, dir, !row->is_dir, row->is_dir, row->is_dir ? 0 : row->size);
            fresh = true;
        }
    }
    if (snapshot && !fresh) {
        if (message_wins(ix, id, row, !row->is_dir && node_is_dir(&ix->nodes[id]))) {
            r->ignored++;
            return APPLY_OK;
        }
        if (!node_keep_message(ix, id, row))
            return APPLY_NO_MEMORY;
    }
    if (row->is_dir != node_is_dir(&ix->nodes[id])) {
        if (!row->is_dir)
            node_to_file(ix, id);
        else if (!node_to_dir(ix, id))
            return APPLY_NO_MEMORY;
    }
    node_write(ix, id, row, snapshot, fresh);
    if (!snapshot) {
        if (ix->window) {
            ix->window_messages++;
            dirs_touch(ix, ix->nodes[id].parent);
        } else if (!row->is_dir && ix->tombstones.used) {
            pathmap_remove(&ix->tombstones, row->hash, row->path, row->path_len);
        }
    }
    r->upserts++;
    return APPLY_OK;
}

/* ---- deletes, sweeps ---- */

/* Makes a directory undescribed again: it stands only for what is below it. */
static inline void dir_demote(fusion_index *ix, uint32_t id)
{
    fusion_node *n = &ix->nodes[id];
    if (!(n->flags & NODE_DESCRIBED))
        return;
    oldest_forget(ix, id);
    node_touch(ix, id);
    n->flags &= (uint16_t)~NODE_DESCRIBED;
    n->size = 0;
    n->mtime = n->ctime = 0.0;
    index_add_up(ix, id, 0, 0, 0);
}

/* Removes from top's subtree every node that carries none of the `keep` marks and has nothing kept below it. At a window's end a
 * directory that neither a snapshot row nor a message row wrote becomes undescribed: it stands for what is below it. */
static inline uint64_t index_sweep(fusion_index *ix, uint32_t top, uint32_t keep, bool window_ends)
{
    index_settle(ix);
    for (uint32_t id = top; id != NIL; id = node_following(ix, id, top)) {
        if (!(node_marks(ix, &ix->nodes[id]) & keep))
            continue;
        for (uint32_t above = id; above != top;) {
            above = ix->nodes[above].parent;
            uint32_t marks = node_marks(ix, &ix->nodes[above]);
            if (marks & MARK_ABOVE)
                break;
            node_set_marks(ix, &ix->nodes[above], marks | MARK_ABOVE);
        }
    }
    uint64_t removed = 0;
    uint32_t next;
    for (uint32_t id = top; id != NIL; id = next) {
        uint32_t marks = node_marks(ix, &ix->nodes[id]);
        if (id == ROOT || marks & (keep | MARK_ABOVE)) {
            if (window_ends && !(marks & (MARK_CARRIED | MARK_MESSAGE)))
                dir_demote(ix, id);
            node_set_marks(ix, &ix->nodes[id], marks & ~(uint32_t)MARK_ABOVE);
            next = node_following(ix, id, top);
        } else {
            next = node_after(ix, id, top);
            removed += index_remove(ix, id);
        }
    }
    return removed;
}

static inline apply_status row_delete(fusion_index *ix, const fusion_row *row, double time, bool snapshot, uint32_t *run,
                                      apply_result *r)
{
    r->deletes++;
    if (row->path_len == 1)
        return APPLY_OK; /* the root cannot be deleted */
    const char *name = row->path + row->dir_len + (row->dir_len > 1);
    uint32_t dir = find_dir(ix, row->dir_hash, row->path, row->dir_len);
    uint32_t id = dir == NIL ? NIL : find_child(ix, dir, row->hash, name, (size_t)(row->path + row->path_len - name));
    if (id != NIL) {
        *run = NIL;
        if (snapshot && ix->window_messages)
            index_sweep(ix, id, MARK_MESSAGE | MARK_TOUCHED, false);
        else
            index_remove(ix, id);
    }
    if (snapshot)
        return APPLY_OK;
    const pathmap_entry *earlier = pathmap_find(&ix->tombstones, row->hash, row->path, row->path_len);
    if (earlier && earlier->value >= time)
        return APPLY_OK;
    return pathmap_set(&ix->tombstones, row->hash, row->path, row->path_len, time) ? APPLY_OK : APPLY_NO_MEMORY;
}

/* ---- the window ---- */

/* Opens a window, giving up the one that may be open. */
static inline void index_begin_snapshot(fusion_index *ix)
{
    if (ix->epoch == EPOCH_MAX) {
        for (uint32_t id = 0; id < ix->n_nodes; id++) {
            node_touch(ix, id);
            ix->nodes[id].flags &= NODE_LASTING;
        }
        ix->epoch = 0;
    }
    ix->epoch++;
    ix->window = true;
    ix->window_messages = 0;
    pathmap_clear(&ix->overridden);
}

static inline uint64_t index_end_snapshot(fusion_index *ix)
{
    uint64_t removed = index_sweep(ix, ROOT, MARK_CARRIED | MARK_MESSAGE | MARK_TOUCHED, true);
    ix->window = false;
    pathmap_clear(&ix->overridden);
    pathmap_clear(&ix->tombstones);
    return removed;
}

/* Fetches the row's slots and, when that is done, the nodes they lead to. Rows of one directory that follow one another need no
 * more than their slots: their nodes lie side by side. */
static inline __attribute__((always_inline)) void row_fetch_slots(const fusion_index *ix, const fusion_row *row)
{
    slots_prefetch(&ix->slots, row->hash);
    if (!row->same_dir)
        slots_prefetch(&ix->slots, row->dir_hash);
}

static inline __attribute__((always_inline)) void row_fetch_nodes(const fusion_index *ix, const fusion_row *row)
{
    if (row->same_dir)
        return;
    __builtin_prefetch(&ix->nodes[slots_likely(&ix->slots, row->hash)]);
    __builtin_prefetch(&ix->nodes[slots_likely(&ix->slots, row->dir_hash)]);
}

/* Applies a prepared batch in its order. `now` is the time of deletes whose event has no index, seconds. */
static inline apply_status index_apply(fusion_index *ix, const fusion_batch *b, double now, apply_result *r)
{
    memset(r, 0, sizeof *r);
    bool snapshot = b->source == FUSION_SNAPSHOT;
    bool ends = snapshot && b->is_snapshot_end && (ix->window || b->n_rows);
    apply_status status = APPLY_OK;
    uint32_t run = NIL;
    if (!b->n_rows && !ends)
        return APPLY_OK;
    ix->revision++;
    if (snapshot && !ix->window)
        index_begin_snapshot(ix);
    for (size_t i = 0; i < b->n_rows && i < LOOK_AHEAD; i++)
        row_fetch_slots(ix, &b->rows[i]);
    for (size_t i = 0; i < b->n_rows && status == APPLY_OK; i++) {
        const fusion_row *row = &b->rows[i];
        if (i + LOOK_AHEAD < b->n_rows)
            row_fetch_slots(ix, &b->rows[i + LOOK_AHEAD]);
        if (i + NODE_AHEAD < b->n_rows)
            row_fetch_nodes(ix, &b->rows[i + NODE_AHEAD]);
        if (!row->same_dir)
            run = NIL;
        if (row->is_delete) {
            int64_t index = b->events[row->event].index;
            status = row_delete(ix, row, index > 0 ? (double)index / 1000.0 : now, snapshot, &run, r);
        } else {
            status = row_upsert(ix, row, snapshot, &run, r);
        }
    }
    if (ends && status == APPLY_OK) {
        r->removed = index_end_snapshot(ix);
        r->ended = true;
    }
    index_settle(ix);
    index_compact(ix);
    return status;
}

#endif
