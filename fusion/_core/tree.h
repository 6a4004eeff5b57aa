/* Trees to JSON: one node with its path, or a directory tree written piece by piece into a buffer of the caller's.
 *
 * The bytes are those of json.dumps(tree, separators=(",", ":"), ensure_ascii=False) over the nested form of docs/contract.md. */
#ifndef FUSION_TREE_H
#define FUSION_TREE_H

#include "index.h"
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

typedef struct {
    uint32_t node;
    uint32_t prefix_len; /* of the directory's parent */
    pathmap *keys;       /* keys given to children whose names are not UTF-8; NULL until there is one */
} tree_frame;

typedef struct {
    fusion_index *ix;
    text prefix; /* escaped path of the directory whose children are being written */
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

static inline void tree_close(tree_cursor *c)
{
    for (size_t i = 0; i < c->depth; i++)
        if (c->frames[i].keys) {
            pathmap_clear(c->frames[i].keys);
            free(c->frames[i].keys);
        }
    free(c->frames);
    free(c->prefix.base);
    memset(c, 0, sizeof *c);
    c->done = true;
}

static inline bool tree_open(tree_cursor *c, fusion_index *ix, uint32_t top, bool recursive, uint32_t max_depth, bool only_path)
{
    memset(c, 0, sizeof *c);
    c->ix = ix;
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

static inline bool tree_push(tree_cursor *c, uint32_t dir)
{
    const fusion_node *n = &c->ix->nodes[dir];
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
    c->frames[c->depth++] = (tree_frame){.node = dir, .prefix_len = (uint32_t)c->prefix.len};
    if (dir != ROOT) {
        c->prefix.base[c->prefix.len++] = '/';
        c->prefix.len = (size_t)(name_write(c->prefix.base + c->prefix.len, n, node_name(c->ix, n)) - c->prefix.base);
    }
    return true;
}

static inline void tree_pop(tree_cursor *c)
{
    tree_frame *f = &c->frames[--c->depth];
    if (f->keys) {
        pathmap_clear(f->keys);
        free(f->keys);
    }
    c->prefix.len = f->prefix_len;
}

/* The key of a child whose name is not UTF-8: the name with U+FFFD for its bad bytes, and more of them until no sibling has it.
 * Remembered in the frame; *key is the caller's to free. */
static inline bool tree_raw_key(tree_cursor *c, uint32_t id, char **key, size_t *key_len)
{
    const fusion_index *ix = c->ix;
    const fusion_node *n = &ix->nodes[id];
    const fusion_dir *d = dir_of(ix, n->parent);
    tree_frame *f = &c->frames[c->depth - 1];
    char *text = malloc(3 * ((size_t)n->name_len + d->count + 1)); /* each sibling can force one U+FFFD more */
    if (!f->keys)
        f->keys = calloc(1, sizeof *f->keys);
    if (!text || !f->keys) {
        free(text);
        return false;
    }
    size_t bare_len = name_display(text, node_name(ix, n), n->name_len), len = bare_len;
    uint64_t bare = name_hash(text, bare_len, d->hash) & ix->mask, hash = bare;
    /* The value of a taken key: with how many more of them a sibling of that name goes on. */
    const pathmap_entry *taken = pathmap_find(f->keys, bare, text, (uint32_t)bare_len);
    double more = taken ? taken->value : 0.0;
    for (double i = 0.0; i < more; i++, len += 3)
        memcpy(text + len, "\xef\xbf\xbd", 3);
    for (;; more++, len += 3) {
        if (len > bare_len)
            hash = name_hash(text, len, d->hash) & ix->mask;
        if (find_child(ix, n->parent, hash, text, len) == NIL && !pathmap_find(f->keys, hash, text, (uint32_t)len))
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
        return room + 18 * ((size_t)n->name_len + dir_of(c->ix, n->parent)->count + 2);
    return room + (n->flags & NODE_ESCAPE ? 6 : 1) * (size_t)n->name_len;
}

/* Writes what fits between out->len and out->cap. TREE_FULL: call again with room for at least `wanted` bytes. */
static inline tree_status tree_write(tree_cursor *c, text *out)
{
    const fusion_index *ix = c->ix;
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
            c->next = c->done ? NIL : ix->nodes[closed].next;
            continue;
        }
        uint32_t id = c->next;
        const fusion_node *n = &ix->nodes[id];
        bool top = c->depth == 0, keyed = !top && !c->as_list;
        char *key = NULL;
        size_t key_len = 0;
        c->wanted = tree_room(c, n, keyed);
        if (left < c->wanted)
            return TREE_FULL;
        if (keyed && n->flags & NODE_RAW && !tree_raw_key(c, id, &key, &key_len))
            return TREE_NO_MEMORY;
        char *p = out->base + out->len;
        if (!top && dir_of(ix, c->frames[c->depth - 1].node)->first != id)
            *p++ = ',';
        if (keyed) {
            *p++ = '"';
            if (key)
                p = json_escape(p, key, key_len);
            else
                p = name_write(p, n, node_name(ix, n));
            p = TEXT_LITERAL(p, "\":");
            free(key);
        }
        *p++ = '{';
        p = node_write_members(p, n, node_name(ix, n), c->prefix.base, c->prefix.len, c->only_path);
        if (node_is_dir(n) && c->depth < c->max_depth && !(c->as_list && !top)) {
            p = c->as_list ? TEXT_LITERAL(p, ",\"children\":[") : TEXT_LITERAL(p, ",\"children\":{");
            out->len = (size_t)(p - out->base);
            if (!tree_push(c, id))
                return TREE_NO_MEMORY;
            c->next = ix->dirs[n->dir].first;
            continue;
        }
        *p++ = '}';
        out->len = (size_t)(p - out->base);
        c->done = top;
        c->next = top ? NIL : n->next;
    }
    return TREE_OK;
}

/* The whole answer in one text; the caller holds the read lock throughout. */
static inline tree_status tree_write_all(tree_cursor *c, text *out)
{
    for (;;) {
        tree_status status = tree_write(c, out);
        if (status != TREE_FULL)
            return status;
        if (!text_room(out, c->wanted > out->cap ? c->wanted : out->cap + 1))
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
