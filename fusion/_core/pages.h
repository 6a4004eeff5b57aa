/* Pages of a tree: how much of it is written, and the mark from which the next page goes on.
 *
 * A page ends with a child of the top, of lines with any node. The mark names that node by its path, which is enough while nothing
 * below the top changes, and by anchors (anchors.h), one for each directory on the way: if the directory where the page ended goes,
 * the one above it knows what stood before it. Marks come back from clients: nothing in them is trusted. */
#ifndef FUSION_PAGES_H
#define FUSION_PAGES_H

#include "tree.h"

#define PAGE_PATH_MAX 2048u /* a mark without a longer path fits a URL, and has its anchors */
#define PAGE_PATH_NONE UINT16_MAX
#define PAGE_VERSION 1u /* of the mark's layout */
#define PAGE_ANCHORS 64u /* the innermost ones */

typedef struct {
    uint64_t sum;      /* of everything behind it */
    uint64_t instance; /* of the index */
    uint64_t top;      /* hash of the top's path */
    uint64_t version;  /* of the top's subtree */
    uint64_t anchor;   /* number of the first one, the outermost */
    uint32_t max_depth;
    uint16_t path_len; /* of the path that is behind it, relative to the top; NONE: it has none */
    uint8_t anchors; /* how many */
    uint8_t form;    /* lines or not, and the layout's version */
} page_mark;

_Static_assert(sizeof(page_mark) == 48, "a mark has no holes");

typedef struct {
    page_mark mark;
    char path[PAGE_PATH_MAX];
} page_cursor;

typedef enum { PAGE_OK, PAGE_MALFORMED, PAGE_FOREIGN, PAGE_EXPIRED, PAGE_NO_MEMORY } page_status;

/* The tree that is asked for. */
typedef struct {
    uint64_t instance;
    const char *path; /* of the top, normalised */
    size_t path_len;
    tree_shape shape;
    uint32_t limit; /* children of the top, or lines; 0: all */
} page_request;

static inline size_t page_path_len(const page_mark *m)
{
    return m->path_len == PAGE_PATH_NONE ? 0 : m->path_len;
}

/* Tells damage, not malice. */
static inline uint64_t page_sum(const page_cursor *c)
{
    const uint64_t seed = UINT64_C(0x6c62272e07bb0142); /* no secret; and no value of the mark, with which it would cancel out */
    return name_hash((const char *)c + sizeof c->mark.sum, sizeof c->mark - sizeof c->mark.sum + page_path_len(&c->mark), seed);
}

static inline uint8_t page_form(tree_shape shape)
{
    return (uint8_t)(PAGE_VERSION << 4 | shape.as_list << 1 | shape.lines);
}

static inline uint64_t page_top(const page_request *r)
{
    return name_hash(r->path, r->path_len, r->instance);
}

/* Whether these bytes are a cursor, and one for this request. */
static inline page_status page_read(page_cursor *c, const char *bytes, size_t n, const page_request *r)
{
    if (n < sizeof c->mark || n > sizeof *c)
        return PAGE_MALFORMED;
    memcpy(c, bytes, n);
    if (c->mark.form >> 4 != PAGE_VERSION || n - sizeof c->mark != page_path_len(&c->mark) || c->mark.sum != page_sum(c))
        return PAGE_MALFORMED;
    if (c->mark.instance != r->instance)
        return PAGE_EXPIRED;
    bool same = c->mark.top == page_top(r) && c->mark.form == page_form(r->shape) && c->mark.max_depth == r->shape.max_depth;
    return same ? PAGE_OK : PAGE_FOREIGN;
}

/* How far a node is below the top, NIL when it is not. */
static inline uint32_t page_depth(const fusion_index *ix, uint32_t id, uint32_t top)
{
    uint32_t depth = 0;
    for (; id != top; id = ix->nodes[id].parent, depth++)
        if (id == ROOT)
            return NIL;
    return depth;
}

/* The place right behind a node that was written, which is `depth` below the top. */
static inline tree_place page_behind(const fusion_index *ix, uint32_t id, uint32_t depth, tree_shape shape)
{
    if (shape.lines && node_is_dir(&ix->nodes[id]) && depth < shape.max_depth)
        return (tree_place){id, NIL};
    return (tree_place){ix->nodes[id].parent, id};
}

/* The first node behind a place, NIL: the tree ends there. */
static inline uint32_t page_next(const fusion_index *ix, tree_place at, uint32_t top, tree_shape shape)
{
    uint32_t next = at.node == NIL ? dir_of(ix, at.dir)->first : ix->nodes[at.node].next;
    if (!shape.lines)
        return next;
    for (uint32_t up = at.dir; next == NIL && up != top; up = ix->nodes[up].parent)
        next = ix->nodes[up].next;
    return next;
}

/* The node that the cursor's path names, below the top or itself; NIL when there is none. */
static inline page_status page_find(const fusion_index *ix, uint32_t top, const page_request *r, const page_cursor *c, uint32_t *id)
{
    const size_t len = c->mark.path_len, before = r->path_len > 1 ? r->path_len : 0;
    *id = top;
    if (!len)
        return PAGE_OK;
    char *path = malloc(before + 1 + len);
    if (!path)
        return PAGE_NO_MEMORY;
    memcpy(path, r->path, before);
    path[before] = '/';
    memcpy(path + before + 1, c->path, len);
    *id = find_path(ix, path, before + 1 + len);
    free(path);
    return PAGE_OK;
}

/* The place where a cursor's page ended, as it is now. */
static inline page_status page_place(fusion_index *ix, uint32_t top, const page_request *r, const page_cursor *c, tree_place *at)
{
    const page_mark *m = &c->mark;
    if (!node_is_dir(&ix->nodes[top]))
        return PAGE_EXPIRED;
    if (m->path_len != PAGE_PATH_NONE && m->version == dir_of(ix, top)->version) {
        uint32_t id;
        page_status status = page_find(ix, top, r, c, &id);
        uint32_t depth = status == PAGE_OK && id != NIL ? page_depth(ix, id, top) : NIL;
        *at = depth == NIL ? (tree_place){NIL, NIL} : page_behind(ix, id, depth, r->shape);
        return status != PAGE_OK ? status : depth == NIL ? PAGE_EXPIRED : PAGE_OK;
    }
    for (uint32_t i = m->anchors; i-- > 0;) {
        anchor_state state = anchors_find(&ix->anchors, m->anchor + i, at);
        if (state != ANCHOR_LOST)
            return state == ANCHOR_SET ? PAGE_OK : PAGE_EXPIRED; /* the older ones are overwritten, too */
    }
    return PAGE_EXPIRED;
}

/* Lets the tree go on where the cursor's page ended; the lock is held since tree_open. */
static inline page_status page_resume(tree_cursor *t, uint32_t top, const page_request *r, const page_cursor *c)
{
    fusion_index *ix = t->at.ix;
    tree_place at;
    page_status status = page_place(ix, top, r, c, &at);
    if (status != PAGE_OK)
        return status;
    uint32_t depth = page_depth(ix, at.dir, top);
    if (depth == NIL || depth >= r->shape.max_depth || (depth && !r->shape.lines))
        return PAGE_EXPIRED;
    uint32_t next = page_next(ix, at, top, r->shape);
    if (!r->shape.lines) {
        t->skips = true;
        t->from = next;
        return PAGE_OK;
    }
    t->next = next;
    t->done = next == NIL;
    if (t->done)
        return PAGE_OK;
    depth = page_depth(ix, next, top);
    uint32_t *above = malloc(depth * sizeof *above); /* the directories that it is in */
    if (!above)
        return PAGE_NO_MEMORY;
    for (uint32_t i = depth, id = ix->nodes[next].parent; i-- > 0; id = ix->nodes[id].parent)
        above[i] = id;
    for (uint32_t i = 0; i < depth && status == PAGE_OK; i++) {
        const fusion_node *n = &ix->nodes[above[i]];
        if (!tree_push(t, above[i], n, &ix->dirs[n->dir]))
            status = PAGE_NO_MEMORY;
    }
    free(above);
    return status;
}

/* The last node of a page and the one after it, NIL when all that is left fits in. */
static inline uint32_t page_end(const tree_cursor *t, uint32_t top, const page_request *r, uint32_t *last)
{
    const fusion_index *ix = t->at.ix;
    const tree_shape shape = r->shape;
    uint32_t limit = r->limit;
    if (!shape.lines) {
        if (!node_is_dir(&ix->nodes[top]) || !shape.max_depth)
            return NIL;
        uint32_t id = t->skips ? t->from : dir_of(ix, top)->first;
        if (!t->skips && dir_of(ix, top)->count <= limit)
            return NIL;
        for (; id != NIL && limit; limit--, id = ix->nodes[id].next)
            *last = id;
        return id;
    }
    uint32_t id = t->done ? NIL : t->next, depth = id == NIL ? 0 : (uint32_t)t->depth;
    for (; id != NIL && limit; limit--) {
        const fusion_node *n = &ix->nodes[id];
        *last = id;
        if (node_is_dir(n) && depth < shape.max_depth && ix->dirs[n->dir].first != NIL) {
            depth++;
            id = ix->dirs[n->dir].first;
            continue;
        }
        while (id != top && ix->nodes[id].next == NIL) {
            id = ix->nodes[id].parent;
            depth--;
        }
        id = id == top ? NIL : ix->nodes[id].next;
    }
    return id;
}

/* The cursor of a page that ends with this node: sets its anchors. */
static inline void page_mark_end(fusion_index *ix, uint32_t top, const page_request *r, uint32_t last, page_cursor *c)
{
    tree_place places[PAGE_ANCHORS];
    uint32_t n = PAGE_ANCHORS; /* filled from the end: the outermost comes first */
    tree_place at = page_behind(ix, last, page_depth(ix, last, top), r->shape);
    for (;;) {
        places[--n] = at;
        if (at.dir == top || !n)
            break;
        at = (tree_place){ix->nodes[at.dir].parent, at.dir};
    }
    c->mark = (page_mark){.instance = r->instance, .top = page_top(r), .version = dir_of(ix, top)->version,
                          .max_depth = r->shape.max_depth, .form = page_form(r->shape)};
    c->mark.anchor = anchors_set(&ix->anchors, places + n, PAGE_ANCHORS - n);
    c->mark.anchors = (uint8_t)(c->mark.anchor ? PAGE_ANCHORS - n : 0);
    size_t len = last == top ? 0 : node_path_length(ix, last) - r->path_len - (r->path_len > 1);
    c->mark.path_len = len > PAGE_PATH_MAX ? PAGE_PATH_NONE : (uint16_t)len;
    for (uint32_t id = last; len <= PAGE_PATH_MAX && id != top; id = ix->nodes[id].parent) {
        const fusion_node *node = &ix->nodes[id];
        len -= node->name_len;
        memcpy(c->path + len, node_name(ix, node), node->name_len);
        if (len)
            c->path[--len] = '/';
    }
    c->mark.sum = page_sum(c);
}

/* The most nodes that the answer can have. */
static inline uint64_t page_most(const fusion_index *ix, uint32_t top, const page_request *r)
{
    if (!node_is_dir(&ix->nodes[top]) || !r->shape.max_depth)
        return 1;
    const fusion_dir *d = dir_of(ix, top);
    const bool flat = r->shape.as_list || r->shape.max_depth == 1;
    uint64_t most = flat ? (uint64_t)d->count + 1 : (uint64_t)d->files + d->dirs + 1;
    return r->limit && (flat || r->shape.lines) && most > r->limit ? (uint64_t)r->limit + 1 : most;
}

/* Makes a page of a tree that was just opened: lets it begin behind `from` (NULL: at its beginning) and end where the limit says,
 * and makes the cursor of the next one if t->stop is a node. The lock is held since tree_open. */
static inline page_status page_open(tree_cursor *t, uint32_t top, const page_request *r, const page_cursor *from, page_cursor *next)
{
    uint32_t last = NIL;
    page_status status = from ? page_resume(t, top, r, from) : PAGE_OK;
    if (status != PAGE_OK || !r->limit)
        return status;
    t->stop = page_end(t, top, r, &last);
    if (t->stop != NIL)
        page_mark_end(t->at.ix, top, r, last, next);
    return PAGE_OK;
}

#endif
