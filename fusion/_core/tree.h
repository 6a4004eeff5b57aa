/* Trees to JSON: one node with its path, or a directory tree written piece by piece into a buffer of the caller's.
 *
 * The bytes are those of json.dumps(tree, separators=(",", ":"), ensure_ascii=False) over the nested form of docs/contract.md, or
 * lines: each node's object by itself, parents first. */
#ifndef FUSION_TREE_H
#define FUSION_TREE_H

#include "instant.h"
#include "node_json.h"

/* The stem of a directory's children. */
static inline bool stem_write(text *out, const fusion_index *ix, uint32_t dir)
{
    char here[512];
    size_t len = node_path_length(ix, dir);
    out->len = 0;
    char *path = len <= sizeof here ? here : malloc(len);
    bool ok = path && text_room(out, STEM_FILE_LENGTH + 6 * len + 1 + COPY_WIDE_OVERRUN);
    if (ok) {
        node_write_path(ix, dir, path);
        char *p = TEXT_LITERAL(out->base, STEM_FILE);
        if (dir != ROOT)
            p = json_escape(p, path, len);
        *p++ = '/';
        out->len = (size_t)(p - out->base);
    }
    if (path != here)
        free(path);
    return ok;
}

#define TREE_STRETCH ((size_t)256 * 1024) /* bytes that are written before others get the lock */

/* What is written of a tree. */
typedef struct {
    uint32_t max_depth; /* below the top, NIL: no limit */
    uint32_t fields;    /* of each node */
    bool as_list;       /* children of the top as a list, without their own */
    bool lines;         /* a node a line, no children */
} tree_shape;

/* max_depth wins over recursive. */
static inline tree_shape tree_shape_of(bool recursive, uint32_t max_depth, uint32_t fields, bool lines)
{
    bool flat = !recursive && max_depth == NIL;
    return (tree_shape){.max_depth = flat && lines ? 1 : max_depth, .fields = fields, .as_list = flat && !lines, .lines = lines};
}

/* A directory whose children are being written. */
typedef struct {
    uint32_t node;
    uint32_t stem_len; /* of itself, not of its children */
    uint32_t count;    /* children */
    pathmap *keys;     /* that children whose names are not UTF-8 cannot have; NULL when there are no such children */
} tree_frame;

typedef struct {
    fusion_instant at;
    text stem;   /* of the children that are being written */
    char *spare; /* room for a name that does not lie in one piece; NULL until the tree has changed */
    tree_frame *frames;
    size_t depth, cap_frames;
    tree_shape shape;
    uint32_t next; /* node to write next, NIL: close the innermost directory */
    uint32_t from; /* the top's child that is written first if others were skipped, NIL: none is left */
    uint32_t stop; /* not written any more, nor is what comes after it; NIL: there is no such node */
    bool skips;    /* children of the top before `from` */
    bool follows;  /* a sibling of the next node has been written */
    bool done;
    size_t wanted; /* after TREE_FULL: bytes that the next node may need */
    uint64_t nodes; /* written so far; in a whole tree a directory's children count when it is closed */
} tree_cursor;

typedef enum { TREE_OK = 0, TREE_FULL = 1, TREE_NO_MEMORY = 2 } tree_status;

static inline void tree_drop_keys(tree_frame *f)
{
    if (f->keys) {
        pathmap_clear(f->keys);
        free(f->keys);
    }
}

/* Lets go of the instant, and of the memory but for what the next tree of this cursor takes. */
static inline void tree_end(tree_cursor *c)
{
    instant_close(&c->at);
    while (c->depth)
        tree_drop_keys(&c->frames[--c->depth]);
    free(c->spare);
    *c = (tree_cursor){.stem = c->stem, .frames = c->frames, .cap_frames = c->cap_frames, .done = true};
}

static inline void tree_close(tree_cursor *c)
{
    tree_end(c);
    free(c->frames);
    free(c->stem.base);
    *c = (tree_cursor){.done = true};
}

/* The tree of this instant; the lock is held, and until tree_keep. The cursor is all zeros, or its last tree has ended. */
static inline bool tree_open(tree_cursor *c, fusion_index *ix, uint32_t top, tree_shape shape)
{
    instant_init(&c->at, ix);
    c->done = false;
    c->next = top;
    c->from = c->stop = NIL;
    c->shape = shape;
    if (!stem_write(&c->stem, ix, ix->nodes[top].parent)) {
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
        c->spare = malloc(UINT16_MAX + VIEW_OVERRUN);
    return c->at.clean || c->spare;
}

/* The key of a child whose name is not UTF-8: the name with U+FFFD for its bad bytes, and more of them until no sibling has it.
 * Remembered in the frame; *key is the caller's to free. */
static __attribute__((noinline)) bool tree_raw_key(const tree_cursor *c, const fusion_node *n, const char *name, char **key, size_t *key_len)
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

/* Notes the children's names that the key of another one whose name is not UTF-8 could be: those with U+FFFD in them; and the keys
 * of those that are skipped, so that they are what they are in the whole tree. */
static __attribute__((noinline)) bool tree_claim_keys(tree_cursor *c, tree_frame *f, uint32_t first)
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
    const bool skips = c->skips && c->depth == 1;
    for (uint32_t id = first; f->keys && skips && id != c->from && id != NIL; id = n->next) {
        char *key;
        size_t key_len;
        n = instant_node(&c->at, id);
        if (!(n->flags & NODE_RAW))
            continue;
        if (!tree_raw_key(c, n, instant_name(&c->at, n, c->spare), &key, &key_len))
            return false;
        free(key);
    }
    return f->keys;
}

static __attribute__((noinline)) bool tree_push(tree_cursor *c, uint32_t id, const fusion_node *n, const fusion_dir *d)
{
    if (c->depth == c->cap_frames) {
        size_t cap = c->cap_frames ? c->cap_frames * 2 : 32;
        tree_frame *frames = realloc(c->frames, cap * sizeof *frames);
        if (!frames)
            return false;
        c->frames = frames;
        c->cap_frames = cap;
    }
    if (!text_room(&c->stem, 6 * (size_t)n->name_len + 1 + COPY_WIDE_OVERRUN))
        return false;
    tree_frame *f = &c->frames[c->depth++];
    *f = (tree_frame){.node = id, .stem_len = (uint32_t)c->stem.len, .count = d->count};
    if (id != ROOT) {
        char *p = name_write(c->stem.base + c->stem.len, n, instant_name(&c->at, n, c->spare));
        *p++ = '/';
        c->stem.len = (size_t)(p - c->stem.base);
    }
    c->follows = false;
    return !d->raw_children || c->shape.as_list || c->shape.lines || tree_claim_keys(c, f, d->first);
}

static __attribute__((noinline)) void tree_pop(tree_cursor *c)
{
    tree_frame *f = &c->frames[--c->depth];
    tree_drop_keys(f);
    c->stem.len = f->stem_len;
    c->follows = true;
}

/* A node's object without its end. `fields`, the cursor's or 0, is a constant where it is called: 0 for any. */
static inline __attribute__((always_inline)) char *tree_node_text(const tree_cursor *c, char *p, const fusion_node *n, const char *name,
                                                                   uint32_t fields, simd_level level)
{
    if (!fields && c->shape.fields != FIELDS_ALL && c->shape.fields != FIELDS_PATH)
        return node_text_some(p, n, name, c->stem.base, c->stem.len, c->shape.fields);
    return node_text(p, n, name, c->stem.base, c->stem.len, (fields ? fields : c->shape.fields) == FIELDS_PATH, level);
}

/* The nested form. Written once, compiled for each level by the functions below, and for whole trees with the usual fields, which must
 * not pay for pages and the choice of fields: then `fields` is not 0. */
static inline __attribute__((always_inline)) tree_status tree_write_at(tree_cursor *c, text *out, uint32_t fields, simd_level level)
{
    const bool some = !fields;
    char *p = out->base + out->len;
    const char *end = out->base + out->cap;
    const bool as_list = c->shape.as_list;
    tree_status status = TREE_OK;
    while (!c->done) {
        if (c->next == NIL || (some && c->next == c->stop)) {
            if (end - p < 2) {
                c->wanted = 2;
                status = TREE_FULL;
                break;
            }
            uint32_t closed = c->frames[c->depth - 1].node;
            if (!some) /* one by one costs 0.5 ns each */
                c->nodes += c->frames[c->depth - 1].count;
            *p++ = as_list ? ']' : '}';
            *p++ = '}';
            tree_pop(c);
            c->done = c->depth == 0;
            if (!some && c->done)
                c->nodes++; /* the top */
            c->next = c->done ? NIL : instant_node(&c->at, closed)->next;
            continue;
        }
        const fusion_node *n = instant_node(&c->at, c->next);
        const char *name = instant_name(&c->at, n, c->spare);
        __builtin_prefetch(&c->at.ix->nodes[n->next]); /* siblings need not lie together */
        bool top = c->depth == 0, keyed = !top && !as_list;
        size_t room = node_room(n) + c->stem.len;
        if (__builtin_expect(n->flags & NODE_RAW, 0)) /* its key is as long as the siblings' keys force it to be */
            room += top ? 0 : 18 * ((size_t)c->frames[c->depth - 1].count + 2);
        if ((size_t)(end - p) < room) {
            c->wanted = room;
            status = TREE_FULL;
            break;
        }
        *p = ',';
        p += c->follows;
        if (keyed) {
            *p++ = '"';
            if (n->flags & NODE_RAW) {
                char *key;
                size_t key_len;
                if (!tree_raw_key(c, n, name, &key, &key_len)) {
                    status = TREE_NO_MEMORY;
                    break;
                }
                p = json_escape(p, key, key_len);
                free(key);
            } else {
                p = name_write(p, n, name);
            }
            p = TEXT_LITERAL(p, "\":");
        }
        p = tree_node_text(c, p, n, name, fields, level);
        if (some)
            c->nodes++;
        if (node_is_dir(n) && c->depth < c->shape.max_depth && !(as_list && !top)) {
            p = as_list ? TEXT_LITERAL(p, ",\"children\":[") : TEXT_LITERAL(p, ",\"children\":{");
            const fusion_dir *d = instant_dir(&c->at, n->dir);
            if (!tree_push(c, c->next, n, d)) {
                status = TREE_NO_MEMORY;
                break;
            }
            c->next = some && top && c->skips ? c->from : d->first;
            continue;
        }
        *p++ = '}';
        c->follows = true;
        c->done = top;
        if (!some && __builtin_expect(top, 0))
            c->nodes++;
        c->next = top ? NIL : n->next;
    }
    out->len = (size_t)(p - out->base);
    return status;
}

/* A node a line, parents first. */
static inline __attribute__((always_inline)) tree_status tree_write_lines_at(tree_cursor *c, text *out, simd_level level)
{
    char *p = out->base + out->len;
    const char *end = out->base + out->cap;
    tree_status status = TREE_OK;
    while (!c->done) {
        if (c->next == NIL) {
            uint32_t closed = c->frames[c->depth - 1].node;
            tree_pop(c);
            c->done = c->depth == 0;
            c->next = c->done ? NIL : instant_node(&c->at, closed)->next;
            continue;
        }
        if (c->next == c->stop) {
            c->done = true;
            continue;
        }
        const fusion_node *n = instant_node(&c->at, c->next);
        const char *name = instant_name(&c->at, n, c->spare);
        __builtin_prefetch(&c->at.ix->nodes[n->next]);
        size_t room = node_room(n) + c->stem.len;
        if ((size_t)(end - p) < room) {
            c->wanted = room;
            status = TREE_FULL;
            break;
        }
        p = tree_node_text(c, p, n, name, 0, level);
        p = TEXT_LITERAL(p, "}\n");
        c->nodes++;
        if (node_is_dir(n) && c->depth < c->shape.max_depth) {
            const fusion_dir *d = instant_dir(&c->at, n->dir);
            if (!tree_push(c, c->next, n, d)) {
                status = TREE_NO_MEMORY;
                break;
            }
            c->next = d->first;
            continue;
        }
        c->done = c->depth == 0;
        c->next = c->done ? NIL : n->next;
    }
    out->len = (size_t)(p - out->base);
    return status;
}

#define TREE_WRITERS(name, level, attributes)                                                                                      \
    attributes static tree_status tree_write_all_##name(tree_cursor *c, text *out) { return tree_write_at(c, out, FIELDS_ALL, level); } \
    attributes static tree_status tree_write_path_##name(tree_cursor *c, text *out) { return tree_write_at(c, out, FIELDS_PATH, level); } \
    attributes static tree_status tree_write_some_##name(tree_cursor *c, text *out) { return tree_write_at(c, out, 0, level); }    \
    attributes static tree_status tree_write_lines_##name(tree_cursor *c, text *out) { return tree_write_lines_at(c, out, level); } \
    static tree_status tree_write_##name(tree_cursor *c, text *out)                                                                \
    {                                                                                                                              \
        if (c->shape.lines)                                                                                                        \
            return tree_write_lines_##name(c, out);                                                                                \
        if (c->skips || c->stop != NIL)                                                                                            \
            return tree_write_some_##name(c, out);                                                                                 \
        switch (c->shape.fields) {                                                                                                 \
        case FIELDS_ALL: return tree_write_all_##name(c, out);                                                                     \
        case FIELDS_PATH: return tree_write_path_##name(c, out);                                                                   \
        default: return tree_write_some_##name(c, out);                                                                            \
        }                                                                                                                          \
    }

TREE_WRITERS(portable, SIMD_PORTABLE, )
#if defined(__x86_64__)
TREE_WRITERS(avx2, SIMD_AVX2, __attribute__((flatten, target("avx2,bmi,bmi2"))))
#endif

/* Writes what fits between out->len and out->cap. TREE_FULL: call again with room for at least `wanted` bytes. */
static tree_status tree_write(tree_cursor *c, text *out)
{
#if defined(__x86_64__)
    if (simd_in_use >= SIMD_AVX2)
        return tree_write_avx2(c, out);
#endif
    return tree_write_portable(c, out);
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

#endif
