/* One node as JSON text. */
#ifndef FUSION_NODE_JSON_H
#define FUSION_NODE_JSON_H

#include "nodes.h"
#include "text.h"
#include "times_write.h"

/* What stands between a file's name and its name in the path, the same for all children of a directory: STEM_FILE and the
 * directory's path with a slash behind, escaped. It has COPY_WIDE_OVERRUN bytes of room behind. */
#define STEM_FILE "\",\"content_type\":\"file\",\"path\":\""
#define STEM_DIRECTORY "\",\"content_type\":\"directory\",\"path\":\""
#define STEM_FILE_LENGTH (sizeof(STEM_FILE) - 1)

/* The name as JSON string content. `name` has COPY_OVERRUN bytes of room behind; the root's is not read. */
static inline char *name_write(char *out, const fusion_node *n, const char *name)
{
    if (!n->name_len) /* the root */
        return out;
    if (n->flags & NODE_ESCAPE)
        return json_escape(out, name, n->name_len);
    return copy_run(out, name, n->name_len);
}

/* Bytes that node_text and a key before it may need beside the stem, copies' overrun included: the name stands there three times,
 * each byte of it as up to six, and once in base64. One bound for all names: it has to be quick. */
static inline size_t node_room(const fusion_node *n)
{
    return 256 + 20 * (size_t)n->name_len;
}

/* The members of a node beside its children, in their order. */
enum {
    FIELD_NAME = 1u << 0,
    FIELD_CONTENT_TYPE = 1u << 1,
    FIELD_PATH = 1u << 2,
    FIELD_SIZE = 1u << 3,
    FIELD_MODIFIED_TIME = 1u << 4,
    FIELD_CREATED_TIME = 1u << 5,
    FIELDS_TIMES = FIELD_MODIFIED_TIME | FIELD_CREATED_TIME,
    FIELDS_PATH = FIELD_NAME | FIELD_CONTENT_TYPE | FIELD_PATH, /* what only_path leaves */
    FIELDS_ALL = FIELDS_PATH | FIELD_SIZE | FIELDS_TIMES,
};

/* `{"name":...` up to the last member before children. */
static inline __attribute__((always_inline)) char *node_text(char *out, const fusion_node *n, const char *name, const char *stem,
                                                              size_t stem_len, bool only_path, simd_level level)
{
    const uint32_t flags = n->flags; /* what is written could alias the node */
    const char *shown = name;
    size_t shown_len = n->name_len;
    out = TEXT_LITERAL(out, "{\"name\":\"");
    if (__builtin_expect(flags & NODE_ESCAPE, 0)) {
        shown = out;
        out = json_escape(out, name, shown_len);
        shown_len = (size_t)(out - shown);
    } else if (shown_len) {
        out = copy_run(out, shown, shown_len);
    }
    if (flags & NODE_DIR) {
        out = TEXT_LITERAL(out, STEM_DIRECTORY);
        out = copy_run_wide(out, stem + STEM_FILE_LENGTH, stem_len - STEM_FILE_LENGTH);
    } else {
        out = copy_run_wide(out, stem, stem_len);
    }
    if (shown_len)
        out = copy_run(out, shown, shown_len);
    if (only_path) {
        *out++ = '"';
    } else {
        out = TEXT_LITERAL(out, "\",\"size\":");
        out = int64_write(out, n->size);
        out = times_write(out, n->mtime, n->ctime, level);
    }
    if (flags & NODE_RAW) {
        out = TEXT_LITERAL(out, ",\"raw_name\":\"");
        out = base64_write(out, name, n->name_len);
        *out++ = '"';
    }
    return out;
}

/* The same with some of the members, at least one: each after a comma, the first of which becomes the brace. */
static __attribute__((noinline)) char *node_text_some(char *out, const fusion_node *n, const char *name, const char *stem, size_t stem_len,
                                                      uint32_t fields)
{
    char *start = out;
    if (fields & FIELD_NAME) {
        out = TEXT_LITERAL(out, ",\"name\":\"");
        out = name_write(out, n, name);
        *out++ = '"';
    }
    if (fields & FIELD_CONTENT_TYPE)
        out = n->flags & NODE_DIR ? TEXT_LITERAL(out, ",\"content_type\":\"directory\"") : TEXT_LITERAL(out, ",\"content_type\":\"file\"");
    if (fields & FIELD_PATH) {
        out = TEXT_LITERAL(out, ",\"path\":\"");
        out = copy_run_wide(out, stem + STEM_FILE_LENGTH, stem_len - STEM_FILE_LENGTH);
        out = name_write(out, n, name);
        *out++ = '"';
    }
    if (fields & FIELD_SIZE) {
        out = TEXT_LITERAL(out, ",\"size\":");
        out = int64_write(out, n->size);
    }
    if (fields & FIELD_MODIFIED_TIME) {
        out = TEXT_LITERAL(out, ",\"modified_time\":");
        out = double_write(out, n->mtime);
    }
    if (fields & FIELD_CREATED_TIME) {
        out = TEXT_LITERAL(out, ",\"created_time\":");
        out = double_write(out, n->ctime);
    }
    if (n->flags & NODE_RAW && fields & (FIELD_NAME | FIELD_PATH)) {
        out = TEXT_LITERAL(out, ",\"raw_name\":\"");
        out = base64_write(out, name, n->name_len);
        *out++ = '"';
    }
    *start = '{';
    return out;
}

#endif
