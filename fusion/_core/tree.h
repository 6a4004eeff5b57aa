/* Trees to JSON: one node with its path, or a directory tree written piece by piece into a buffer of the caller's.
 *
 * The bytes are those of json.dumps(tree, separators=(",", ":"), ensure_ascii=False) over the nested form of docs/contract.md. */
#ifndef FUSION_TREE_H
#define FUSION_TREE_H

#include "instant.h"
#include "node_json.h"

/* Appends a directory's path, escaped, "" for the root: what its children's paths begin with. */
static inline bool prefix_write(text *out, const fusion_index *ix, uint32_t dir)
{
    if (dir == ROOT)
        return true;
    size_t len = node_path_length(ix, dir);
    char *path = malloc(len);
    bool ok = path && text_room(out, 6 * len + COPY_OVERRUN);
    if (ok) {
        node_write_path(ix, dir, path);
        out->len = (size_t)(json_escape(out->base + out->len, path, len) - out->base);
    }
    free(path);
    return ok;
}

#define TREE_STRETCH ((size_t)256 * 1024) /* bytes that are written before others get the lock */

/* A directory whose children are being written. */
typedef struct {
    uint32_t node;
    uint32_t prefix_len; /* of the directory's parent */
    uint32_t count;      /* children */
    bool begun;          /* a child has been written */
    pathmap *keys;       /* that children whose names are not UTF-8 cannot have; NULL when there are no such children */
} tree_frame;

typedef struct {
    fusion_instant at;
    text prefix; /* escaped path of the directory whose children are being written */
    char *spare; /* room for a name that does not lie in one piece; NULL until the tree has changed */
    tree_frame *frames;
    size_t depth, cap_frames;
    uint32_t next;      /* node to write next, NIL: close the innermost directory */
    uint32_t max_depth; /* NIL: no limit */
    size_t wanted;      /* after TREE_FULL: bytes that the next node may need */
    bool as_list;       /* children of the top as a list, without their own */
    bool only_path;
    bool done;
} tree_cursor;

typedef enum { TREE_OK = 0, TREE_FULL = 1, TREE_NO_MEMORY = 2 } tree_status;

static inline void tree_drop_keys(tree_frame *f)
{
    if (f->keys) {
        pathmap_clear(f->keys);
        free(f->keys);
    }
}

static inline void tree_close(tree_cursor *c)
{
    instant_close(&c->at);
    while (c->depth)
        tree_drop_keys(&c->frames[--c->depth]);
    free(c->frames);
    free(c->prefix.base);
    free(c->spare);
    memset(c, 0, sizeof *c);
    c->done = true;
}

/* The tree of this instant; the lock is held, and until tree_keep. */
static inline bool tree_open(tree_cursor *c, fusion_index *ix, uint32_t top, bool recursive, uint32_t max_depth, bool only_path)
{
    memset(c, 0, sizeof *c);
    instant_init(&c->at, ix);
    c->next = top;
    c->max_depth = max_depth;
    c->as_list = !recursive && max_depth == NIL;
    c->only_path = only_path;
    if (top != ROOT && !prefix_write(&c->prefix, ix, ix->nodes[top].parent)) {
        tree_close(c);
        return false;
    }
    return true;
}

/* Before the lock is let go in the middle of a tree. False when memory is out. */
static inline bool tree_keep(tree_cursor *c)
{
    return c->at.opened || instant_open(&c->at, false);
}

/* After the lock has been taken again. False when the instant could not be kept. */
static inline bool tree_resume(tree_cursor *c)
{
    if (!instant_resume(&c->at))
        return false;
    if (!c->at.clean && !c->spare)
        c->spare = malloc(UINT16_MAX + COPY_OVERRUN);
    return c->at.clean || c->spare;
}

/* Notes the children's names that the key of another one whose name is not UTF-8 could be: those with U+FFFD in them. */
static inline bool tree_claim_keys(tree_cursor *c, tree_frame *f, uint32_t first)
{
    f->keys = calloc(1, sizeof *f->keys);
    const fusion_node *n;
    for (uint32_t id = first; f->keys && id != NIL; id = n->next) {
        n = instant_node(&c->at, id);
        const char *name = instant_name(&c->at, n, c->spare);
        if (n->flags & NODE_RAW || !memmem(name, n->name_len, "\xef\xbf\xbd", 3))
            continue;
        if (!pathmap_set(f->keys, name_hash(name, n->name_len, c->at.ix->seed), name, n->name_len, 0.0))
            return false;
    }
    return f->keys;
}

static inline bool tree_push(tree_cursor *c, uint32_t id, const fusion_node *n, const fusion_dir *d)
{
    if (c->depth == c->cap_frames) {
        size_t cap = c->cap_frames ? c->cap_frames * 2 : 32;
        tree_frame *frames = realloc(c->frames, cap * sizeof *frames);
        if (!frames)
            return false;
        c->frames = frames;
        c->cap_frames = cap;
    }
    if (!text_room(&c->prefix, 1 + 6 * (size_t)n->name_len + COPY_OVERRUN))
        return false;
    tree_frame *f = &c->frames[c->depth++];
    *f = (tree_frame){.node = id, .prefix_len = (uint32_t)c->prefix.len, .count = d->count};
    if (id != ROOT) {
        const char *name = instant_name(&c->at, n, c->spare);
        c->prefix.base[c->prefix.len++] = '/';
        c->prefix.len = (size_t)(name_write(c->prefix.base + c->prefix.len, n, name) - c->prefix.base);
    }
    return !d->raw_children || c->as_list || tree_claim_keys(c, f, d->first);
}

static inline void tree_pop(tree_cursor *c)
{
    tree_frame *f = &c->frames[--c->depth];
    tree_drop_keys(f);
    c->prefix.len = f->prefix_len;
}

/* The key of a child whose name is not UTF-8: the name with U+FFFD for its bad bytes, and more of them until no sibling has it.
 * Remembered in the frame; *key is the caller's to free. */
static inline bool tree_raw_key(const tree_cursor *c, const fusion_node *n, const char *name, char **key, size_t *key_len)
{
    const tree_frame *f = &c->frames[c->depth - 1];
    const uint64_t seed = c->at.ix->seed;
    char *text = malloc(3 * ((size_t)n->name_len + f->count + 1)); /* each sibling can force one U+FFFD more */
    if (!text)
        return false;
    size_t bare_len = name_display(text, name, n->name_len), len = bare_len;
    uint64_t bare = name_hash(text, bare_len, seed), hash = bare;
    /* The value of a taken key: with how many more of them a sibling of that name goes on. */
    const pathmap_entry *taken = pathmap_find(f->keys, bare, text, (uint32_t)bare_len);
    double more = taken ? taken->value : 0.0;
    for (double i = 0.0; i < more; i++, len += 3)
        memcpy(text + len, "\xef\xbf\xbd", 3);
    for (;; more++, len += 3) {
        if (len > bare_len)
            hash = name_hash(text, len, seed);
        if (!pathmap_find(f->keys, hash, text, (uint32_t)len))
            break;
        memcpy(text + len, "\xef\xbf\xbd", 3);
    }
    if (!pathmap_set(f->keys, hash, text, (uint32_t)len, 1.0) ||
        !pathmap_set(f->keys, bare, text, (uint32_t)bare_len, more + 1.0)) {
        free(text);
        return false;
    }
    *key = text;
    *key_len = len;
    return true;
}

/* Bytes that a child with its key may need. */
static inline size_t tree_room(const tree_cursor *c, const fusion_node *n, bool keyed)
{
    size_t room = node_room(n) + c->prefix.len;
    if (!keyed)
        return room;
    if (n->flags & NODE_RAW) /* as long as the siblings' keys force it to be */
        return room + 18 * ((size_t)n->name_len + c->frames[c->depth - 1].count + 2);
    return room + (n->flags & NODE_ESCAPE ? 6 : 1) * (size_t)n->name_len;
}

/* Writes what fits between out->len and out->cap. TREE_FULL: call again with room for at least `wanted` bytes. */
static inline tree_status tree_write(tree_cursor *c, text *out)
{
    while (!c->done) {
        size_t left = out->cap - out->len;
        if (c->next == NIL) {
            c->wanted = 2;
            if (left < c->wanted)
                return TREE_FULL;
            uint32_t closed = c->frames[c->depth - 1].node;
            out->base[out->len++] = c->as_list ? ']' : '}';
            out->base[out->len++] = '}';
            tree_pop(c);
            c->done = c->depth == 0;
            c->next = c->done ? NIL : instant_node(&c->at, closed)->next;
            continue;
        }
        uint32_t id = c->next;
        const fusion_node *n = instant_node(&c->at, id);
        const char *name = instant_name(&c->at, n, c->spare);
        bool top = c->depth == 0, keyed = !top && !c->as_list;
        char *key = NULL;
        size_t key_len = 0;
        c->wanted = tree_room(c, n, keyed);
        if (left < c->wanted)
            return TREE_FULL;
        if (keyed && n->flags & NODE_RAW && !tree_raw_key(c, n, name, &key, &key_len))
            return TREE_NO_MEMORY;
        char *p = out->base + out->len;
        if (!top) {
            if (c->frames[c->depth - 1].begun)
                *p++ = ',';
            c->frames[c->depth - 1].begun = true;
        }
        if (keyed) {
            *p++ = '"';
            if (key)
                p = json_escape(p, key, key_len);
            else
                p = name_write(p, n, name);
            p = TEXT_LITERAL(p, "\":");
            free(key);
        }
        *p++ = '{';
        p = node_write_members(p, n, name, c->prefix.base, c->prefix.len, c->only_path);
        if (node_is_dir(n) && c->depth < c->max_depth && !(c->as_list && !top)) {
            p = c->as_list ? TEXT_LITERAL(p, ",\"children\":[") : TEXT_LITERAL(p, ",\"children\":{");
            out->len = (size_t)(p - out->base);
            const fusion_dir *d = instant_dir(&c->at, n->dir);
            c->next = d->first;
            if (!tree_push(c, id, n, d))
                return TREE_NO_MEMORY;
            continue;
        }
        *p++ = '}';
        out->len = (size_t)(p - out->base);
        c->done = top;
        c->next = top ? NIL : n->next;
    }
    return TREE_OK;
}

/* The whole answer in one text. Comes and goes with the lock held, but lets it go between stretches. */
static inline tree_status tree_write_all(tree_cursor *c, text *out)
{
    pthread_rwlock_t *lock = &c->at.ix->lock;
    size_t most = TREE_STRETCH; /* at once */
    for (;;) {
        text stretch = *out;
        if (stretch.cap - stretch.len > most)
            stretch.cap = stretch.len + most;
        tree_status status = tree_write(c, &stretch);
        out->len = stretch.len;
        if (status != TREE_FULL)
            return status;
        most = c->wanted > TREE_STRETCH ? c->wanted : TREE_STRETCH;
        bool pause = out->len >= TREE_STRETCH;
        if (pause && !tree_keep(c))
            return TREE_NO_MEMORY;
        if (pause)
            pthread_rwlock_unlock(lock);
        bool room = text_room(out, c->wanted);
        if (pause)
            pthread_rwlock_rdlock(lock);
        if (!room || (pause && !tree_resume(c)))
            return TREE_NO_MEMORY;
    }
}

/* One node of a search answer, with braces. */
static inline bool node_write_json(text *out, text *prefix, const fusion_index *ix, uint32_t id)
{
    const fusion_node *n = &ix->nodes[id];
    prefix->len = 0;
    if (!prefix_write(prefix, ix, n->parent) || !text_room(out, node_room(n) + prefix->len + 2))
        return false;
    char *p = out->base + out->len;
    *p++ = '{';
    p = node_write_members(p, n, node_name(ix, n), prefix->base, prefix->len, false);
    *p++ = '}';
    out->len = (size_t)(p - out->base);
    return true;
}

#endif
