/* Filtered search over one instant: which nodes match, how many, in which order, and their JSON in pieces.
 *
 *   find_init, then set the question's fields, find_collect until it is FIND_OK, find_write until it is,
 *   find_close in every case.
 *
 * The lock is held for slices: some thousand nodes or some hundred kilobytes of names at a time. What takes longer for a hostile
 * pattern or name than a look at it is done without the lock, on copies: names are judged there unless they only have to hold a short
 * string, paths always, and that is where answers are put in order.
 *
 * Where nodes come from: from the name arena, scanned as a whole; from a walk, when `top` holds few of the index's nodes or a path's
 * pattern says nothing of names. A pattern over paths is looked for by what a name must have if the path matches:
 *   FIND_PATHS   the path matches only if the name does (a pattern that ends with *.txt); it is judged itself.
 *   FIND_SPREAD  the pattern ends with a star, so that all below a match match, too: the names looked for are those in which a match
 *                begins, and their subtrees are walked.
 *   FIND_BELOW   the same when the star comes behind a slash: the subtree without its top. */
#ifndef FUSION_FIND_H
#define FUSION_FIND_H

#include <math.h>
#include <time.h>

#include "instant.h"
#include "node_json.h"
#include "ranked.h"
#include "search.h"

#ifdef FUSION_SMALL_BLOCKS /* builds for tests: small trees have several slices, too */
#define FIND_NODES 3u
#define FIND_LIVE_BYTES ((size_t)64)
#else
#define FIND_NODES 4096u                    /* that are looked at before others get the lock */
#define FIND_LIVE_BYTES ((size_t)512 << 10) /* of names, the same */
#endif
#define FIND_COPY_BYTES ((size_t)256 << 10)  /* of names, when they are copied; more than the longest record */
#define FIND_BATCH_BYTES ((size_t)512 << 10) /* of paths */
#define FIND_LIVE_ITEMS 66u                  /* of a pattern that is short enough for the lock: a literal of SEARCH_MAX_RUN */
#define FIND_SMALL_BYTES ((size_t)64 << 10)  /* of names in an index that is searched at once */
#define FIND_FEW 8u                          /* of so many nodes one below `top`: that is walked */

typedef enum { FIND_OK, FIND_MORE, FIND_BUSY, FIND_NO_MEMORY, FIND_UNKNOWN, FIND_LATE } find_status;
typedef enum { FIND_NAMES, FIND_PATHS, FIND_SPREAD, FIND_BELOW } find_way;
typedef enum { FIND_UNSORTED, FIND_BY_NAME, FIND_BY_PATH, FIND_BY_SIZE, FIND_BY_TIME } find_sort;

/* A node whose path is looked at without the lock. The path follows, with a slash behind it. */
typedef struct {
    uint64_t key;
    uint32_t id, path_len;
    uint16_t name_len;
} find_record;

typedef struct {
    /* the question */
    find_way way;
    find_sort sort;
    bool files, directories;
    bool by_walk; /* no name has to be looked for: walk */
    int64_t min_size, max_size;
    double after, before;
    uint64_t most;     /* of an unsorted answer: the search ends there */
    bool continued;    /* only what comes after `last` */
    ranked last;
    char *top_path;    /* a normalised path; owned */
    size_t top_path_len;
    bool top_matches; /* and so does all below it */

    /* the answer */
    uint64_t revision;
    uint64_t total;   /* matches */
    uint64_t later;   /* of them after `last` */
    uint32_t *ids;
    size_t n_ids, cap_ids;
    size_t written;
    size_t wanted; /* after FIND_MORE of find_write: bytes that the next node may need */

    /* the work */
    search_state names; /* what a name must have */
    glob_program paths; /* what a path must have */
    fusion_instant at;
    ranking ranks;
    bool begun;
    bool exhausted; /* there is nothing left to scan */
    uint32_t top;
    size_t used; /* bytes of the name arena at the instant */
    bool live;   /* it is scanned where it lies, from names.position on; else from `from` on in copies */
    size_t from;
    char *copy;
    size_t copied; /* bytes of the copy not scanned yet */
    uint32_t *owners; /* of a copy's names that fit */
    size_t n_owners, next_owner;
    struct {
        uint32_t top, next;
        bool on;
        bool matches; /* all nodes in it do */
        bool is_below; /* its top is not in it */
    } walk;
    bool judged; /* the nodes at hand match; else their paths have to be looked at */
    bool spreads; /* they are tops of subtrees that match, if they match */
    uint32_t *spread; /* tops of subtrees to walk */
    size_t n_spread, cap_spread;
    uint32_t asked_dir; /* the directory of which was asked last whether it lies at or below `top` */
    bool asked_in;
    uint32_t path_dir; /* whose path, with a slash behind it, is in `path`; NIL */
    text path;
    size_t dir_len;
    uint32_t compared_dir; /* whose path was compared with the last one kept, in this slice */
    int compared;
    text batch;
    text stem; /* of stem_dir's children */
    uint32_t stem_dir;
    char *spare;
} finder;

static inline void find_init(finder *f)
{
    memset(f, 0, sizeof *f);
    f->max_size = INT64_MAX;
    f->after = -INFINITY;
    f->before = INFINITY;
    f->most = UINT64_MAX;
    f->ranks.most = SIZE_MAX;
    f->asked_dir = f->path_dir = f->stem_dir = NIL;
}

static inline void find_close(finder *f)
{
    instant_close(&f->at);
    search_free(&f->names);
    glob_free(&f->paths);
    ranking_free(&f->ranks);
    free(f->last.path);
    free(f->top_path);
    free(f->ids);
    free(f->copy);
    free(f->owners);
    free(f->spread);
    free(f->path.base);
    free(f->batch.base);
    free(f->stem.base);
    free(f->spare);
    memset(f, 0, sizeof *f);
}

/* The bits of a finite double so that they compare as it does. */
static inline uint64_t find_time_key(double time)
{
    uint64_t bits;
    time = time == 0.0 ? 0.0 : time; /* one zero */
    memcpy(&bits, &time, 8);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

/* The first bytes of a name so that they compare as it does. */
static inline uint64_t find_name_key(const char *name, size_t len)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < 8; i++)
        bytes = bytes << 8 | (i < len ? (unsigned char)name[i] : 0);
    return bytes;
}

static inline uint64_t find_node_key(const finder *f, const fusion_node *n)
{
    switch (f->sort) {
    case FIND_BY_SIZE: return (uint64_t)n->size;
    case FIND_BY_TIME: return find_time_key(n->mtime);
    default: return 0;
    }
}

/* The order of the answer, and how many nodes of it are wanted. */
static inline void find_set_order(finder *f, find_sort sort, bool descending, uint64_t most)
{
    f->sort = sort;
    f->ranks.by = sort == FIND_BY_NAME ? RANKED_BY_NAME : sort == FIND_BY_PATH ? RANKED_BY_PATH : RANKED_BY_KEY;
    f->ranks.descending = descending;
    if (sort == FIND_UNSORTED)
        f->most = most;
    else
        f->ranks.most = most > SIZE_MAX ? SIZE_MAX : (size_t)most;
}

/* The key of the last node of an answer, a size or a time. */
static inline uint64_t find_last_key(const finder *f)
{
    return (uint64_t)f->last.key;
}

/* Goes on behind the node of that path; `key` was its find_last_key. Call after find_set_order. False when memory is out. */
static inline bool find_continue(finder *f, uint64_t key, const char *path, size_t len, size_t name_len)
{
    ranked last = {.key = f->sort == FIND_BY_NAME ? find_name_key(path + len - name_len, name_len) : key, .path = (char *)path,
                   .path_len = (uint32_t)len, .name_len = (uint16_t)name_len};
    f->continued = true;
    return ranked_take_path(&f->last, &last);
}

/* ---- with the lock ---- */

static inline bool find_filter(const finder *f, const fusion_node *n)
{
    return (node_is_dir(n) ? f->directories : f->files) && n->size >= f->min_size && n->size <= f->max_size && n->mtime > f->after &&
           n->mtime < f->before;
}

/* What is done beside looking at a node counts, too: long paths and deep directories are as dear as many nodes. */
static inline void find_spend(size_t *left, size_t cost)
{
    *left = *left > cost ? *left - cost : 0;
}

/* Whether a directory lies at or below `top`. */
static inline bool find_is_below(finder *f, uint32_t dir, size_t *left)
{
    if (f->top == ROOT || f->asked_dir == dir)
        return f->top == ROOT || f->asked_in;
    size_t steps = 0;
    f->asked_dir = dir;
    for (; dir != f->top && dir != ROOT; steps++)
        dir = instant_node(&f->at, dir)->parent;
    f->asked_in = dir == f->top;
    find_spend(left, steps / 16);
    return f->asked_in;
}

/* Makes room in `path` behind the directory's path and its slash; false when memory is out. */
static inline bool find_enter(finder *f, uint32_t dir)
{
    if (f->path_dir == dir)
        return true;
    size_t len = instant_path_length(&f->at, dir);
    f->path.len = 0;
    f->path_dir = NIL;
    if (!text_room(&f->path, len + 1))
        return false;
    instant_write_path(&f->at, dir, f->path.base);
    f->path.base[len] = '/';
    f->dir_len = dir == ROOT ? 1 : len + 1;
    f->path_dir = dir;
    return true;
}

static inline bool find_answer(finder *f, uint32_t id)
{
    if (f->n_ids == f->cap_ids) {
        size_t cap = f->cap_ids ? f->cap_ids * 2 : 64;
        uint32_t *ids = realloc(f->ids, cap * sizeof *ids);
        if (!ids)
            return false;
        f->ids = ids;
        f->cap_ids = cap;
    }
    f->ids[f->n_ids++] = id;
    return true;
}

/* Whether a node comes behind all that is kept, and so behind `last`, as far as that can be told without putting its path together; its
 * directory was entered. */
static inline bool find_is_beyond(finder *f, const fusion_node *n, uint64_t key)
{
    const ranking *r = &f->ranks;
    const ranked *kept = r->items; /* the last one that is */
    int order = 0;
    if (!ranking_is_full(r))
        return false;
    switch (f->sort) {
    case FIND_BY_NAME:
        if (f->at.clean)
            order = ranked_bytes(f->at.ix->names.blob.base + n->name, n->name_len, kept->path + kept->path_len - kept->name_len, kept->name_len);
        break;
    case FIND_BY_PATH:
        if (f->compared_dir != n->parent)
            f->compared = memcmp(f->path.base, kept->path, f->dir_len < kept->path_len ? f->dir_len : kept->path_len);
        f->compared_dir = n->parent;
        order = f->compared;
        break;
    default: return !ranking_admits(r, key);
    }
    return r->descending ? order < 0 : order > 0;
}

/* Counts a node that matches; it goes to the batch when its path is needed to judge or to place it. False when memory is out. */
static inline bool find_note(finder *f, uint32_t id, const fusion_node *n, size_t *left)
{
    const uint64_t key = find_node_key(f, n);
    if (f->judged) {
        f->total++;
        if (f->sort == FIND_UNSORTED)
            return find_answer(f, id);
    }
    const uint32_t name = n->name;
    const uint16_t name_len = n->name_len;
    if (f->path_dir != n->parent) {
        if (!find_enter(f, n->parent))
            return false;
        find_spend(left, f->dir_len > STORED_PATH_MAX ? f->dir_len / 16 : 0);
    }
    if (f->judged && find_is_beyond(f, n, key)) {
        f->later++;
        return true;
    }
    if (!text_room(&f->batch, sizeof(find_record) + f->dir_len + name_len + 8))
        return false;
    find_spend(left, (f->dir_len + name_len) / 256);
    find_record *record = (find_record *)(f->batch.base + f->batch.len);
    *record = (find_record){.key = key, .id = id, .path_len = (uint32_t)f->dir_len + name_len, .name_len = name_len};
    char *out = (char *)(record + 1);
    memcpy(out, f->path.base, f->dir_len);
    instant_copy(&f->at, VIEW_NAMES, f->at.ix->names.blob.base, BLOCK_BYTES, name, name_len, out + f->dir_len);
    out[record->path_len] = '/';
    f->batch.len += (sizeof *record + record->path_len + 8) & ~(size_t)7;
    return true;
}

static inline bool find_scanned(finder *f, uint32_t id, size_t *left)
{
    const fusion_node *n = instant_node(&f->at, id);
    if (f->spreads ? f->way == FIND_BELOW && !node_is_dir(n) : !find_filter(f, n))
        return true;
    return (!find_is_below(f, n->parent, left) && id != f->top) || find_note(f, id, n, left);
}

static inline bool find_has_room(const finder *f, size_t left)
{
    return left && f->batch.len < FIND_BATCH_BYTES && f->total < f->most;
}

/* Where a slice of the live arena that starts at `from` ends: with a record. */
static inline size_t find_slice_end(const finder *f, size_t from)
{
    const uint32_t *sync = (const uint32_t *)f->at.ix->names.sync.base;
    size_t end = from + FIND_LIVE_BYTES;
    while (end < f->used) {
        uint32_t record = sync[end / ARENA_SYNC_BYTES];
        if (record != ARENA_NONE && record > from)
            return record < f->used ? record : f->used;
        end += ARENA_SYNC_BYTES;
    }
    return f->used;
}

static inline void find_begin_scan(finder *f)
{
    f->judged = f->way == FIND_NAMES;
    f->spreads = f->way >= FIND_SPREAD;
}

static inline find_status find_scan_live(finder *f)
{
    const char *blob = f->at.ix->names.blob.base;
    const size_t end = find_slice_end(f, f->names.position);
    size_t left = FIND_NODES;
    for (find_begin_scan(f); find_has_room(f, left); left--) {
        uint32_t id = search_next(&f->names, blob, end, (const uint32_t *)f->at.ix->names.sync.base);
        if (id == SEARCH_END) {
            f->exhausted = end == f->used;
            break;
        }
        if (!find_scanned(f, id, &left))
            return FIND_NO_MEMORY;
        left += !left;
    }
    return FIND_OK;
}

/* Looks at the nodes whose names were found in the copy; when they are done, makes the next copy. */
static inline find_status find_scan_owners(finder *f)
{
    size_t left = FIND_NODES;
    for (find_begin_scan(f); f->next_owner < f->n_owners && find_has_room(f, left); left--) {
        if (!find_scanned(f, f->owners[f->next_owner++], &left))
            return FIND_NO_MEMORY;
        left += !left;
    }
    if (f->next_owner < f->n_owners)
        return FIND_OK;
    f->exhausted = f->from == f->used;
    f->copied = f->used - f->from < FIND_COPY_BYTES ? f->used - f->from : FIND_COPY_BYTES;
    instant_copy(&f->at, VIEW_NAMES, f->at.ix->names.blob.base, BLOCK_BYTES, f->from, f->copied, f->copy);
    return FIND_OK;
}

static inline void find_begin_walk(finder *f, uint32_t top, bool matches, bool is_below)
{
    f->walk.top = f->walk.next = top;
    f->walk.on = true;
    f->walk.matches = matches;
    f->walk.is_below = is_below;
}

static inline find_status find_walk(finder *f)
{
    size_t left = FIND_NODES;
    f->judged = f->walk.matches;
    f->spreads = false;
    for (; f->walk.next != NIL && find_has_room(f, left); left--) {
        const uint32_t id = f->walk.next;
        const fusion_node *n = instant_node(&f->at, id);
        bool in_it = id != ROOT && !(f->walk.is_below && id == f->walk.top);
        if (in_it && find_filter(f, n) && !find_note(f, id, n, &left))
            return FIND_NO_MEMORY;
        left += !left;
        f->walk.next = instant_walk(&f->at, f->walk.top, id);
    }
    f->walk.on = f->walk.next != NIL;
    return FIND_OK;
}

/* The instant, and how to go about it; the lock is held. */
static inline find_status find_begin(finder *f, fusion_index *ix)
{
    instant_init(&f->at, ix);
    f->top = find_path(ix, f->top_path, f->top_path_len);
    if (f->top == NIL)
        return FIND_UNKNOWN;
    f->begun = true;
    f->revision = ix->revision;
    f->used = ix->names.used;
    f->live = f->names.whole && f->names.glob.n <= FIND_LIVE_ITEMS;
    const fusion_node *n = &ix->nodes[f->top];
    uint64_t below = node_is_dir(n) ? (uint64_t)ix->dirs[n->dir].files + ix->dirs[n->dir].dirs : 0;
    f->exhausted = f->by_walk || f->top_matches || (f->top != ROOT && below < ix->live_nodes / FIND_FEW);
    if (f->exhausted)
        find_begin_walk(f, f->top, f->top_matches, false);
    return FIND_OK;
}

static inline bool find_is_done(const finder *f)
{
    return f->total >= f->most || (f->exhausted && !f->n_spread && !f->walk.on);
}

/* One slice under the lock. */
static inline find_status find_gather(finder *f)
{
    f->compared_dir = NIL; /* what is kept has changed */
    if (find_is_done(f))
        return FIND_OK;
    if (!f->walk.on && f->n_spread)
        find_begin_walk(f, f->spread[--f->n_spread], true, f->way == FIND_BELOW);
    if (f->walk.on)
        return find_walk(f);
    if (f->live && !f->at.clean) {
        f->live = false;
        f->from = f->names.position;
    }
    if (f->live)
        return find_scan_live(f);
    if (!f->copy) {
        f->copy = malloc(FIND_COPY_BYTES + ARENA_SLACK);
        f->owners = malloc((FIND_COPY_BYTES / (ARENA_HEADER + 1) + 1) * sizeof *f->owners);
        if (!f->copy || !f->owners)
            return FIND_NO_MEMORY;
    }
    return find_scan_owners(f);
}

/* ---- without the lock ---- */

/* Finds the names in the copy. */
static inline void find_scan_copy(finder *f)
{
    const uint8_t *copy = (const uint8_t *)f->copy;
    size_t end = 0;
    while (f->copied - end >= ARENA_HEADER && search_record_end(copy, end) <= f->copied)
        end = search_record_end(copy, end);
    f->n_owners = f->next_owner = 0;
    search_seek(&f->names, 0);
    for (uint32_t id; (id = search_next(&f->names, f->copy, end, NULL)) != SEARCH_END;)
        f->owners[f->n_owners++] = id;
    f->from += end;
    f->copied = 0;
}

/* Whether a match that spreads begins with this node: all below match, and the node above does not spread already. */
static inline bool find_spreads(const finder *f, const char *path, const find_record *record)
{
    size_t above = record->path_len - record->name_len - 1u;
    if (f->way == FIND_BELOW)
        return glob_matches(&f->paths, path, record->path_len + 1u) && !glob_matches(&f->paths, path, record->path_len);
    return glob_matches(&f->paths, path, record->path_len) && !glob_matches(&f->paths, path, above ? above : 1);
}

static inline bool find_spread(finder *f, uint32_t id)
{
    if (f->n_spread == f->cap_spread) {
        size_t cap = f->cap_spread ? f->cap_spread * 2 : 64;
        uint32_t *spread = realloc(f->spread, cap * sizeof *spread);
        if (!spread)
            return false;
        f->spread = spread;
        f->cap_spread = cap;
    }
    f->spread[f->n_spread++] = id;
    return true;
}

/* Whether the pattern takes a node that was noted unjudged. */
static inline bool find_takes(const finder *f, const char *path, const find_record *record)
{
    if (f->way == FIND_NAMES)
        return search_matches(&f->names, path + record->path_len - record->name_len, record->name_len);
    return glob_matches(&f->paths, path, record->path_len);
}

static inline bool find_rank(finder *f, const char *path, const find_record *record)
{
    ranked item = {.key = record->key, .path = (char *)path, .path_len = record->path_len, .id = record->id, .name_len = record->name_len};
    if (f->sort == FIND_BY_NAME)
        item.key = find_name_key(path + item.path_len - item.name_len, item.name_len);
    if (f->continued && ranked_compare(&f->ranks, &item, &f->last) <= 0)
        return true;
    f->later++;
    return ranking_offer(&f->ranks, &item);
}

/* Judges the batch. */
static inline find_status find_judge(finder *f)
{
    bool ok = true;
    for (size_t at = 0; ok && at < f->batch.len;) {
        const find_record *record = (const find_record *)(f->batch.base + at);
        const char *path = (const char *)(record + 1);
        at += (sizeof *record + record->path_len + 8) & ~(size_t)7;
        if (f->spreads) {
            ok = !find_spreads(f, path, record) || find_spread(f, record->id);
            continue;
        }
        if (!f->judged) {
            if (!find_takes(f, path, record))
                continue;
            f->total++;
        }
        ok = f->sort == FIND_UNSORTED ? find_answer(f, record->id) : find_rank(f, path, record);
    }
    f->batch.len = 0;
    return ok ? FIND_OK : FIND_NO_MEMORY;
}

/* Puts the answer in order. */
static inline find_status find_order(finder *f)
{
    if (f->sort == FIND_UNSORTED) {
        if (f->n_ids > f->most) /* of a batch more may have matched */
            f->total = f->n_ids = (size_t)f->most;
        return FIND_OK;
    }
    ranking_sort(&f->ranks);
    free(f->ids);
    f->ids = malloc((f->ranks.n + 1) * sizeof *f->ids);
    if (!f->ids)
        return FIND_NO_MEMORY;
    for (f->n_ids = 0; f->n_ids < f->ranks.n; f->n_ids++)
        f->ids[f->n_ids] = f->ranks.items[f->n_ids].id;
    if (f->ranks.n) { /* where the next page begins */
        const ranked *last = &f->ranks.items[f->ranks.n - 1];
        if (!ranked_take_path(&f->last, last))
            return FIND_NO_MEMORY;
    }
    ranking_free(&f->ranks);
    return FIND_OK;
}

/* Whether the question is so small that looking for the answer takes microseconds; the lock is held. */
static inline bool find_is_small(const finder *f, const fusion_index *ix)
{
    return ix->names.used <= FIND_SMALL_BYTES && f->names.glob.n <= FIND_LIVE_ITEMS && f->paths.n <= FIND_LIVE_ITEMS;
}

/* One step of the search: a slice under the lock, and what follows from it. */
static inline find_status find_step(finder *f, fusion_index *ix, bool wait)
{
    if (wait)
        pthread_rwlock_rdlock(&ix->lock);
    else if (pthread_rwlock_tryrdlock(&ix->lock))
        return FIND_BUSY;
    find_status status = FIND_OK;
    if (!wait && !find_is_small(f, ix))
        status = FIND_BUSY;
    else if (!f->begun)
        status = find_begin(f, ix);
    else if (!instant_resume(&f->at))
        status = FIND_NO_MEMORY;
    if (status == FIND_OK)
        status = find_gather(f);
    if (status == FIND_OK && !f->at.opened && !instant_open(&f->at, false))
        status = FIND_NO_MEMORY;
    pthread_rwlock_unlock(&ix->lock);
    if (status != FIND_OK)
        return status;
    if (f->copied)
        find_scan_copy(f);
    return find_judge(f);
}

static inline int64_t find_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* All of the search, at most until `deadline` by find_clock: FIND_LATE. Not `wait`: FIND_BUSY when it would take long or the lock is
 * taken; call again with `wait` to go on. */
static inline find_status find_collect(finder *f, fusion_index *ix, bool wait, int64_t deadline)
{
    if (!f->begun && f->way >= FIND_SPREAD && !f->by_walk && f->top_path_len > 1)
        f->top_matches = glob_matches(&f->paths, f->top_path, f->top_path_len);
    do {
        find_status status = find_step(f, ix, wait);
        if (status != FIND_OK)
            return status;
        if (find_is_done(f))
            return find_order(f);
    } while (find_clock() < deadline);
    return FIND_LATE;
}

/* ---- the answer; the lock is held ---- */

/* The stem of a directory's children, for node_text. */
static inline bool find_stem(finder *f, uint32_t dir)
{
    if (f->stem_dir == dir)
        return true;
    f->stem_dir = NIL;
    f->stem.len = 0;
    if (!find_enter(f, dir) || !text_room(&f->stem, STEM_FILE_LENGTH + 6 * f->dir_len + COPY_WIDE_OVERRUN))
        return false;
    char *p = TEXT_LITERAL(f->stem.base, STEM_FILE);
    f->stem.len = (size_t)(json_escape(p, f->path.base, f->dir_len) - f->stem.base);
    f->stem_dir = dir;
    return true;
}

/* Written once, compiled for each level by the functions below. */
static inline __attribute__((always_inline)) find_status find_write_at(finder *f, text *out, simd_level level)
{
    while (f->written < f->n_ids) {
        if (f->written + 8 < f->n_ids)
            __builtin_prefetch(&f->at.ix->nodes[f->ids[f->written + 8]]);
        const fusion_node *n = instant_node(&f->at, f->ids[f->written]);
        if (!find_stem(f, n->parent))
            return FIND_NO_MEMORY;
        f->wanted = node_room(n) + f->stem.len + 2;
        if (out->cap - out->len < f->wanted)
            return FIND_MORE;
        char *p = out->base + out->len;
        *p++ = f->written ? ',' : '[';
        p = node_text(p, n, instant_name(&f->at, n, f->spare), f->stem.base, f->stem.len, false, level);
        *p++ = '}';
        out->len = (size_t)(p - out->base);
        f->written++;
    }
    f->wanted = 2;
    if (out->cap - out->len < f->wanted)
        return FIND_MORE;
    if (!f->n_ids)
        out->base[out->len++] = '[';
    out->base[out->len++] = ']';
    return FIND_OK;
}

#if defined(__x86_64__)
__attribute__((flatten, target("avx2,bmi,bmi2"))) static find_status find_write_avx2(finder *f, text *out)
{
    return find_write_at(f, out, SIMD_AVX2);
}
#endif

static inline bool find_resume(finder *f)
{
    if (!instant_resume(&f->at))
        return false;
    if (!f->at.clean && !f->spare)
        f->spare = malloc(UINT16_MAX + VIEW_OVERRUN);
    return f->at.clean || f->spare;
}

/* Writes the answer's JSON between out->len and out->cap, taking the lock. FIND_MORE: call again with room for at least `wanted`
 * bytes. At the end the instant is let go. Not `wait`: FIND_BUSY when the lock was taken, and nothing is written. */
static find_status find_write(finder *f, text *out, bool wait)
{
    pthread_rwlock_t *lock = &f->at.ix->lock;
    find_status status;
    if (wait)
        pthread_rwlock_rdlock(lock);
    else if (pthread_rwlock_tryrdlock(lock))
        return FIND_BUSY;
    if (!find_resume(f))
        status = FIND_NO_MEMORY;
#if defined(__x86_64__)
    else if (simd_in_use >= SIMD_AVX2)
        status = find_write_avx2(f, out);
#endif
    else
        status = find_write_at(f, out, SIMD_PORTABLE);
    pthread_rwlock_unlock(lock);
    if (status == FIND_OK)
        instant_close(&f->at);
    return status;
}

/* A node of the answer as it is in memory; its path follows. */
typedef struct {
    fusion_node node;
    size_t path_len;
} find_copied;

/* The same as records behind each other, some `bytes` of them: the next of the answer, FIND_MORE while there are more. */
static find_status find_copy(finder *f, text *out, size_t bytes)
{
    pthread_rwlock_t *lock = &f->at.ix->lock;
    find_status status = FIND_OK;
    out->len = 0;
    pthread_rwlock_rdlock(lock);
    if (!find_resume(f))
        status = FIND_NO_MEMORY;
    for (; status == FIND_OK && f->written < f->n_ids; f->written++) {
        const fusion_node *n = instant_node(&f->at, f->ids[f->written]);
        find_copied copied = {*n, 0};
        if (out->len >= bytes) {
            status = FIND_MORE;
            break;
        }
        if (!find_enter(f, n->parent) || !text_room(out, sizeof copied + f->dir_len + n->name_len)) {
            status = FIND_NO_MEMORY;
            break;
        }
        copied.path_len = f->dir_len + copied.node.name_len;
        char *p = out->base + out->len;
        memcpy(p, &copied, sizeof copied);
        memcpy(p + sizeof copied, f->path.base, f->dir_len);
        instant_copy(&f->at, VIEW_NAMES, f->at.ix->names.blob.base, BLOCK_BYTES, copied.node.name, copied.node.name_len,
                     p + sizeof copied + f->dir_len);
        out->len += sizeof copied + copied.path_len;
    }
    pthread_rwlock_unlock(lock);
    if (status == FIND_OK)
        instant_close(&f->at);
    return status;
}

#endif
